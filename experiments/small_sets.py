"""Small sets of any data set for the applications: condensed or selected.

A set is named by how it is made: a coreset (`random`, `herding`, ...) or a
config of a method with its arguments (`idc:factor=2`, `dm`, `edc`). Each lies
in a folder of its own, is made once, and goes on after a stop.

A set must stand alone: those that observers make (`edc`, `rded`, ...) carry one
soft label per image, where the papers keep the observers as teachers.
"""

import dataclasses
import importlib
import pathlib
import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import builder
import evaluations
import experiment
import numpy as np
import outer_loop
import recipes
import stages
from ml_collections import ConfigDict
from progress import say
from workdir import Workdir

from dcjax import artefact
from dcjax.base import Batch
from dcjax.data import Dataset
from dcjax.data._images import resize_array
from dcjax.utils import check_at_least, check_choice

_CONFIGS = (*sorted(recipes.CONDENSERS), *recipes.WITH_OBSERVERS)
# The config whose network, trained on real images, coresets look through.
_CORESET_CONFIG = 'dm'
# What methods with observers do not have: nothing is matched batch by batch.
_WITHOUT_OBSERVERS = (
  'augment.family',
  'evaluation.at',
  'evaluation.herding_steps',
  'schedule.outer',
)


class Making(NamedTuple):
  """How the sets of an application are made.

  Attributes:
    ipc: stored images per class.
    arguments: of every method's config, such as `'schedule=short'`.
    changes: dotted config field -> value, for every set that has the field.
    seed: of all draws.
  """

  ipc: int
  arguments: str = ''
  changes: Mapping[str, Any] = types.MappingProxyType({})
  seed: int = 0


def making_of(config: ConfigDict) -> Making:
  """Reads `ipc`, `seed` and the `sets` section of an application's config."""
  sets = config.sets.to_dict()
  arguments, changes = sets.pop('arguments'), {}
  if sets.pop('share_network'):
    changes['network'] = config.network.to_dict()
  if sets['family'] != 'auto':
    changes['augment.family'] = sets['family']
  if sets['outer']:
    changes['schedule.outer'] = sets['outer']
  changes['evaluation.herding_steps'] = sets['herding_steps']
  changes['evaluation.at'] = ()  # Only the finished set is used.
  return Making(config.ipc, arguments, changes, config.seed)


def check(names: Sequence[str], making: Making, dataset: Dataset) -> None:
  """Raises a ValueError if a set is unknown or larger than the data.

  Args:
    names: of sets.
    making: how they are made.
    dataset: that they are made of.
  """
  if not names:
    raise ValueError('sets: must name at least one way to make a small set')
  for name in names:
    _check_settings(_config_of(name, dataset, making, ''))
  check_at_least('ipc', making.ipc, 1)
  smallest = int(np.argmin(dataset.counts))
  if making.ipc > dataset.counts[smallest]:
    raise ValueError(
      f'ipc {making.ipc}: class {dataset.class_names[smallest]!r} of '
      f'{dataset.name} holds {dataset.counts[smallest]} images; a memory must '
      'not be larger than the data'
    )


def batches(
  dataset: Dataset,
  names: Sequence[str],
  making: Making,
  folder: pathlib.Path,
  stop: Any,
) -> dict[str, Batch]:
  """Makes several small sets of the same images, see `make`.

  Args:
    dataset: the only images that the sets are made of.
    names: of coresets or configs.
    making: how sets are made here.
    folder: holds one folder for each set.
    stop: whether the program was asked to stop.

  Returns:
    Name -> images and labels.
  """
  return {
    name: make(dataset, name, making, folder / slug(name), stop).batch()
    for name in names
  }


def make(
  dataset: Dataset,
  name: str,
  making: Making,
  folder: pathlib.Path,
  stop: Any,
) -> artefact.Artefact:
  """Makes a small set, goes on with it, or loads it.

  Args:
    dataset: the only images that the set is made of.
    name: of a coreset or a config; see the module.
    making: how sets are made here.
    folder: for this set alone.
    stop: whether the program was asked to stop.

  Raises:
    ValueError: if the name is unknown or the data hold too few images.
    Interrupted: if a stop was asked for; what was done is saved.
  """
  file = folder / 'condensed.npz'
  if file.is_file():
    return artefact.load(file)
  config = _config_of(name, dataset, making, _write_data(folder, dataset))
  if config.method in recipes.WITH_OBSERVERS:
    # Sets of the same images share them.
    config.observers.dir = str(folder.parent / 'observers')
  place = Workdir(str(folder), config, [])
  say(f'making {name} of {dataset.name}: {making.ipc} images per class')
  if name in builder.BASELINES:
    made = _selected(config, name, place)
  elif config.method in recipes.WITH_OBSERVERS:
    made = _observed(config, place, stop)
  else:
    made = _condensed(config, place, stop)
  made = dataclasses.replace(
    made, provenance={**made.provenance, 'method': name}
  )
  artefact.save(file, made)
  return made


def _selected(config, name, place):
  parts = builder.build(config)
  place.claim()
  chosen = evaluations.select(parts, experiment.run_keys(config.seed), name)
  images = builder.real_images(parts.dataset, chosen)
  return stages.make_artefact(parts, {'images': images})


def _condensed(config, place, stop):
  parts = builder.build(config)
  place.claim()
  keys = experiment.run_keys(config.seed)
  params, _ = outer_loop.condense(
    parts, place, experiment.everywhere(parts, keys), stop
  )
  return stages.make_artefact(parts, params)


