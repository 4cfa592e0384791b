"""Small sets of any data set for the applications: condensed or selected.

A set is named by how it is made: a coreset (`random`, `herding`, ...) or a
config of a method with its settings (`idc:factor=2`, `dm`, `edc`). Each lies in
a folder of its own, is made once, and goes on after a stop.

A set must stand alone: those that observers make (`edc`, `rded`, ...) carry one
soft label per image, where the papers keep the observers as teachers.
"""

import dataclasses
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax.artefact import Artefact
from dcjax.base import Batch
from dcjax.data import Dataset
from dcjax.runs import _costs, _run, _sets, settings
from dcjax.runs._artefact import artefact_of
from dcjax.runs._labels import HARD
from dcjax.runs._pipelines import data_stage
from dcjax.runs._ranges import CORESETS, METHODS
from dcjax.runs._stage import ARTEFACT, Stage, run
from dcjax.utils import check_choice

# The config whose network, trained on real images, coresets look through.
_CORESET_CONFIG = 'dm'


class Making(NamedTuple):
  """How the sets of an application are made.

  Attributes:
    config: of the application: `ipc`, `seed`, `network`, its `sets` section.
    like: published set whose settings are taken.
    stop: whether the program was asked to stop.
    store: folder where sets share observers and the like.
  """

  config: Any
  like: str
  stop: Any
  store: pathlib.Path | None


def check(names: Sequence[str], config: Any, dataset: Dataset) -> None:
  """Raises a ValueError if a set is unknown or larger than the data.

  Args:
    names: of sets.
    config: of the application.
    dataset: that they are made of.
  """
  if not names:
    raise ValueError('sets.names: must name at least one way to make a set')
  making = Making(config, config.like, None, None)
  for name in names:
    settings.resolve(_config(name, making))
  smallest = int(np.argmin(dataset.counts))
  if config.ipc > dataset.counts[smallest]:
    raise ValueError(
      f'ipc {config.ipc}: class {dataset.class_names[smallest]!r} of '
      f'{dataset.name} holds {dataset.counts[smallest]} images; a set must not '
      'be larger than the data'
    )


def make(
  dataset: Dataset, name: str, making: Making, folder: pathlib.Path
) -> Artefact:
  """Makes a small set, goes on with it, or loads it.

  Args:
    dataset: the only images that the set is made of.
    name: of a coreset or a config; see the module.
    making: how sets are made here.
    folder: for this set alone.

  Raises:
    ValueError: if the name is unknown or the data hold too few images.
    Interrupted: if a stop was asked for; what was done is saved.
  """
  config = _config(name, making)
  options = {'dataset': dataset, 'store': making.store, 'stop': making.stop}
  if name not in CORESETS:
    return _run.condensed(config, folder, **options)
  with _run.opened(settings.resolve(config), folder, **options) as at_work:
    built = at_work.built
    stages = [data_stage(built)]
    if name in _costs.BY_FEATURES:
      stages.append(_sets.features_stage(built, at_work.work))
    stages.append(_sets.selection_stage(built, at_work.work, name))

    def selected(found):
      images = _sets.chosen_images(built, found)
      made = artefact_of(built, {'images': images}, HARD)
      # The config is only that of the network that coresets look through.
      provenance = {**made.provenance, 'method': name}
      return dataclasses.replace(made, provenance=provenance)

    inputs = (f'select/{name}',)
    stages.append(Stage('artefact', selected, inputs, {}, ARTEFACT))
    return run(stages, at_work.work, at_work.made)('artefact')


def batches(
  dataset: Dataset,
  names: Sequence[str],
  making: Making,
  folder: pathlib.Path,
) -> dict[str, Batch]:
  """Makes several small sets of the same images; name -> images and labels."""
  return {
    name: make(dataset, name, making, folder / slug(name)).batch()
    for name in names
  }


def _config(name, making):
  """The config of a run whose data are handed over."""
  coreset = name in CORESETS
  recipe, _, own = (_CORESET_CONFIG if coreset else name).partition(':')
  check_choice('sets.names', recipe, (*METHODS, *CORESETS))
  section, config = making.config.sets, making.config
  file = settings.module(recipe)
  like = f'like={making.like}' if making.like in file.LIKE else ''
  # Before the options of its own: those go first.
  words = ['own', f'schedule={config.schedule}', like, own]
  if config.smoke:
    words.insert(1, 'smoke')
  made = file.get_config(','.join(filter(None, words)))
  settings.set_fields(made, {'ipc': config.ipc, 'seed': config.seed})
  own_fields = settings.said(made)
  changes: dict[str, Any] = {'evaluation.at': ()}  # only the end is used
  if section.share_network:
    changes['network'] = config.network
  if recipe not in _OBSERVED:
    changes['evaluation.herding_steps'] = section.herding_steps
    if section.family != 'auto':
      changes['augment.family'] = section.family
    if section.outer:
      changes['outer'] = section.outer
  if recipe == 'generative':
    # A generator of all classes fits none of their built: weights are random.
    changes['start'] = 'weights'
  changes = {f: v for f, v in changes.items() if f not in own_fields}
  if recipe in _OBSERVED:
    changes['labels.regime'] = 'image'
  settings.set_fields(made, changes)
  return made


_OBSERVED = ('rded', 'sre2l', 'cda', 'gvbsm', 'edc')


def slug(name: str) -> str:
  """Returns a name as a file name: `'idc:factor=2'` is `'idc-factor-2'`."""
  return re.sub(r'[^\w.]+', '-', name)
