"""TensorFlow Datasets, read without TensorFlow; nothing is ever downloaded."""

import difflib
import importlib.util
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcjax.data import _dataset, _files, _images, _specs

_TEST_SPLITS = ('test', 'validation')
# TFDS names whose published constants go by another name here.
_SPEC_NAMES = {'svhn_cropped': 'svhn', 'imagenet2012': 'imagenet'}


class NotPreparedError(FileNotFoundError):
  """The set is not prepared where TFDS looks for it."""


def installed() -> bool:
  """Returns whether tensorflow_datasets can be imported."""
  return importlib.util.find_spec('tensorflow_datasets') is not None


def prepare_command(name: str, data_dir: _files.AnyPath | None) -> str:
  """Returns the command that prepares `name`, for messages."""
  place = 'DIR' if data_dir is None else data_dir
  return f'python -m dcjax.data prepare {name} --data_dir {place}'


def load_tfds(
  name: str,
  data_dir: _files.AnyPath | None,
  *,
  size: int | None = None,
  image_key: str | None = None,
  label_key: str | None = None,
  train_split: str = 'train',
  test_split: str | None = None,
  test_fraction: float = 0.2,
  seed: int = 0,
) -> _dataset.Dataset:
  """Returns a prepared TFDS image-classification set.

  Args:
    name: TFDS name, with `/config` and `:version` if wanted.
    data_dir: where it is prepared (array_record); None: TFDS's default.
    size: shorter side resized, centre cropped to `size` x `size`; None if all
      images have one shape.
    image_key: feature of the images; by default the only image feature, or
      the one that TFDS gives for supervised learning.
    label_key: as `image_key`, of the class labels.
    train_split: TFDS split, e.g. 'train[:50%]'.
    test_split: TFDS split; by default 'test', else 'validation', the first
      that exists and has labels, else `test_fraction` is held out.
    test_fraction: held-out part of every class.
    seed: of the held-out draw.

  Raises:
    ImportError: tensorflow_datasets is missing.
    FileNotFoundError: not prepared; names the command that does it.
    ValueError: unknown set, split or feature; images of differing shape and
      no `size`; damaged records.
  """
  _images.check_size(size)
  builder = _builder(name, data_dir)
  keys = _feature_keys(builder, image_key, label_key)
  train = _source(builder, train_split, name, data_dir)
  place = _place(builder, name)
  images, labels = _read(train, keys, size, place)
  test_images, test_labels = None, None
  test = _test_source(builder, test_split, name, data_dir, keys[1])
  if test is not None:
    test_images, test_labels = _read(test, keys, size, place)
  spec_name = _SPEC_NAMES.get(builder.name, builder.name)
  stats = _specs.NORMALIZATIONS.get(spec_name, (None, None))
  return _dataset.from_arrays(
    images,
    labels,
    test_images,
    test_labels,
    name=name,
    class_names=_class_names(builder, keys[1], spec_name),
    mean=stats[0],
    std=stats[1],
    test_fraction=test_fraction,
    seed=seed,
  )


def prepare(name: str, data_dir: _files.AnyPath | None) -> str:
  """Downloads a TFDS set and writes it as array_record.

  Args:
    name: TFDS name; `tfds:` before it is allowed.
    data_dir: where to; None: TFDS's default.

  Returns:
    The folder of the prepared set.

  Raises:
    ImportError: tensorflow_datasets or TensorFlow is missing.
    ValueError: unknown set.
  """
  if importlib.util.find_spec('tensorflow') is None or not installed():
    raise ImportError(
      'preparing a TFDS set needs TensorFlow (reading it later does not): '
      "pip install 'dcjax[prepare]'."
    )
  builder = _builder(name.removeprefix('tfds:'), data_dir, 'array_record')
  builder.download_and_prepare()
  return str(builder.data_path)


def _builder(
  name: str,
  data_dir: _files.AnyPath | None,
  file_format: str | None = None,
) -> Any:
  if not installed():
    raise ImportError(
      f"TFDS set {name!r} needs tensorflow_datasets: pip install 'dcjax[tfds]'."
    )
  import tensorflow_datasets as tfds

  head, _, version = name.partition(':')
  if version and not version[0].isdigit() and version[0] != '*':
    # A namespace, e.g. huggingface, would be looked up on the network.
    raise ValueError(
      f'TFDS name is {name!r}; allowed is one without a namespace ({head}).'
    )
  options = {} if file_format is None else {'file_format': file_format}
  # TFDS warns of every set that is not prepared; the caller says it better.
  level = logging.getLogger('absl').level
  logging.getLogger('absl').setLevel(logging.ERROR)
  try:
    return tfds.builder(name, data_dir=_text(data_dir), **options)
  except tfds.core.DatasetNotFoundError:
    close = difflib.get_close_matches(
      head, tfds.list_builders(with_community_datasets=False), 5
    )
    raise ValueError(
      f'TFDS has no set {name!r}, nor is one prepared in {data_dir}; names '
      f'like it are {close}; all names: '
      'https://www.tensorflow.org/datasets/catalog/overview.'
    ) from None  # TFDS's own message lists all of its 1,000 sets.
  finally:
    logging.getLogger('absl').setLevel(level)