def _observed(config, place, stop):
  """What the stages of `statistics_run` make, without its evaluations."""
  # These in turn need this module.
  import observers
  import statistics_parts
  import statistics_run

  parts = statistics_parts.build(config)
  wanted = observers.plans(config, parts.dataset)
  place.claim()
  return statistics_run.make_set(parts, wanted, place, stop).condensed


def _check_settings(config):
  """Hears now of what methods with observers would hear of when their turn."""
  if config.method in recipes.WITH_OBSERVERS:
    import statistics_parts

    statistics_parts.check_settings(config)


def _config_of(name, dataset, making, data_dir):
  """The config of a run on images that lie in a file."""
  coreset = name in builder.BASELINES
  recipe, _, own = (_CORESET_CONFIG if coreset else name).partition(':')
  check_choice('set', recipe, (*_CONFIGS, *builder.BASELINES))
  words = (dataset.name, f'ipc={making.ipc}', making.arguments, own)
  module = importlib.import_module(f'configs.{recipe}')
  config = module.get_config(','.join(filter(None, words)))
  for option in config.data.options:
    config.data.options[option] = None
  config.data.name, config.data.dir = 'npz', data_dir
  config.ipc, config.seed = making.ipc, making.seed
  if recipe == 'generative':
    # A generator of all classes fits none of their parts: weights are random.
    config.generator.pretrained = ''
  if recipe in recipes.WITH_OBSERVERS:
    config.labels.regime = 'image'
  _change(config, making.changes)
  return config


def _change(config, changes):
  observed = config.method in recipes.WITH_OBSERVERS
  for field, value in changes.items():
    if observed and field in _WITHOUT_OBSERVERS:
      continue
    if isinstance(value, dict):
      config[field] = ConfigDict(value)
    else:
      config.update_from_flattened_dict({field: value})


def _write_data(folder, dataset):
  """Writes the images of a set beside what is made of them; once."""
  # The name of the file is the name of the set, which decides augmentation.
  file = folder.parent / 'data' / f'{dataset.name.replace("/", "_")}.npz'
  if not file.is_file():
    file.parent.mkdir(parents=True, exist_ok=True)
    with artefact.replacing(file) as stream:
      np.savez(
        stream,
        images=dataset.images,
        labels=dataset.labels,
        test_images=dataset.test_images,
        test_labels=dataset.test_labels,
        class_names=np.asarray(dataset.class_names),
      )
  return str(file)


def slug(name: str) -> str:
  """Returns a name as a file name: `'idc:factor=2'` is `'idc-factor-2'`."""
  return re.sub(r'[^\w.]+', '-', name)


def only_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
  """Returns the images of some classes, numbered in the given order.

  Args:
    dataset: any.
    classes: labels that it has.
  """
  new = np.full(dataset.num_classes, -1, np.int32)
  new[np.asarray(classes)] = np.arange(len(classes))
  labels, tests = new[dataset.labels], new[dataset.test_labels]
  return dataclasses.replace(
    dataset,
    images=dataset.images[labels >= 0],
    labels=labels[labels >= 0],
    test_images=dataset.test_images[tests >= 0],
    test_labels=tests[tests >= 0],
    class_names=tuple(dataset.class_names[c] for c in classes),
  )


def at_most(dataset: Dataset, per_class: int, test: int = 0) -> Dataset:
  """Returns the first images of every class, and some for testing.

  Args:
    dataset: any.
    per_class: training images of each class; 0: all.
    test: test images, drawn at random, always the same; 0: all.
  """
  order, offsets, counts = dataset.class_index()
  rank = np.arange(len(order)) - np.repeat(offsets, counts)
  kept = order[rank < (per_class or len(order))]
  tests = np.random.default_rng(0).permutation(len(dataset.test_labels))
  tests = np.sort(tests[: test or None])
  return dataclasses.replace(
    chosen_images(dataset, np.sort(kept)),
    test_images=dataset.test_images[tests],
    test_labels=dataset.test_labels[tests],
  )


def chosen_images(dataset: Dataset, positions: np.ndarray) -> Dataset:
  """Returns the data set with these training images only."""
  return dataclasses.replace(
    dataset,
    images=dataset.images[positions],
    labels=dataset.labels[positions],
  )


def in_shape(dataset: Dataset, size: int, channels: int) -> Dataset:
  """Returns a data set of uint8 images in another shape, as domains share one.

  Args:
    dataset: of square images; others come out cropped to their middle.
    size: rows and columns.
    channels: 3 repeats grey images; 1 averages colours.

  Raises:
    ValueError: if the images are not uint8, or `channels` is neither 1 nor 3.
  """
  check_choice('channels', channels, (1, 3))
  if dataset.images.dtype != np.uint8:
    raise ValueError(
      f'{dataset.name} has {dataset.images.dtype} images: only uint8 ones can '
      'be brought to one shape'
    )

  def convert(images):
    if images.shape[1:3] != (size, size):
      images = np.stack([resize_array(image, size) for image in images])
    if images.shape[3] == channels:
      return images
    if channels == 3:
      return np.repeat(images[..., :1], 3, axis=3)
    return np.rint(images.mean(-1, keepdims=True)).astype(np.uint8)

  mean, std = (
    (sum(s) / len(s),) * channels if len(s) != channels else s
    for s in (dataset.mean, dataset.std)
  )
  return dataclasses.replace(
    dataset,
    images=convert(dataset.images),
    test_images=convert(dataset.test_images),
    mean=mean,
    std=std,
  )
