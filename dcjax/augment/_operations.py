"""The differentiable operations, as functions of images and parameters.

Each takes images `[N, H, W, D]` and returns images of the same shape and dtype.
A parameter is a scalar `[]`, shared by all images, or has one entry per image
`[N]`. Parameters may be traced; nothing is drawn here and nothing is clipped.
The images are normalised, so that the zeros that come in from outside the image
are the mean colour. Magnitudes are those of DSA (Zhao and Bilen 2021), which
IDC (Kim et al. 2022) took over.
"""

import jax
import jax.numpy as jnp

from dcjax.augment._sampling import bilinear, check_images, resample
from dcjax.base import Array
from dcjax.utils import platform

_NEAR = 8  # pixels; further windows cost more selections than they save


def brightness(images: Array, r: Array | float) -> Array:
  """Adds `r - 0.5` to every pixel and channel.

  Args:
    images: `[N, H, W, D]`.
    r: `[]` or `[N]` in [0, 1], so that the shift is within +-0.5.

  Returns:
    `[N, H, W, D]`.

  Raises:
    ValueError: if `images` or a parameter has a wrong shape (all operations of
      this module do so).
  """
  return images + (_per_image(images, 'r', r) - 0.5)


def saturation(images: Array, r: Array | float) -> Array:
  """Scales the distance of each channel from the pixel's channel mean by `2 r`.

  Args:
    images: `[N, H, W, D]`; with one channel the result is the input.
    r: `[]` or `[N]` in [0, 1], so that the factor is in [0, 2].

  Returns:
    `[N, H, W, D]`.
  """
  factor = 2 * _per_image(images, 'r', r)
  if images.shape[-1] == 1:
    return images
  grey = images.mean(axis=-1, keepdims=True)
  return (images - grey) * factor + grey


def contrast(images: Array, r: Array | float) -> Array:
  """Scales the distance of each pixel from the image's mean by `r + 0.5`.

  Args:
    images: `[N, H, W, D]`; the mean is over H, W and D.
    r: `[]` or `[N]` in [0, 1], so that the factor is in [0.5, 1.5].

  Returns:
    `[N, H, W, D]`.
  """
  factor = _per_image(images, 'r', r) + 0.5
  mean = images.mean(axis=(1, 2, 3), keepdims=True)
  return (images - mean) * factor + mean


def crop(
  images: Array,
  row_shift: Array | int,
  column_shift: Array | int,
  *,
  reach: tuple[int, int] | None = None,
) -> Array:
  """Moves the window: `output[i, j] = input[i + row_shift, j + column_shift]`.

  Pixels from outside the image are zero; all others are exact copies.

  Args:
    images: `[N, H, W, D]`.
    row_shift: `[]` or `[N]` integer.
    column_shift: `[]` or `[N]` integer.
    reach: the largest absolute row and column shift that can occur; shifts
      beyond it count as equal to it. A small reach saves time. None: the whole
      image, which covers every shift.

  Returns:
    `[N, H, W, D]`.
  """
  _, height, width, depth = _shape(images)
  reach_rows, reach_columns = reach or (height, width)
  _per_image(images, 'row_shift', row_shift)
  _per_image(images, 'column_shift', column_shift)
  padded = jnp.pad(
    images,
    (
      (0, 0),
      (reach_rows, reach_rows),
      (reach_columns, reach_columns),
      (0, 0),
    ),
  )
  # A dynamic slice clamps its start, but counts a negative one from the end.
  rows = jnp.maximum(jnp.asarray(row_shift, jnp.int32) + reach_rows, 0)
  columns = jnp.maximum(jnp.asarray(column_shift, jnp.int32) + reach_columns, 0)

  def window(image: Array, row: Array, column: Array) -> Array:
    return jax.lax.dynamic_slice(
      image, (row, column, jnp.zeros_like(row)), (height, width, depth)
    )

  if rows.ndim == 0 and columns.ndim == 0:
    # The same start for all images: one slice of the whole batch.
    zero = jnp.zeros_like(rows)
    return jax.lax.dynamic_slice(
      padded, (zero, rows, columns, zero), images.shape
    )
  if platform() == 'tpu' and max(reach_rows, reach_columns) <= _NEAR:
    # Windows that start anywhere are a loop over images there.
    padded = _chosen(padded, rows, 1, 2 * reach_rows)
    return _chosen(padded, columns, 2, 2 * reach_columns)
  rows, columns = jnp.broadcast_arrays(rows, columns)
  return jax.vmap(window)(padded, rows, columns)


def _chosen(images, start, axis, last) -> Array:
  """Of the windows that leave out `last` pixels of an axis each image's own."""
  start = start.reshape(-1, 1, 1, 1)
  length = images.shape[axis] - last
  chosen = jax.lax.slice_in_dim(images, 0, length, axis=axis)
  for first in range(1, last + 1):
    other = jax.lax.slice_in_dim(images, first, first + length, axis=axis)
    chosen = jnp.where(start >= first, other, chosen)
  return chosen


