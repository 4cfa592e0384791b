"""Several data sets of the same classes, brought to one shape."""

from collections.abc import Sequence
from typing import Any

import application
import builder
import numpy as np
import small_sets
from configs import common
from ml_collections import ConfigDict

from dcjax import applications
from dcjax.data import Dataset


def load(config: ConfigDict, names: Sequence[str]) -> list[Dataset]:
  """Loads data sets and brings them to `size`, `channels` and `most_images`.

  Args:
    config: with `data_dir`, `size`, `channels`, `most_images` (of a class for
      training; 0: all) and `test_images` (0: all).
    names: of data sets.

  Raises:
    ValueError: if fewer than two are named, one twice, or classes differ.
    FileNotFoundError: if one's data are not there.
  """
  if len(names) < 2 or len(set(names)) < len(names):
    raise ValueError(
      f'data sets {list(names)}: must be at least two different ones'
    )
  loaded = [
    small_sets.at_most(
      builder.load_dataset(_data(name, config)),
      config.most_images,
      config.test_images,
    )
    for name in names
  ]
  first = loaded[0]
  for dataset in loaded[1:]:
    if dataset.class_names != first.class_names:
      raise ValueError(
        f'{dataset.name} has classes {list(dataset.class_names)} and '
        f'{first.name} {list(first.class_names)}: must be the same'
      )
  return [
    small_sets.in_shape(dataset, config.size, config.channels)
    for dataset in loaded
  ]


def _data(name, config):
  common.check_dataset(name)
  section = common.data_config(name)
  section.dir = config.data_dir
  section.options.size = None
  return ConfigDict(dict(data=section))


def task(
  dataset: Dataset,
  name: str,
  making: small_sets.Making,
  folder: application.Folder,
) -> applications.Task:
  """A data set as a task whose memory is made in the named way.

  Args:
    dataset: of the task.
    name: how the memory is made; see `small_sets`.
    making: how sets are made here.
    folder: of the application.
  """
  place = folder.path / 'memories' / dataset.name / small_sets.slug(name)
  made = small_sets.make(dataset, name, making, place, folder.stop)
  return applications.Task(
    dataset.name,
    dataset.images.astype(np.float32) / dataset.scale,
    dataset.labels,
    (dataset.test_images, dataset.test_labels),
    made.batch(),
    dataset.class_names,
  )


def all_images(dataset: Dataset) -> Any:
  """The whole training set as the learner takes it; see `training_set`."""
  from dcjax.evaluation import training_set

  return training_set(
    dataset.images.astype(np.float32) / dataset.scale,
    dataset.labels,
    dataset.num_classes,
  )