def _text(path: _files.AnyPath | None) -> str | None:
  return None if path is None else os.path.expanduser(path)


def _source(
  builder: Any,
  split: str,
  name: str,
  data_dir: _files.AnyPath | None,
) -> Sequence[dict]:
  known = tuple(builder.info.splits)
  base = split.partition('[')[0].partition('+')[0].strip()
  if known and base not in known:
    raise ValueError(
      f'TFDS set {name!r} has no split {base!r}; allowed are {sorted(known)}.'
    )
  try:
    return builder.as_data_source(split)
  # Which of these comes depends on what is there: nothing, or tfrecord files.
  except (NotImplementedError, AssertionError, FileNotFoundError) as error:
    raise NotPreparedError(
      f'TFDS set {name!r} is not prepared as array_record in '
      f'{builder.data_path}; run {prepare_command(name, data_dir)}.'
    ) from error


def _test_source(
  builder: Any,
  split: str | None,
  name: str,
  data_dir: _files.AnyPath | None,
  label_key: str,
) -> Sequence[dict] | None:
  if split is not None:
    return _source(builder, split, name, data_dir)
  # TFDS knows no splits where only its test double holds the data.
  known = tuple(builder.info.splits) or _TEST_SPLITS
  for candidate in _TEST_SPLITS:
    if candidate not in known:
      continue
    source = _source(builder, candidate, name, data_dir)
    # Sets with secret test labels write -1.
    if not len(source):
      continue
    if np.all(_record(source, 0, _place(builder, name))[label_key] >= 0):
      return source
  return None


def _feature_keys(
  builder: Any, image_key: str | None, label_key: str | None
) -> tuple[str, str]:
  import tensorflow_datasets as tfds

  features = builder.info.features
  if not isinstance(features, tfds.features.FeaturesDict):
    raise ValueError(f'TFDS set {builder.name!r} has no dict of features.')
  supervised = builder.info.supervised_keys
  if supervised is None or len(supervised) != 2:
    supervised = (None, None)
  found = []
  for field, key, kind, preferred in zip(
    ('image_key', 'label_key'),
    (image_key, label_key),
    (tfds.features.Image, tfds.features.ClassLabel),
    supervised,
    strict=True,
  ):
    of_kind = [k for k, f in features.items() if isinstance(f, kind)]
    if key is None and preferred in of_kind:
      key = preferred
    elif key is None and len(of_kind) == 1:
      key = of_kind[0]
    if key not in features:
      raise ValueError(
        f'{field} is {key!r} for TFDS set {builder.name!r}; allowed are its '
        f'features {sorted(features)}, of which {of_kind} are of that kind.'
      )
    found.append(key)
  return tuple(found)


def _read(
  source: Sequence[dict],
  keys: tuple[str, str],
  size: int | None,
  place: str,
) -> tuple[np.ndarray, np.ndarray]:
  image_key, label_key = keys
  images, labels = None, np.empty(len(source), np.int64)
  for i in range(len(source)):
    example = _record(source, i, place)
    image = np.asarray(example[image_key])
    _check_label(label_key, example[label_key])
    image = image[..., None] if image.ndim == 2 else image
    image = image if size is None else _resized(image, size)
    if images is None:
      images = np.empty((len(source), *image.shape), image.dtype)
    if image.shape != images.shape[1:]:
      raise ValueError(
        f'TFDS images have shapes {images.shape[1:]} and {image.shape}; give '
        'size to make them equal.'
      )
    images[i], labels[i] = image, example[label_key]
  if images is None:
    raise ValueError('a TFDS split is empty; at least one image is needed.')
  return images, labels


def _place(builder: Any, name: str) -> str:
  return f'{builder.data_path} (TFDS set {name!r})'


def _record(source: Sequence[dict], position: int, place: str) -> dict:
  """Returns a record; one that cannot be decoded is said in one sentence."""
  with _files.reading(place, 'array_record'):
    return source[position]


def _check_label(key: str, label: Any) -> None:
  label = np.asarray(label)
  if label.shape or not np.issubdtype(label.dtype, np.integer):
    raise ValueError(
      f'label_key {key!r} gives {label.dtype} {label.shape}; allowed is one '
      'integer per image.'
    )


def _resized(image: np.ndarray, size: int) -> np.ndarray:
  if (
    image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] not in (1, 3)
  ):
    raise ValueError(
      f'size: TFDS images are {image.dtype} {image.shape}; only uint8 images '
      'of 1 or 3 channels are resized.'
    )
  return _images.resize_array(image, size)


def _class_names(
  builder: Any, label_key: str, spec_name: str
) -> Sequence[str] | None:
  names = getattr(builder.info.features[label_key], 'names', None)
  known = _specs.CLASS_NAMES.get(spec_name, ())
  return known if names and len(known) == len(names) else names
