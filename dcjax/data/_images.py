"""Pictures: digits, folders of image files, and resizing."""

from __future__ import annotations

import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np

from dcjax.data import (
  _dataset,
  _files,
  _layout,
  _pictures,
  _records,
  _specs,
)


def resize_array(
  image: np.ndarray, size: int | None, grayscale: bool = False
) -> np.ndarray:
  """`_pictures.pixels_of` an array `[H, W, D]` uint8; one channel stays one."""
  from PIL import Image

  one = image.shape[-1] == 1
  picture = Image.fromarray(image[..., 0] if one else image)
  return _pictures.pixels_of(picture, size, one or grayscale)


def check_size(size: int | None) -> None:
  """Raises ValueError unless `size` is None or a positive integer."""
  if size is not None and (not isinstance(size, int) or size < 1):
    raise ValueError(f'size is {size!r}; allowed is a positive integer.')


def load_digits(*, size: int = 8) -> _dataset.Dataset:
  """Returns scikit-learn's 1,797 digits of 8x8, which need no files.

  Values 0..16 become 0..255. Every 5th image of each class, in stored order, is
  for testing: 1,433 / 364.

  Args:
    size: side in pixels; above 8 upsampled bilinearly.

  Raises:
    ValueError: `size` is not a positive integer.
  """
  check_size(size)
  values, labels = _stored_digits()
  images = np.rint(values * (255 / 16)).astype(np.uint8)
  if size != 8:
    images = np.stack([resize_array(image, size) for image in images])
  test = np.zeros(len(images), bool)
  for c in range(10):
    test[np.flatnonzero(labels == c)[::5]] = True
  stats = _specs.NORMALIZATIONS['digits'] if size == 8 else (None, None)
  return _dataset.from_arrays(
    images[~test],
    labels[~test],
    images[test],
    labels[test],
    name='digits',
    class_names=_specs.CLASS_NAMES['digits'],
    mean=stats[0],
    std=stats[1],
  )


def _stored_digits() -> tuple[np.ndarray, np.ndarray]:
  """Images `[1797, 8, 8, 1]`, 0..16, and labels, as scikit-learn stores them.

  Read without importing it, which takes longer than all else that loads them.
  """
  package = importlib.util.find_spec('sklearn')
  if package is None or not package.submodule_search_locations:
    raise ImportError('digits come with scikit-learn: pip install scikit-learn')
  folder = pathlib.Path(package.submodule_search_locations[0])
  rows = np.loadtxt(
    folder / 'datasets' / 'data' / 'digits.csv.gz', np.int64, delimiter=','
  )
  return rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1]


def load_image_folder(
  data_dir: _files.AnyPath | None,
  *,
  size: int | None = None,
  classes: Sequence[str] | None = None,
  grayscale: bool = False,
  test_fraction: float = 0.2,
  seed: int = 0,
  window: int | None = None,
  name: str = 'image_folder',
) -> _dataset.Dataset:
  """Returns the images of one folder per class.

  Layouts: `train/<class>/...` with a part for testing or validation beside it
  (`test`, `val`, `valid`, `validation`, `testing`, ... in any case; of two, the
  one for testing is used), or `<class>/...`, of which `test_fraction` of every
  class is held out. The part may be Tiny-ImageNet's. Files lie at any depth
  below the class folder and are taken in sorted order; links are followed.

  Pictures of 16 bits are scaled to 8, transparent ones laid on white, and all
  turned as their EXIF orientation says. What was done so, and what was left
  out, is said in `Dataset.notes` and warned of.

  Args:
    data_dir: the root folder.
    size: shorter side resized, centre cropped to `size` x `size`; None if all
      images have one shape.
    classes: class folders to use, in label order; all, sorted, by default.
    grayscale: one channel instead of three.
    test_fraction: held-out part where there is no test folder.
    seed: of the held-out draw and of the windows.
    window: training images of each class in memory at once, the others follow
      in `Dataset.stream`; None: all. Test images are all in memory.
    name: of the data set.

  Raises:
    FileNotFoundError: `data_dir` is no folder.
    ValueError: an unreadable image, or one of a mode without meaning in 8 bits;
      a folder in none of the layouts; an empty or unknown class; shapes that
      differ and no `size`.
  """
  return _load_folder(
    data_dir,
    size=size,
    classes=classes,
    grayscale=grayscale,
    test_fraction=test_fraction,
    seed=seed,
    window=window,
    name=name,
    as_published=False,
  )


def load_published_folder(
  data_dir: pathlib.Path,
  *,
  size: int,
  classes: Sequence[str],
  grayscale: bool,
  seed: int,
  window: int | None,
  name: str,
) -> _dataset.Dataset:
  """`load_image_folder` of a published set, as its references read it.

  Nothing is turned or laid on a ground, and a test part is needed.
  """
  return _load_folder(
    data_dir,
    size=size,
    classes=classes,
    grayscale=grayscale,
    test_fraction=0.2,
    seed=seed,
    window=window,
    name=name,
    as_published=True,
  )


def _load_folder(
  data_dir,
  *,
  size,
  classes,
  grayscale,
  window,
  seed,
  test_fraction,
  name,
  as_published,
) -> _dataset.Dataset:
  check_size(size)
  _records.check_window(window)
  root = _files.require_folder(data_dir, name)
  layout = _layout.read(
    root, _pictures.kind(), classes, needs_test=as_published
  )
  reader = _pictures.reader(size, grayscale, as_published)
  return _records.make_dataset(
    _class_records(layout.train, reader),
    None if layout.test is None else _class_records(layout.test, reader),
    class_names=layout.classes,
    window=window,
    seed=seed,
    test_fraction=test_fraction,
    name=name,
    notes=layout.notes,
    notes_of_reading=reader.notes,
    own=not as_published,
  )


def _class_records(
  paths: _layout.ByClass, reader: _pictures.Reader
) -> _records.Records:
  """Returns the files of all classes, class after class, sorted in each."""
  flat = [path for of_class in paths for path in of_class]
  return _records.Records(
    np.repeat(np.arange(len(paths)), [len(p) for p in paths]),
    lambda i: reader.read(flat[i]),
    lambda i: str(flat[i]),
    lambda: flat,
  )
