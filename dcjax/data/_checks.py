"""The checks behind `Dataset`: one clear error per contradiction."""

from __future__ import annotations

import collections
import numbers
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

# Channels of a picture: more last and fewer first are taken for a mistake.
_MOST_COLOURS = 4

if TYPE_CHECKING:
  from dcjax.data._dataset import Dataset


def check_dataset(dataset: Dataset) -> None:
  """Raises an error about the first field that is not as `Dataset` says.

  Raises:
    ValueError: class names twice or not printable; wrong rank, channels first,
      wrong dtype, length or shape; NaN, infinite or
      out-of-range values; labels outside 0..C-1; classes without a training
      image; mean or std of wrong length; std not above 0; windows of other
      labels.
  """
  _check_range_field(dataset.value_range)
  _check_names(dataset.class_names)
  for part in ('', 'test_'):
    images = getattr(dataset, f'{part}images')
    labels = getattr(dataset, f'{part}labels')
    check_images(f'{part}images', images)
    _check_labels(f'{part}labels', labels, dataset.num_classes)
    check_lengths(part, images, labels)
    # The lowest spectrogram value of training data does not bound test data.
    if not part or None not in dataset.value_range:
      _check_values(f'{part}images', images, dataset.value_range)
  _check_splits_agree(dataset.images, dataset.test_images)
  _check_no_empty_class(dataset)
  _check_statistics(dataset)
  stream = dataset.stream
  if stream is not None and not np.array_equal(stream.labels, dataset.labels):
    raise ValueError(
      f'stream has windows of {len(stream.labels)} labels; allowed are those '
      f'of the {len(dataset.labels)} images, the first window.'
    )


def shared_images(images: np.ndarray, test_images: np.ndarray) -> list[str]:
  """Returns a note if test images are training images, pixel by pixel."""
  if images.shape[1:] != test_images.shape[1:]:
    return []
  known = {hash(image.tobytes()) for image in images}
  count = sum(hash(image.tobytes()) in known for image in test_images)
  if not count:
    return []
  return [f'{count} of {len(test_images)} test images are training images too']


def untested(names, labels: np.ndarray, test_labels: np.ndarray) -> list[str]:
  """Returns a note if classes have training images, but no test image."""
  lost = sorted(set(labels.tolist()) - set(test_labels.tolist()))
  shown = [names[c] if c < len(names) else str(c) for c in lost[:10]]
  return [f'no test image of {len(lost)} classes: {shown}'] if lost else []


def _check_names(names) -> None:
  seen = collections.Counter(map(_seen, names))
  doubled = list(dict.fromkeys(n for n in names if seen[_seen(n)] > 1))
  if doubled:
    raise ValueError(
      f'class_names hold {doubled[:10]} more than once; allowed are names that '
      'look different.'
    )
  for name in names:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
      raise ValueError(
        f'class_names hold {name!r}; allowed are texts that can be printed.'
      )


def _seen(name) -> str:
  return unicodedata.normalize('NFC', str(name)).strip()


def check_unmasked(field: str, array) -> None:
  """Raises ValueError if entries are masked, which `asarray` would not heed."""
  count = np.ma.count_masked(array) if np.ma.isMaskedArray(array) else 0
  if count:
    raise ValueError(
      f'{field} have {count} masked entries; allowed are none: leave those '
      'images out.'
    )


def scale_of(images: np.ndarray) -> float:
  """Returns what images are divided by before they are normalised."""
  return 255.0 if images.dtype == np.uint8 else 1.0


def check_images(field: str, images: np.ndarray) -> None:
  """Raises ValueError unless `[M, H, W, D]`, uint8 or finite float32."""
  if images.ndim != 4 or 0 in images.shape:
    raise ValueError(
      f'{field} have shape {images.shape}; allowed is [M, H, W, D], or '
      '[M, H, W] for one channel in from_arrays, with no axis of length 0.'
    )
  first, last = images.shape[1], images.shape[3]
  if first <= _MOST_COLOURS < last and first < images.shape[2]:
    raise ValueError(
      f'{field} have shape {images.shape}, which looks like channels first; '
      'allowed is channels last, [M, H, W, D]: images.transpose(0, 2, 3, 1).'
    )
  if images.dtype not in (np.uint8, np.float32):
    raise ValueError(
      f'{field} have dtype {images.dtype}; allowed are uint8 in 0..255 and '
      'floating point, so give images.astype(numpy.uint8) of whole numbers in '
      '0..255, or divide them by their largest value.'
    )
  if images.dtype == np.float32 and not np.isfinite(images).all():
    raise ValueError(
      f'{field} hold NaN or infinite values; allowed are finite.'
    )


