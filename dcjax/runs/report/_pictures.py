"""Pictures of image sets, for eyes only."""

import io
import os
from collections.abc import Sequence

import numpy as np

from dcjax import files

_GAP = 127  # Grey: apart from both dark and light images and pages.


def image_grid(
  images: np.ndarray,
  *,
  value_range: Sequence[float | None] = (0.0, 1.0),
  max_columns: int = 10,
  gap: int = 2,
) -> np.ndarray:
  """Lays images out with one row per class.

  Args:
    images: `[C, N, H, W, D]`, uint8 or floats; shown are the first three
      channels, or the first if there are one or two.
    value_range: floats drawn black and white; None: the lowest or highest
      value there is, as for spectrograms. uint8 images are drawn as they are.
    max_columns: most images drawn of a class.
    gap: pixels between images.

  Returns:
    uint8 `[rows, columns, 1 or 3]`.

  Raises:
    ValueError: `images` has another rank or is empty.

  Example:
    save_png('images.png', image_grid(formation.decode(params).images))
  """
  images = np.asarray(images)
  if images.ndim != 5 or not images.size:
    raise ValueError(
      f'images must have shape [C, N, H, W, D], got {images.shape}.'
    )
  images = images[:, :max_columns]
  images = to_uint8(images, value_range)
  num_classes, columns, height, width, depth = images.shape
  padding = [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)]
  tiles = np.pad(images, padding, constant_values=_GAP)
  grid = tiles.transpose(0, 2, 1, 3, 4).reshape(
    num_classes * (height + gap), columns * (width + gap), depth
  )
  return grid[: len(grid) - gap, : grid.shape[1] - gap]


def save_png(
  path: str | os.PathLike[str], array: np.ndarray, scale: int | None = None
) -> None:
  """Writes a uint8 array as a PNG file, enlarged so that a person can see it.

  The file is written whole or not at all.

  Args:
    path: file to write.
    array: uint8 `[H, W, 1]`, `[H, W, 3]` or `[H, W]`.
    scale: whole factor of nearest-neighbour enlargement; None: as large as
      keeps the longer side within 1000 pixels, at most 8.

  Raises:
    ValueError: the array is no picture, or `scale` is below 1.
    OSError: the file cannot be written; names it.
  """
  content = encode_png(array, scale)
  with files.replacing(path) as stream:
    stream.write(content)


def encode_png(
  array: np.ndarray, scale: int | None = None, tallest: int | None = None
) -> bytes:
  """Returns the bytes of the PNG file that `save_png` writes.

  Args:
    array: see `save_png`.
    scale: see `save_png`.
    tallest: pictures of more rows than this are shrunk.

  Raises:
    ValueError: see `save_png`.
  """
  from PIL import Image

  array = np.asarray(array)
  plain = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
  colour = plain.ndim == 3 and plain.shape[2] == 3
  if (
    array.dtype != np.uint8 or not array.size or not (colour or plain.ndim == 2)
  ):
    raise ValueError(
      'a picture must be uint8 [H, W, 1], [H, W, 3] or [H, W], got'
      f' {array.dtype} {array.shape}.'
    )
  if scale is None:
    scale = min(8, max(1, 1000 // max(plain.shape[:2])))
  if scale < 1:
    raise ValueError(f'scale must be at least 1, got {scale}.')
  picture = Image.fromarray(plain)
  size = (picture.width * scale, picture.height * scale)
  picture = picture.resize(size, Image.Resampling.NEAREST)
  if tallest is not None and picture.height > tallest:
    width = round(picture.width * tallest / picture.height)
    picture = picture.resize((width, tallest), Image.Resampling.BOX)
  stream = io.BytesIO()
  picture.save(stream, 'png', optimize=True)
  return stream.getvalue()


def shrunk(file: str | os.PathLike[str], side: int) -> bytes:
  """Returns a PNG file again, its longer side at most so many pixels.

  Raises:
    OSError: the file is no picture.
  """
  from PIL import Image

  stream = io.BytesIO()
  with Image.open(file) as picture:
    picture.thumbnail((side, side), Image.Resampling.BOX)
    picture.save(stream, 'png', optimize=True)
  return stream.getvalue()


def to_uint8(
  images: np.ndarray, value_range: Sequence[float | None]
) -> np.ndarray:
  """Returns images as they are seen: uint8, of one or three channels.

  Args:
    images: `[..., H, W, D]`, uint8 or floats; of other channels than one or
      three the first, or the first three, are kept.
    value_range: see `image_grid`.
  """
  images = images[..., : 3 if images.shape[-1] >= 3 else 1]
  if images.dtype == np.uint8:
    return images
  images = np.nan_to_num(images.astype(np.float32))
  low, high = value_range
  low = images.min() if low is None else low
  high = images.max() if high is None else high
  scaled = (images - low) / max(high - low, 1e-12)
  return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
