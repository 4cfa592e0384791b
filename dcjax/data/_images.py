"""Pictures: digits, folders of image files, and resizing."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dcjax.data import _dataset, _files, _records, _specs

if TYPE_CHECKING:
  from PIL import Image

_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.gif', '.ppm', '.tif', '.tiff')
_SUFFIXES += ('.webp',)
_TEST_FOLDERS = ('test', 'val', 'validation')


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
  """Returns the central square of an image made `size` pixels high or wide.

  The shorter side is resized to `size` (bilinear, antialiased), as IDC prepares
  ImageNet.
  """
  from PIL import Image

  width, height = image.size
  short = min(width, height)
  width, height = int(size * width / short), int(size * height / short)
  image = image.resize((width, height), Image.Resampling.BILINEAR)
  left, top = round((width - size) / 2), round((height - size) / 2)
  return image.crop((left, top, left + size, top + size))


def pixels_of(
  image: Image.Image, size: int | None, grayscale: bool
) -> np.ndarray:
  """Returns `[H, W, D]` uint8 of a picture, D 3, or 1 for grayscale.

  Args:
    image: of any mode.
    size: see `resize_and_crop`; None leaves the size.
    grayscale: whether colours are averaged, before resizing.
  """
  image = image.convert('L' if grayscale else 'RGB')
  image = image if size is None else resize_and_crop(image, size)
  pixels = np.asarray(image)
  return pixels[..., None] if grayscale else pixels


def resize_array(
  image: np.ndarray, size: int | None, grayscale: bool = False
) -> np.ndarray:
  """`pixels_of` an array `[H, W, D]` uint8; one channel stays one."""
  from PIL import Image

  one = image.shape[-1] == 1
  picture = Image.fromarray(image[..., 0] if one else image)
  return pixels_of(picture, size, one or grayscale)


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
  from sklearn import datasets

  check_size(size)
  digits = datasets.load_digits()
  images = np.rint(digits.images[..., None] * (255 / 16)).astype(np.uint8)
  if size != 8:
    images = np.stack([resize_array(image, size) for image in images])
  test = np.zeros(len(images), bool)
  for c in range(10):
    test[np.flatnonzero(digits.target == c)[::5]] = True
  stats = _specs.NORMALIZATIONS['digits'] if size == 8 else (None, None)
  return _dataset.from_arrays(
    images[~test],
    digits.target[~test],
    images[test],
    digits.target[test],
    name='digits',
    class_names=_specs.CLASS_NAMES['digits'],
    mean=stats[0],
    std=stats[1],
  )


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

  Layouts: `train/<class>/...` with `test`, `val` or `validation` beside it, or
  `<class>/...`, of which `test_fraction` of every class is held out. Files lie
  at any depth below the class folder and are taken in sorted order.

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
    ValueError: an unreadable image, an empty or unknown class, shapes that
      differ and no `size`.
  """
  check_size(size)
  _records.check_window(window)
  root = _files.require_folder(data_dir, name)
  train = root / 'train'
  split = train.is_dir() and bool(_files.subfolders(train))
  train = train if split else root
  classes = _files.choose_classes(train, classes)
  test = _test_folder(root, classes) if split else None
  return _records.make_dataset(
    _class_records(train, classes, size, grayscale),
    _class_records(test, classes, size, grayscale) if test else None,
    class_names=classes,
    window=window,
    seed=seed,
    test_fraction=test_fraction,
    name=name,
  )


def _test_folder(
  root: pathlib.Path, classes: Sequence[str]
) -> pathlib.Path | None:
  """Returns the first test folder that is sorted into class folders."""
  for name in _TEST_FOLDERS:
    folder = root / name
    if folder.is_dir() and set(classes) & set(_files.subfolders(folder)):
      _files.choose_classes(folder, classes)
      return folder
  return None


def _class_records(
  folder: pathlib.Path,
  classes: Sequence[str],
  size: int | None,
  grayscale: bool,
) -> _records.Records:
  """Returns the files of all classes, class after class, sorted in each."""
  paths = [_files.files_of(folder / c, _SUFFIXES) for c in classes]
  flat = [path for of_class in paths for path in of_class]
  return _records.Records(
    np.repeat(np.arange(len(classes)), [len(p) for p in paths]),
    lambda i: _read_image(flat[i], size, grayscale),
    lambda i: str(flat[i]),
  )


def _read_image(
  path: pathlib.Path, size: int | None, grayscale: bool
) -> np.ndarray:
  from PIL import Image

  with _files.reading(path, 'image'), Image.open(path) as file:
    return pixels_of(file, size, grayscale)
