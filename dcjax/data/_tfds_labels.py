"""Labels of a TFDS split without its images, remembered for large ones."""

import contextlib
import copy
import hashlib
import os
import pathlib
from typing import Any

import jax
import numpy as np

from dcjax import trees
from dcjax.data import _files

# Reading the labels of ImageNet takes minutes, as each lies beside its image.
_REMEMBERED_FROM = 100_000
_CHUNK = 256


def read(source: Any, image_key: str, label_key: str, place: str) -> np.ndarray:
  """Returns the labels `[M]` int64 of a TFDS source; decodes no image.

  Those of at least 100,000 records are kept in the user's cache folder
  (`$XDG_CACHE_HOME/dcjax/labels`, else `~/.cache/dcjax/labels`).

  Args:
    source: what TFDS's `as_data_source` returned.
    image_key: feature of the images.
    label_key: feature of the labels.
    place: of the records, for messages.

  Raises:
    ValueError: a label is not one integer, or a record is damaged.
  """
  if len(source) < _REMEMBERED_FROM:
    return _read(source, image_key, label_key, place)
  file = _cache_file(source, label_key, place)
  # Where they are not there yet, or damaged, they are written anew.
  with contextlib.suppress(OSError, ValueError):
    wanted = jax.ShapeDtypeStruct((len(source),), np.int64)
    return trees.load(file, wanted)
  labels = _read(source, image_key, label_key, place)
  _remember(file, labels)
  return labels


def check(key: str, label: Any) -> None:
  """Raises ValueError unless a record's label is one integer."""
  label = np.asarray(label)
  if label.shape or not np.issubdtype(label.dtype, np.integer):
    raise ValueError(
      f'label_key {key!r} gives {label.dtype} {label.shape}; allowed is one '
      'integer per image.'
    )


def _read(
  source: Any, image_key: str, label_key: str, place: str
) -> np.ndarray:
  import tensorflow_datasets as tfds

  plain = copy.copy(source)
  plain.decoders = {image_key: tfds.decode.SkipDecoding()}
  labels = np.empty(len(source), np.int64)
  for start in range(0, len(source), _CHUNK):
    numbers = list(range(start, min(start + _CHUNK, len(source))))
    with _files.reading(place, 'array_record'):
      found = [e[label_key] for e in plain.__getitems__(numbers)]
    check(label_key, found[0])
    labels[numbers] = found
  return labels


def _cache_file(source: Any, label_key: str, place: str) -> pathlib.Path:
  """Returns where the labels are kept; prepared anew, a set has others."""
  info = source.dataset_info.splits[source.split.partition('[')[0]]
  described = f'{place} {source.split} {label_key} {info.shard_lengths}'
  digest = hashlib.sha256(described.encode()).hexdigest()[:32]
  root = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
  folder = pathlib.Path(root).expanduser() / 'dcjax' / 'labels'
  return folder / f'{digest}.npz'


def _remember(file: pathlib.Path, labels: np.ndarray) -> None:
  with contextlib.suppress(OSError):  # It only saves time.
    file.parent.mkdir(parents=True, exist_ok=True)
    trees.save(file, labels)