def check_label_form(field: str, labels: np.ndarray) -> None:
  """Raises ValueError unless labels are `[M]` integers."""
  if labels.ndim != 1:
    raise ValueError(
      f'{field} have shape {labels.shape}; allowed is [M], class numbers.'
    )
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'{field} have dtype {labels.dtype}; allowed are integers.'
    )


def _check_labels(field: str, labels: np.ndarray, num_classes: int) -> None:
  check_label_form(field, labels)
  if labels.dtype != np.int32:
    raise ValueError(f'{field} have dtype {labels.dtype}; allowed is int32.')
  if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
    raise ValueError(
      f'{field} hold {labels.min()}..{labels.max()}; allowed are '
      f'0..{num_classes - 1}, one number per class name.'
    )


def check_lengths(part: str, images: np.ndarray, labels: np.ndarray) -> None:
  """Raises ValueError unless there are as many images as labels."""
  if len(images) != len(labels):
    raise ValueError(
      f'{part}images hold {len(images)} and {part}labels {len(labels)} '
      'entries; both must hold the same number.'
    )


def _check_range_field(value_range) -> None:
  fits = isinstance(value_range, (tuple, list)) and len(value_range) == 2
  bounds = [v for v in value_range if v is not None] if fits else ['']
  if not all(isinstance(v, numbers.Real) and v == v for v in bounds) or (
    len(bounds) == 2 and not bounds[0] < bounds[1]
  ):
    raise ValueError(
      f'value_range is {value_range}; allowed is (lowest, highest) with '
      'lowest < highest, or None for no bound.'
    )


def _check_values(field: str, images: np.ndarray, value_range) -> None:
  if images.dtype == np.uint8:
    return
  low, high = value_range
  found = float(images.min()), float(images.max())
  # The margin forgives float64 bounds of float32 images.
  below = low is not None and found[0] < low - 1e-6 * max(1.0, abs(low))
  above = high is not None and found[1] > high + 1e-6 * max(1.0, abs(high))
  if below or above:
    raise ValueError(
      f'{field} hold {found[0]:g}..{found[1]:g}; allowed by value_range is '
      f'{value_range} (None: no bound); numbers in 0..255 are given as uint8 '
      'or divided by 255.'
    )


def _check_splits_agree(images: np.ndarray, test_images: np.ndarray) -> None:
  found = test_images.shape[1:], str(test_images.dtype)
  wanted = images.shape[1:], str(images.dtype)
  if found != wanted:
    raise ValueError(
      f'test_images are {found[0]} {found[1]} per image; allowed is '
      f'{wanted[0]} {wanted[1]}, as in images.'
    )


def _check_no_empty_class(dataset: Dataset) -> None:
  empty = np.flatnonzero(dataset.counts == 0)
  if empty.size:
    shown = ', '.join(f'{c} ({dataset.class_names[c]})' for c in empty[:10])
    shown += ', ...' if empty.size > 10 else ''
    raise ValueError(
      f'labels: no training image in class {shown}; every class of '
      f'0..{dataset.num_classes - 1} needs at least one.'
    )


def _check_statistics(dataset: Dataset) -> None:
  channels = dataset.images.shape[-1]
  for field in ('mean', 'std'):
    values = getattr(dataset, field)
    if len(values) != channels:
      raise ValueError(
        f'{field} is {values}; allowed is one number per channel, {channels}.'
      )
    if not np.isfinite(values).all():
      raise ValueError(f'{field} is {values}; allowed are finite numbers.')
  low, high = dataset.value_range
  inside = np.clip(dataset.mean, low, high)
  if None not in (low, high) and not np.array_equal(inside, dataset.mean):
    raise ValueError(
      f'mean is {dataset.mean}; allowed are numbers in {low}..{high}, as it is '
      'that of images divided by scale.'
    )
  if not all(s > 0 for s in dataset.std):
    raise ValueError(
      f'std is {dataset.std}; allowed are numbers above 0, such as '
      'those of training images that are not all alike.'
    )
  if dataset.scale != scale_of(dataset.images):
    raise ValueError(
      f'scale is {dataset.scale}; allowed is {scale_of(dataset.images)} for '
      f'{dataset.images.dtype} images.'
    )
