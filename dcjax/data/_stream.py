"""Training sets larger than memory: windows, decoded in the background."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcjax import files
from dcjax.utils import check_at_least

if TYPE_CHECKING:
  from dcjax.data._dataset import Dataset

_THREADS = 16
_ENDLESS = 2**62  # images; the walks have no end


class Windows:
  """A training set that is seen through one window after another.

  A window holds `min(count, window)` images of every class, class after class.
  Each class is walked in a random order of its own, drawn anew for every pass;
  windows are consecutive parts of that walk, and one that reaches the end of a
  pass goes on with the next. So window k is a function of the files, the seed
  and k alone: a run that resumes at window k sees the bytes it would have seen.

  While a window is used, threads decode the next one. `close` ends them, as a
  program should before it ends; the windows can be used again afterwards.

  Attributes:
    counts: `[C]` int32, images of each class in the whole set.
    held: `[C]` int32, images of each class in a window.
    labels: `[M]` int32 of any window, ascending; M is the sum of `held`.
    image_shape: `(H, W, D)`.

  Example:
    dataset = data.load('imagenet100', folder, window=256)
    dataset.stream.prefetch(1)
    for k in range(1, 10):
      images = dataset.stream.window(k)  # like dataset.images, window 0
    dataset.stream.close()
  """

  def __init__(
    self,
    read: Callable[[int], np.ndarray],
    labels: np.ndarray,
    num_classes: int,
    window: int,
    seed: int,
    image_shape: tuple[int, int, int],
    paths: Callable[[], Iterable[files.AnyPath]] = tuple,
  ):
    """Describes the windows; nothing is read yet.

    Args:
      read: number of a training image -> the image `[H, W, D]` uint8; called
        from several threads at once.
      labels: integers, the class of each training image.
      num_classes: C.
      window: images of each class held at once, at least 1.
      seed: of the walks, at least 0.
      image_shape: of every image.
      paths: () -> the files that hold the images, in an order of their own.

    Raises:
      ValueError: a class has no image, or `seed` is negative.
    """
    check_at_least('seed', seed, 0)
    self.counts = np.bincount(labels, minlength=num_classes).astype(np.int32)
    if not self.counts.all():
      raise ValueError(
        f'labels: no training image in class {int(self.counts.argmin())}; '
        'every class needs at least one.'
      )
    self.held = np.minimum(self.counts, window).astype(np.int32)
    self.labels = np.repeat(np.arange(num_classes), self.held).astype(np.int32)
    self.image_shape = tuple(image_shape)
    self._read, self._seed, self._paths = read, seed, paths
    order = np.argsort(labels, kind='stable')
    self._members = np.split(order, np.cumsum(self.counts)[:-1])
    self._iterator: Any = None
    self._classes, self._position = None, 0
    # The threads ask for the same window image by image.
    self._numbers = functools.lru_cache(4)(self._draw)

  @property
  def windows_per_pass(self) -> int:
    """How many windows show every image at least once."""
    return int(np.max(-(-self.counts // self.held)))

  def digest(self) -> str:
    """Returns what tells the whole set from others, see `files.fingerprint`.

    Every file is opened, and no image decoded.

    Raises:
      OSError: a file is gone.
    """
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
      found = b''.join(pool.map(files.fingerprint, self._paths()))
    return hashlib.sha256(found).hexdigest()

  def numbers(self, k: int, classes: Iterable[int] | None = None) -> np.ndarray:
    """Returns which training images window `k` holds, `[M]` int64.

    Args:
      k: number of the window, from 0.
      classes: only these, in this order; all by default.

    Raises:
      ValueError: `k` is negative, or a class does not exist.
    """
    check_at_least('window', k, 0)
    return self._numbers(int(k), self._chosen(classes))

  def window(self, k: int, classes: Iterable[int] | None = None) -> np.ndarray:
    """Returns the images of window `k`, `[M, H, W, D]` uint8.

    The next window of the same classes is then decoded in the background.

    Args:
      k: number of the window, from 0.
      classes: only these are read, such as a range that this host owns; all by
        default. `labels` of them: `labels[numpy.isin(labels, classes)]`.

    Raises:
      ValueError: as `numbers`; or an image cannot be decoded (names its file).
      FileNotFoundError: a file is gone.
      ImportError: grain is missing.
    """
    self.prefetch(k, classes)
    chosen = self._chosen(classes)
    size = int(self.held[list(chosen)].sum())
    images = np.empty((size, *self.image_shape), np.uint8)
    try:
      for i in range(size):
        images[i] = next(self._iterator)
    except BaseException as error:
      self.close()  # what was prefetched no longer fits
      if isinstance(error, ValueError):  # to which grain adds paragraphs
        raise ValueError(str(error).partition('\n')[0]) from error
      raise
    self._position += size
    return images

  def prefetch(self, k: int, classes: Iterable[int] | None = None) -> None:
    """Starts to decode window `k` in the background, if not under way.

    Args:
      k: as for `window`.
      classes: as for `window`.

    Raises:
      ValueError: as `numbers`.
      ImportError: grain is missing.
    """
    self.numbers(k, classes)
    chosen = self._chosen(classes)
    start = k * int(self.held[list(chosen)].sum())
    if self._iterator is None or self._classes != chosen:
      self.close()
      self._iterator = self._start(chosen)
      self._classes, self._position = chosen, 0
    if self._position != start:
      self._iterator.set_state({'next_index': start})
      self._position = start
    self._iterator.start_prefetch()

  def close(self) -> None:
    """Ends the background threads; pictures not yet begun are left."""
    if self._iterator is not None:
      self._iterator.close()
    self._iterator = None

  def _start(self, classes: tuple[int, ...]) -> Any:
    """Returns an iterator over the images of all windows, one after another."""
    try:
      import grain
    except ImportError as error:
      raise ImportError(
        "data sets with a window need grain: pip install 'dcjax[stream]'."
      ) from error
    size = int(self.held[list(classes)].sum())

    def image(position):
      k, i = divmod(int(position), size)
      return self._read(int(self._numbers(k, classes)[i]))

    images = grain.MapDataset.range(_ENDLESS).map(image)
    options = grain.ReadOptions(
      num_threads=min(_THREADS, size), prefetch_buffer_size=size
    )
    return iter(images.to_iter_dataset(options))

  def _chosen(self, classes: Iterable[int] | None) -> tuple[int, ...]:
    known = range(len(self.counts))
    chosen = tuple(known if classes is None else map(int, classes))
    if not chosen or not set(chosen) <= set(known):
      raise ValueError(
        f'classes {list(chosen)}: must be at least one of 0..{len(known) - 1}'
      )
    return chosen

  def _draw(self, k: int, classes: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([self._part(c, k) for c in classes])

  def _part(self, c: int, k: int) -> np.ndarray:
    """Returns which images of class `c` window `k` holds."""
    held = int(self.held[c])
    first, start = divmod(k * held, int(self.counts[c]))
    passes = [
      np.random.default_rng((self._seed, c, p)).permutation(self._members[c])
      for p in (first, first + 1)
    ]
    return np.concatenate(passes)[start : start + held]


class ImageMemory(NamedTuple):
  """Bytes that the images of a data set take.

  Attributes:
    held: training images in memory: all of them, or one window.
    ahead: the window in use and the next one, beside the first, which stays;
      0 without windows.
    whole: all training images, decoded.
    test: test images.
  """

  held: int
  ahead: int
  whole: int
  test: int


def image_memory(dataset: Dataset) -> ImageMemory:
  """Returns how many bytes the images of a data set take, decoded.

  `held` is needed in host memory and again on the device.

  Args:
    dataset: with or without windows.
  """
  held = dataset.images.nbytes
  stream = dataset.stream
  if stream is None:
    return ImageMemory(held, 0, held, dataset.test_images.nbytes)
  whole = held // len(dataset.images) * int(stream.counts.sum())
  return ImageMemory(held, 2 * held, whole, dataset.test_images.nbytes)


def describe_memory(dataset: Dataset) -> str:
  """Returns `image_memory` as a line for a run's description.

  Args:
    dataset: with or without windows.

  Example:
    >>> found = data.load('imagenet100', folder, window=256)  # doctest: +SKIP
    >>> describe_memory(found)  # doctest: +SKIP
    'images: 3.6 GiB in a window of 256 per class, 7.2 GiB for those after ...
  """
  held, ahead, whole, test = map(_readable, image_memory(dataset))
  if dataset.stream is None:
    return f'images: {whole} for training, {test} for testing'
  return (
    f'images: {held} in a window of {dataset.stream.held.max()} per class, '
    f'{ahead} for those after it, of {whole} in all; {test} for testing'
  )


def _readable(count: int) -> str:
  if count < 2**30:
    return f'{count / 2**20:.1f} MiB'
  return f'{count / 2**30:.1f} GiB'