def translate(
  images: Array,
  column_shift: Array | int,
  *,
  reach: int | None = None,
) -> Array:
  """Moves the window along the columns only: `crop` without a row shift.

  Args:
    images: `[N, H, W, D]`.
    column_shift: `[]` or `[N]` integer.
    reach: the largest absolute shift that can occur; None: any.

  Returns:
    `[N, H, W, D]`.
  """
  width = _shape(images)[2]
  return crop(
    images, 0, column_shift, reach=(0, width if reach is None else reach)
  )


def cutout(
  images: Array,
  row: Array | int,
  column: Array | int,
  size: int | tuple[int, int],
) -> Array:
  """Zeroes a rectangle of `size` rows and columns around (`row`, `column`).

  The hole covers the rows `row - size // 2 ... row - size // 2 + size - 1`, and
  the columns likewise; the part outside the image is cut off, so that holes at
  the border are smaller.

  Args:
    images: `[N, H, W, D]`.
    row: `[]` or `[N]` integer.
    column: `[]` or `[N]` integer.
    size: side of the hole, or rows and columns.

  Returns:
    `[N, H, W, D]`.
  """
  _, height, width, _ = _shape(images)
  size_rows, size_columns = size if isinstance(size, tuple) else (size, size)

  def covered(name, centre, extent, length, axis):
    shape = [1, 1, 1, 1]
    shape[axis] = length
    first = _per_image(images, name, centre, jnp.int32) - extent // 2
    position = jnp.arange(length).reshape(shape)
    return (position >= first) & (position < first + extent)

  hole = covered('row', row, size_rows, height, 1) & covered(
    'column', column, size_columns, width, 2
  )
  return jnp.where(hole, jnp.zeros((), images.dtype), images)


def flip(images: Array, r: Array | float) -> Array:
  """Mirrors the columns where `r < 0.5`.

  Args:
    images: `[N, H, W, D]`.
    r: `[]` or `[N]` in [0, 1].

  Returns:
    `[N, H, W, D]`.
  """
  mirrored = _per_image(images, 'r', r, jnp.float32) < 0.5
  return jnp.where(mirrored, images[:, :, ::-1], images)


def scale(images: Array, sx: Array | float, sy: Array | float) -> Array:
  """Samples the image at its coordinates times `sx` (columns), `sy` (rows).

  Bilinear, zeros outside, half-pixel centres (`align_corners=False`): with
  normalised coordinates (u, v) in [-1, 1] from outer edge to outer edge, the
  output at (u, v) is the input at `(sx u, sy v)`. Values above 1 shrink the
  content. DSA and IDC draw both factors from U(1 / 1.2, 1.2).

  Args:
    images: `[N, H, W, D]`.
    sx: `[]` or `[N]` positive.
    sy: `[]` or `[N]` positive.

  Returns:
    `[N, H, W, D]`.
  """
  _, height, width, _ = _shape(images)
  _per_image(images, 'sx', sx)
  _per_image(images, 'sy', sy)

  def positions(factor: Array | float, length: int) -> Array:
    centred = jnp.arange(length, dtype=jnp.float32) + 0.5 - length / 2
    factor = jnp.asarray(factor, jnp.float32)[..., None]
    return centred * factor + (length / 2 - 0.5)

  return resample(images, positions(sy, height), positions(sx, width))


def rotate(images: Array, radians: Array | float) -> Array:
  """Samples the image at coordinates turned by an angle about the centre.

  Bilinear, zeros outside, half-pixel centres: the output at the normalised
  coordinates (u, v) (columns, rows) is the input at
  `(cos u - sin v, sin u + cos v)`. As the coordinates run from -1 to 1 along
  both axes, images that are not square are sheared too. DSA and IDC draw the
  angle from U(-15, 15) degrees.

  Args:
    images: `[N, H, W, D]`.
    radians: `[]` or `[N]`.

  Returns:
    `[N, H, W, D]`.
  """
  _, height, width, _ = _shape(images)
  _per_image(images, 'radians', radians)
  angle = jnp.asarray(radians, jnp.float32)[..., None, None]
  v = ((2 * jnp.arange(height, dtype=jnp.float32) + 1) / height - 1)[:, None]
  u = ((2 * jnp.arange(width, dtype=jnp.float32) + 1) / width - 1)[None, :]
  columns = jnp.cos(angle) * u - jnp.sin(angle) * v
  rows = jnp.sin(angle) * u + jnp.cos(angle) * v
  return bilinear(
    images, ((rows + 1) * height - 1) / 2, ((columns + 1) * width - 1) / 2
  )


def _shape(images: Array) -> tuple[int, int, int, int]:
  check_images(images)
  return images.shape


def _per_image(
  images: Array, name: str, parameter: Array | float, dtype=None
) -> Array:
  """Returns a `[]` or `[N]` parameter as `[]` or `[N, 1, 1, 1]`."""
  check_images(images)
  parameter = jnp.asarray(parameter, dtype or images.dtype)
  if parameter.ndim == 0:
    return parameter
  if parameter.shape != images.shape[:1]:
    raise ValueError(
      f'{name} has shape {parameter.shape}: must be [] or one entry for each '
      f'of the {images.shape[0]} images'
    )
  return parameter[:, None, None, None]
