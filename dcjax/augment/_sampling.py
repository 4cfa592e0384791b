"""Images sampled between their pixels."""

import jax
import jax.numpy as jnp

from dcjax.base import Array
from dcjax.utils import GPUS, platform


def resample(images: Array, rows: Array, columns: Array) -> Array:
  """Samples a grid of pixel positions bilinearly, zeros outside.

  The grid is the product of a row axis and a column axis, so it takes two small
  matrix products; their gradient is two more and needs no scatter.

  Args:
    images: `[N, H, W, D]`.
    rows: `[h]` or `[N, h]` positions in pixels; 0 is the first row's centre.
    columns: `[w]` or `[N, w]`.

  Returns:
    `[N, h, w, D]`.
  """
  check_images(images)
  _, height, width, _ = images.shape

  def weights(positions: Array, length: int) -> Array:
    distance = jnp.abs(positions[..., None] - jnp.arange(length))
    return jnp.maximum(0, 1 - distance).astype(images.dtype)

  def product(equation: str, matrix: Array, images: Array) -> Array:
    # XLA finds no tiles on GPUs for one matrix that all images share.
    if matrix.ndim == 2 and platform() in GPUS:
      matrix = jnp.broadcast_to(matrix, (len(images), *matrix.shape))
    batch = 'n' if matrix.ndim == 3 else ''
    return jnp.einsum(batch + equation, matrix, images, precision='highest')

  images = product('hr,nrwd->nhwd', weights(rows, height), images)
  return product('wc,nhcd->nhwd', weights(columns, width), images)


def bilinear(images: Array, rows: Array, columns: Array) -> Array:
  """Samples `[N, H, W, D]` at positions `[H, W]` or `[N, H, W]` in pixels."""
  count, height, width, depth = images.shape
  pixels = jnp.asarray(images).reshape(count, height * width, depth)
  first_row, first_column = jnp.floor(rows), jnp.floor(columns)

  def tap(row: Array, column: Array) -> Array:
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
    weight = jnp.where(inside, weight, 0).astype(images.dtype)
    index = jnp.clip(row, 0, height - 1) * width + jnp.clip(
      column, 0, width - 1
    )
    index = index.astype(jnp.int32).reshape(*rows.shape[:-2], -1)
    values = _take(pixels, index).reshape(count, *rows.shape[-2:], depth)
    return weight[..., None] * values

  return sum(
    tap(first_row + row, first_column + column)
    for row in (0, 1)
    for column in (0, 1)
  )


def _take(pixels: Array, index: Array) -> Array:
  """Pixels `[N, P, D]` at `index` `[Q]` or `[N, Q]` -> `[N, Q, D]`."""
  mode = 'promise_in_bounds'
  if index.ndim == 1:
    return pixels.at[:, index].get(mode=mode)
  return jax.vmap(lambda image, i: image.at[i].get(mode=mode))(pixels, index)


def check_images(images: Array) -> None:
  """Raises a ValueError unless `images` is a float `[N, H, W, D]`."""
  shape, dtype = jnp.shape(images), jnp.result_type(images)
  if len(shape) != 4:
    raise ValueError(f'images have shape {shape}: must be [N, H, W, D]')
  if not jnp.issubdtype(dtype, jnp.floating):
    raise ValueError(f'images are {dtype}: must be floating point')
