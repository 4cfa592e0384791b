"""Pictures of image sets, for eyes only."""

import io
import os
from collections.abc import Sequence

import numpy as np

from dcjax import files, pictures
from dcjax.pictures import encode_png

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
  return pictures.to_uint8(images, value_range)
