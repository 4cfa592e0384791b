"""A run in one call, for notebooks: data in, condensed set out."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcjax import data
from dcjax.artefact import Artefact, load
from dcjax.base import Network
from dcjax.data import Dataset
from dcjax.runs import settings
from dcjax.runs._run import config_of, run


def condense(
  source: str | Dataset | Sequence[np.ndarray],
  workdir: str | os.PathLike[str],
  *,
  method: str = 'idc',
  schedule: str = 'short',
  network: str | Network | None = None,
  **fields: Any,
) -> Artefact:
  """Condenses a data set, evaluates it, and returns it: a run in one call.

  The same call goes on where it was stopped, and reads what is finished.

  Example:
    condensed = dcjax.condense('digits', 'runs/first', method='kip', ipc=1)
    condensed = dcjax.condense((images, labels), 'runs/mine', ipc=10)

  Args:
    source: a data set as a config names it, such as `'digits'` or
      `'image_folder:size=32'` (with `data_dir`); a `Dataset`; or the arguments
      of `data.from_arrays`, `(images, labels)`, perhaps with test images and
      labels.
    workdir: folder of the run, with its report; the same folder resumes it.
    method: a config, see `dcjax list`.
    schedule: `'short'`, minutes on a CPU, or `'reference'`, as published.
    network: a word, such as `'convnet:width=32'`, or a `Network`.
    **fields: of the config, such as `ipc`, `factor` or `seed`; a section is a
      dict, as `evaluation={'epochs': 100}`.

  Returns:
    The condensed set, with the accuracies as its `results`.

  Raises:
    ValueError: naming the argument or field, its value and what is allowed.
    FileNotFoundError: the data are not there; says how to get them.
    Interrupted: after Ctrl-C; the same call goes on.
  """
  said = {'schedule': schedule, **settings.flat(fields)}
  if isinstance(network, str):
    said['network'], network = network, None
  dataset = None if isinstance(source, str) else _dataset(source)
  word = source if isinstance(source, str) else 'own'
  # Which fields there are depends on some: these are said first.
  first = [f'{n}={v}' for n, v in said.items() if n in settings.FIRST]
  config = config_of(f'{method}:{",".join([word, *first])}')
  later = {n: v for n, v in said.items() if n not in settings.FIRST}
  settings.set_fields(config, later)
  run(config, workdir, dataset=dataset, network=network)
  return load(pathlib.Path(workdir).expanduser() / 'condensed.npz')


def _dataset(source) -> Dataset:
  if isinstance(source, Dataset):
    return source
  if not isinstance(source, (tuple, list)) or len(source) not in (2, 4):
    raise ValueError(
      f'source is {type(source).__name__}; it must be the name of a data set, '
      'a Dataset, or (images, labels), perhaps with test images and labels'
    )
  return data.from_arrays(*source)
