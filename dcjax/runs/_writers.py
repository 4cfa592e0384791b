"""Numbers and pictures of a run for TensorBoard and wandb, as it goes on.

`metrics.jsonl` is always written (`_folder`); these come on request, and are
imported only then. Neither needs TensorFlow.
"""

import hashlib
import importlib.util
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax import sharding
from dcjax.utils import check_choice


class Writer(NamedTuple):
  """What takes the numbers of a run.

  Attributes:
    scalars: `(step, name -> number)`; step None: the last one. What is no
      number is left out.
    picture: `(step, name, uint8 [H, W, 1 or 3])`.
    close: writes what is left.
  """

  scalars: Callable[[int | None, Mapping[str, Any]], None]
  picture: Callable[[int | None, str, np.ndarray], None]
  close: Callable[[], None]


SILENT = Writer(
  lambda step, numbers: None, lambda step, name, array: None, lambda: None
)


def _tensorboard(folder: pathlib.Path, config: Mapping[str, Any]) -> Writer:
  del config
  import tensorboardX

  opened: list[Any] = []

  def writer(step):
    if not opened:  # steps that no checkpoint held come again
      place = str(folder / 'tensorboard')
      opened.append(tensorboardX.SummaryWriter(place, purge_step=step))
    return opened[0]

  def scalars(step, numbers):
    for name, number in numbers.items():
      writer(step).add_scalar(name, number, step)
    writer(step).flush()

  def picture(step, name, array):
    writer(step).add_image(name, array, step, dataformats='HWC')

  def close():
    for made in opened:
      made.close()

  return Writer(scalars, picture, close)


def _wandb(folder: pathlib.Path, config: Mapping[str, Any]) -> Writer:
  import wandb

  name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
  run = wandb.init(
    project='dcjax',
    name=folder.name,
    id=name,
    resume='allow',
    dir=str(folder),
    config=dict(config),
  )

  def picture(step, name, array):
    run.log({name: wandb.Image(np.squeeze(array))}, step=step)

  return Writer(
    lambda step, numbers: run.log(dict(numbers), step=step), picture, run.finish
  )


# Name -> what makes it, and its package and extra.
_KNOWN: dict[str, tuple[Callable[..., Writer], str, str]] = {
  'tensorboard': (_tensorboard, 'tensorboardX', "'dcjax[tensorboard]'"),
  'wandb': (_wandb, 'wandb', "'dcjax[wandb]'"),
}


def check(names: Sequence[str]) -> None:
  """Checks what is asked for, before anything is computed.

  Raises:
    ValueError: a name is unknown.
    ImportError: its package is not installed; says how to install it.
  """
  for name in names:
    check_choice('watch', name, _KNOWN)
    _, package, extra = _KNOWN[name]
    if importlib.util.find_spec(package) is None:
      raise ImportError(f'watch {name!r}: needs {package}: pip install {extra}')


def opened(
  names: Sequence[str], folder: pathlib.Path, config: Mapping[str, Any]
) -> Writer:
  """Returns one writer of all that are asked for; one process writes.

  Args:
    names: of `'tensorboard'` and `'wandb'`.
    folder: of the run; TensorBoard's files go into its `tensorboard`.
    config: the settings, for wandb.
  """
  if not names or not sharding.is_main():
    return SILENT
  made = [_KNOWN[name][0](folder, config) for name in names]
  last = [0]

  def at(step):
    last[0] = last[0] if step is None else step
    return last[0]

  def scalars(step, numbers):
    plain = {n: float(v) for n, v in numbers.items() if _is_number(v)}
    for writer in made:
      writer.scalars(at(step), plain)

  def picture(step, name, array):
    for writer in made:
      writer.picture(at(step), name, array)

  def close():
    for writer in made:
      writer.close()

  return Writer(scalars, picture, close)


def _is_number(value):
  return isinstance(value, int | float) and not isinstance(value, bool)
