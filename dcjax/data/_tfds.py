"""TensorFlow Datasets, read without TensorFlow; nothing is ever downloaded."""

import difflib
import importlib.util
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from dcjax import files
from dcjax.data import (
  _dataset,
  _files,
  _images,
  _records,
  _specs,
  _tfds_labels,
  _tfds_records,
  _tfds_splits,
)

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
  classes: Sequence[str] | None = None,
  grayscale: bool = False,
  image_key: str | None = None,
  label_key: str | None = None,
  train_split: str = 'train',
  test_split: str | None = None,
  test_fraction: float | None = 0.2,
  seed: int = 0,
  window: int | None = None,
) -> _dataset.Dataset:
  """Returns a prepared TFDS image-classification set.

  With `classes` or `window`, labels are read first and then only the images
  that are wanted.

  Args:
    name: TFDS name, with `/config` and `:version` if wanted.
    data_dir: where it is prepared (array_record); None: TFDS's default.
    size: shorter side resized, centre cropped to `size` x `size`; None if all
      images have one shape.
    classes: names of the classes to use, in label order; all by default.
    grayscale: one channel instead of three.
    image_key: feature of the images; by default the only image feature, or
      the one that TFDS gives for supervised learning.
    label_key: as `image_key`, of the class labels.
    train_split: TFDS split, e.g. 'train[:50%]'.
    test_split: TFDS split; by default 'test', else 'validation', the first
      that exists and has labels, else `test_fraction` is held out.
    test_fraction: held-out part of every class; None: a test split is needed.
    seed: of the held-out draw and of the windows.
    window: training images of each class in memory at once, the others follow
      in `Dataset.stream`; None: all. Test images are all in memory.

  Raises:
    ImportError: tensorflow_datasets is missing.
    FileNotFoundError: not prepared; names the command that does it.
    ValueError: unknown set, split, class or feature; splits that share images;
      labels that are not one integer; images of differing shape and no `size`;
      damaged records.
  """
  _images.check_size(size)
  _records.check_window(window)
  builder = _builder(name, data_dir)
  keys = _feature_keys(builder, image_key, label_key)
  train = _source(builder, train_split, name, data_dir)
  test = _test_source(builder, test_split, name, data_dir, keys[1])
  if test is None and test_fraction is None:
    raise ValueError(
      f'TFDS set {name!r} has no split of {list(_TEST_SPLITS)} with labels; a '
      'published set is not tested on a part of its training images.'
    )
  notes = _tfds_splits.check(builder, name, train_split, test)
  spec_name = _SPEC_NAMES.get(builder.name, builder.name)
  names = _class_names(builder, keys[1], spec_name)
  stats = _specs.NORMALIZATIONS.get(spec_name, (None, None))
  fields = dict(
    name=name,
    class_names=names,
    mean=None if grayscale else stats[0],
    std=None if grayscale else stats[1],
    test_fraction=test_fraction,
    seed=seed,
    notes=notes,
  )
  reader = _tfds_records.Reader(keys, size, grayscale, _place(builder, name))
  if window is None and classes is None:
    read = _tfds_records.read_all
    tested = (None, None) if test is None else read(test, reader)
    return _dataset.from_arrays(*read(train, reader), *tested, **fields)
  chosen = _tfds_records.choose_classes(name, names, classes)
  fields['class_names'] = chosen
  select = _tfds_records.class_records
  records = select(train, reader, names, chosen)
  folder = pathlib.Path(builder.data_path)
  return _records.make_dataset(
    records._replace(paths=lambda: sorted(folder.iterdir())),
    None if test is None else select(test, reader, names, chosen),
    window=window,
    **fields,
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
    ValueError: unknown set, or one whose files must be fetched by hand first.
  """
  files.check_local('data_dir', data_dir)
  if importlib.util.find_spec('tensorflow') is None or not installed():
    raise ImportError(
      'preparing a TFDS set needs TensorFlow (reading it later does not): '
      "pip install 'dcjax[prepare]'."
    )
  builder = _builder(name.removeprefix('tfds:'), data_dir, 'array_record')
  try:
    builder.download_and_prepare()
  except AssertionError as error:  # TFDS says so where and which files.
    raise ValueError(f'TFDS set {name!r}: {error}') from error
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
  except (ImportError, OSError):
    raise
  # Its descriptions are read by parsers that raise nearly anything.
  except Exception as error:
    raise ValueError(
      f'TFDS set {name!r} in {data_dir}: its description is damaged '
      f'({files.one_line(error)}); run {prepare_command(name, data_dir)}.'
    ) from error
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
  except (ImportError, OSError):
    raise
  # Of splits that it does not understand, and of damaged names of files.
  except Exception as error:
    raise ValueError(
      f'TFDS set {name!r} in {builder.data_path}: split {split!r} cannot be '
      f'read ({files.one_line(error)}).'
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
    if not len(source):
      continue
    example = _tfds_records.record(source, 0, _place(builder, name))
    _tfds_labels.check(label_key, example[label_key])
    # Sets with secret test labels write -1.
    if example[label_key] >= 0:
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


def _place(builder: Any, name: str) -> str:
  return f'{builder.data_path} (TFDS set {name!r})'


def _class_names(
  builder: Any, label_key: str, spec_name: str
) -> Sequence[str] | None:
  names = getattr(builder.info.features[label_key], 'names', None)
  known = _specs.CLASS_NAMES.get(spec_name, ())
  return known if names and len(known) == len(names) else names
