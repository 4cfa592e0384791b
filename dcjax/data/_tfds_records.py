"""How TFDS records become images and labels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dcjax.data import _files, _images, _records, _tfds_labels


class Reader(NamedTuple):
  """How records become images.

  Attributes:
    keys: features of the images and of the labels.
    size: see `load_tfds`.
    grayscale: see `load_tfds`.
    place: of the records, for messages.
  """

  keys: tuple[str, str]
  size: int | None
  grayscale: bool
  place: str

  def image(self, example: dict) -> np.ndarray:
    """Returns the image `[H, W, D]` of a record."""
    image = np.asarray(example[self.keys[0]])
    image = image[..., None] if image.ndim == 2 else image
    if self.size is None and not self.grayscale:
      return image
    if (
      image.dtype != np.uint8
      or image.ndim != 3
      or image.shape[-1] not in (1, 3)
    ):
      raise ValueError(
        f'size: TFDS images are {image.dtype} {image.shape}; only uint8 images '
        'of 1 or 3 channels are resized.'
      )
    return _images.resize_array(image, self.size, self.grayscale)


def read_all(
  source: Sequence[dict], reader: Reader
) -> tuple[np.ndarray, np.ndarray]:
  """Returns all images `[M, H, W, D]` and labels `[M]`."""
  label_key = reader.keys[1]
  images, labels = None, np.empty(len(source), np.int64)
  for i in range(len(source)):
    example = record(source, i, reader.place)
    image = reader.image(example)
    _tfds_labels.check(label_key, example[label_key])
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


def class_records(
  source: Sequence[dict],
  reader: Reader,
  names: Sequence[str],
  classes: Sequence[str],
) -> _records.Records:
  """Returns the records of some classes, renumbered in their order.

  Args:
    source: what TFDS's `as_data_source` returned.
    reader: how images are read.
    names: of all classes of the set.
    classes: names of those that are wanted.

  Raises:
    ValueError: there is no record of these classes.
  """
  number_of = {name: c for c, name in enumerate(classes)}
  # The last one is for -1, a label that is kept secret.
  renumbered = np.array([*(number_of.get(n, -1) for n in names), -1])
  labels = renumbered[_tfds_labels.read(source, *reader.keys, reader.place)]
  kept = np.flatnonzero(labels >= 0)
  if not kept.size:
    raise ValueError(
      f'{reader.place} holds no image of the classes {list(classes[:5])}; '
      'allowed are classes with images in every split that is used.'
    )

  def read(i):
    example = record(source, kept[i], reader.place)
    image = reader.image(example)
    if image.dtype != np.uint8:
      raise ValueError(
        f'classes and window: TFDS images are {image.dtype}; only uint8 images '
        'are read one at a time.'
      )
    return image

  return _records.Records(
    labels[kept], read, lambda i: f'record {kept[i]} of {reader.place}'
  )


def choose_classes(
  name: str, names: Sequence[str] | None, classes: Sequence[str] | None
) -> Sequence[str]:
  """Returns the names of the classes to read.

  Raises:
    ValueError: the set names no classes, or a class is unknown or named twice.
  """
  if names is None:
    raise ValueError(
      f'classes and window need the names of all classes, which TFDS set '
      f'{name!r} does not hold; allowed is None.'
    )
  chosen = names if classes is None else tuple(classes)
  unknown = [c for c in chosen if c not in names]
  if unknown or not chosen or len(set(chosen)) < len(chosen):
    more = ' ...' if len(names) > 20 else ''
    raise ValueError(
      f'classes {unknown or list(chosen)}: allowed are classes of TFDS set '
      f'{name!r}, at least one, none twice: {list(names[:20])}{more}.'
    )
  return chosen


def record(source: Sequence[dict], position: int, place: str) -> dict:
  """Returns a record; one that cannot be decoded is said in one sentence."""
  with _files.reading(place, 'array_record'):
    return source[position]
