"""Pictures that are decoded one at a time, and data sets made of them."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax import files
from dcjax.data import _checks, _dataset, _stream

_THREADS = 16


class Records(NamedTuple):
  """A labelled set of pictures, of which only the labels are in memory.

  Attributes:
    labels: `[M]` integers, class numbers.
    read: number of a record -> its image `[H, W, D]` uint8; called from several
      threads at once.
    place: number of a record -> where it is stored, for messages.
    paths: () -> the files that hold them, in an order of their own.
  """

  labels: np.ndarray
  read: Callable[[int], np.ndarray]
  place: Callable[[int], str]
  paths: Callable[[], Iterable[files.AnyPath]] = tuple


def make_dataset(
  train: Records,
  test: Records | None,
  *,
  class_names: Sequence[str],
  window: int | None,
  seed: int,
  test_fraction: float,
  notes: Sequence[str] = (),
  notes_of_reading: Callable[[], Sequence[str]] = tuple,
  own: bool = False,
  **fields: Any,
) -> _dataset.Dataset:
  """Reads all images, or a window of the training images, into a data set.

  Args:
    train: training part.
    test: test part; None: `test_fraction` of every class of `train`, the same
      images whatever the window.
    class_names: C names.
    window: images of each class held at once; None holds all.
    seed: of the held-out draw and of the windows.
    test_fraction: see `test`.
    notes: for `Dataset.notes`.
    notes_of_reading: () -> more of them, once the images are read.
    own: whether a note says that test images are training images too; what is
      published is as it is.
    **fields: for `from_arrays`.

  Raises:
    ValueError: `window` is below 1, a class is empty, an image cannot be read
      or is not of the first one's shape.
  """
  check_window(window)
  first = train.read(0)
  train = _alike(train, first.shape, train.place(0))
  if test is None:
    kept, held_out = _dataset.stratified_split(
      train.labels, test_fraction, seed
    )
    train, test = _subset(train, kept), _subset(train, held_out)
  else:
    test = _alike(test, first.shape, train.place(0))
  labels, stream = train.labels, None
  numbers = np.arange(len(labels))
  if window is not None:
    stream = _stream.Windows(
      *(train.read, labels, len(class_names), window, seed, first.shape),
      train.paths,
    )
    labels, numbers = stream.labels, stream.numbers(0)
  images = _read_all(train, numbers, first.shape)
  tested = _read_all(test, np.arange(len(test.labels)), first.shape)
  shared = _checks.shared_images(images, tested) if own else []
  dataset = _dataset.from_arrays(
    images,
    labels,
    tested,
    test.labels,
    class_names=class_names,
    notes=(*notes, *notes_of_reading(), *shared),
    **fields,
  )
  return dataclasses.replace(dataset, stream=stream)


def check_window(window: int | None) -> None:
  """Raises ValueError unless `window` is None or a positive integer."""
  if window is not None and (not isinstance(window, int) or window < 1):
    raise ValueError(
      f'window is {window!r}; allowed is a positive number of images of each '
      'class, or None for all.'
    )


def _alike(records: Records, shape: tuple[int, ...], first: str) -> Records:
  """Lets records refuse images of another shape than that of `first`."""

  def read(number):
    image = records.read(number)
    if image.shape != shape:
      raise ValueError(
        f'{records.place(number)} is {_size(image.shape)} and {first} '
        f'{_size(shape)}; give size to make them equal.'
      )
    return image

  return records._replace(read=read)


def _size(shape: tuple[int, ...]) -> str:
  return 'x'.join(str(n) for n in (shape[:2] if shape[-1] in (1, 3) else shape))


def _subset(records: Records, numbers: np.ndarray) -> Records:
  return Records(
    records.labels[numbers],
    lambda i: records.read(numbers[i]),
    lambda i: records.place(numbers[i]),
    records.paths,
  )


def _read_all(
  records: Records, numbers: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
  """Returns images `[len(numbers), H, W, D]`, decoded by several threads."""
  images = np.empty((len(numbers), *shape), np.uint8)
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    for i, image in enumerate(pool.map(records.read, numbers)):
      images[i] = image
  return images
