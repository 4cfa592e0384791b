"""Data sets of the Hugging Face Hub, through the library `datasets`."""

import importlib.util
import pathlib
from typing import Any

import numpy as np

from dcjax.data import _checks, _dataset, _files, _images, _pictures, _records

_TEST_SPLITS = ('test', 'validation', 'valid')


def load_hub(
  name: str,
  data_dir: _files.AnyPath | None = None,
  *,
  size: int | None = None,
  grayscale: bool = False,
  image_key: str | None = None,
  label_key: str | None = None,
  train_split: str = 'train',
  test_split: str | None = None,
  test_fraction: float = 0.2,
  seed: int = 0,
  window: int | None = None,
) -> _dataset.Dataset:
  """Returns an image-classification set of the Hub, or of a folder in its form.

  `datasets` downloads a set that it has not, unless `HF_HUB_OFFLINE=1`.

  Args:
    name: `user/set`, with `:config` if it has several, or a folder.
    data_dir: its cache; None: the default one.
    size: shorter side resized, centre cropped to `size` x `size`; None if all
      images have one shape.
    grayscale: one channel instead of three.
    image_key: column of the images; by default the only one that holds any.
    label_key: column of class numbers; by default the only class column, or
      the one that is called `label`.
    train_split: split to train on.
    test_split: split to test on; by default the first of test, validation and
      valid, else `test_fraction` is held out.
    test_fraction: held-out part of every class.
    seed: of the held-out draw and of the windows.
    window: training images of each class in memory at once, the others follow
      in `Dataset.stream`; None: all.

  Raises:
    ImportError: `datasets` is missing.
    FileNotFoundError: there is no such set, or it cannot be reached.
    ValueError: unknown split or column; labels that are no class numbers;
      images of differing shape and no `size`.
  """
  _images.check_size(size)
  _records.check_window(window)
  splits = _splits(name, data_dir)
  if test_split is None:
    test_split = next((s for s in _TEST_SPLITS if s in splits), None)
  for field, split in (
    ('train_split', train_split),
    ('test_split', test_split),
  ):
    if split is not None and split not in splits:
      raise ValueError(
        f'{field} is {split!r}; {name!r} has {", ".join(sorted(splits))}.'
      )
  train = splits[train_split]
  keys = _columns(name, train, image_key, label_key)

  def records(split):
    return _of_split(name, split, splits[split], keys, size, grayscale)

  names = getattr(train.features[keys[1]], 'names', None)
  made = records(train_split)
  count = int(made.labels.max()) + 1
  return _records.make_dataset(
    made,
    None if test_split is None else records(test_split),
    class_names=names or tuple(map(str, range(count))),
    window=window,
    seed=seed,
    test_fraction=test_fraction,
    name=name.rpartition('/')[2] if pathlib.Path(name).is_dir() else name,
  )


def _splits(name: str, data_dir: _files.AnyPath | None) -> Any:
  if importlib.util.find_spec('datasets') is None:
    raise ImportError(
      f"data set 'hf:{name}' needs datasets: pip install 'dcjax[hf]'."
    )
  import datasets

  path, config = name, None
  if not pathlib.Path(name).is_dir():
    path, _, config = name.partition(':')
  cache = None if data_dir is None else str(data_dir)
  try:
    return datasets.load_dataset(path, config or None, cache_dir=cache)
  # Of the network, of names, of configs, in many ways.
  except Exception as error:
    reason = ' '.join(str(error).split())[:300]
    raise FileNotFoundError(
      f'data set hf:{name} cannot be loaded: {reason}'
    ) from error


def _columns(
  name: str, split: Any, image_key: str | None, label_key: str | None
) -> tuple[str, str]:
  """The columns of images and labels."""
  kinds = {n: type(f).__name__ for n, f in split.features.items()}
  found = []
  for field, key, kind, usual in (
    ('image_key', image_key, 'Image', 'image'),
    ('label_key', label_key, 'ClassLabel', 'label'),
  ):
    fitting = [n for n, k in kinds.items() if k == kind]
    if key is None and len(fitting) == 1:
      key = fitting[0]
    elif key is None and usual in kinds:
      key = usual
    if key not in kinds:
      raise ValueError(
        f'{field} is {key!r} for hf:{name}; it must be one of its columns '
        f'{sorted(kinds)}, of which {fitting} are of that kind.'
      )
    found.append(key)
  return found[0], found[1]


def _of_split(
  name: str,
  split: str,
  rows: Any,
  keys: tuple[str, str],
  size: int | None,
  grayscale: bool,
) -> _records.Records:
  labels = np.asarray(rows[keys[1]])
  _checks.check_label_form(keys[1], labels)

  def read(number):
    picture = rows[int(number)][keys[0]]
    return _pictures.pixels_of(picture, size, grayscale or picture.mode == 'L')

  return _records.Records(
    labels,
    read,
    lambda number: f'hf:{name}, image {number} of {split!r}',
    lambda: [file['filename'] for file in rows.cache_files],
  )
