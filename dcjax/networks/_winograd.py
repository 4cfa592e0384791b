"""3x3 convolutions with 2.25 times fewer products, a few images at a time.

Lavin & Gray (2016), https://arxiv.org/abs/1509.09308, F(2x2, 3x3): 2x2 numbers
of the result come from a tile of 4x4 of the image by 16 products in place of
36. What surrounds the products is additions of numbers that lie apart, so it
pays only while the tiles of a few images fit the caches; hence the loop over
blocks of images (docs/speed.md).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap, sequential_vmap

from dcjax.base import Array
from dcjax.utils import count_cpus, on_one_device, platform

# Numbers of one of the 16 tile elements of a block: their 2.6 MB were the
# fastest of 0.6 to 10 for images of 8x8 to 32x32 and 32 to 128 channels.
_BLOCK = 40_000
# What it is faster for, measured with 1 to 256 images of 7x7 to 32x32 in layers
# of 16 to 256 channels.
_FEWEST_CHANNELS = 64
_FEWEST_RESULTS = 3  # places of the result for each channel
# The step of tiles, and the transforms G, B^T and A^T of the paper. A step of
# four takes fewer products still, but errs ten times as much, and is no faster
# where a layer has little to do.
_STEP = 2
_TILE = _STEP + 2
_KERNEL = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
_IMAGE = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_RESULT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


def suits_device() -> bool:
  """Whether what is traced is for a device that its loops keep busy.

  Two CPUs it keeps half busy, which the plain form is as fast on; and it would
  cross what several devices share.
  """
  if platform() != 'cpu' or not on_one_device():
    return False
  return count_cpus() <= jax.local_device_count()


def is_faster(images: tuple[int, ...], out: int, padding: int) -> bool:
  """Whether fewer products are worth what goes with them.

  Args:
    images: their shape.
    out: channels of the result.
    padding: of the convolution.
  """
  batch, height, width, channels = images
  results = batch * (height + 2 * padding - 2) * (width + 2 * padding - 2)
  wide_enough = min(channels, out) >= _FEWEST_CHANNELS
  return wide_enough and results >= _FEWEST_RESULTS * max(channels, out)


# `vmap` would multiply the blocks, which then leave the caches; so it becomes a
# loop, or more images.


def convolve(images: Array, kernel: Array, padding: int) -> Array:
  """Cross-correlates `[B, H, W, I]` with `[3, 3, I, O]`; see `_conv`."""
  return _convolve(padding)(images, kernel)


def kernel_gradient(images: Array, cotangent: Array, padding: int) -> Array:
  """Returns the derivative `[3, 3, I, O]` by the kernel of `convolve`."""
  run = sequential_vmap(partial(_gradient_blocks, padding=padding))
  return run(images, cotangent)


def _convolve(padding):
  run = custom_vmap(partial(_convolve_blocks, padding=padding))

  @run.def_vmap
  def _(size, batched, images, kernel):
    if batched[1]:
      axes = [0 if split else None for split in batched]
      return jax.vmap(sequential_vmap(run), axes)(images, kernel), True
    merged = images.reshape(-1, *images.shape[2:])  # so many more images
    result = run(merged, kernel)
    return result.reshape(size, -1, *result.shape[1:]), True

  return run


def _convolve_blocks(images, kernel, padding):
  batch, height, width, channels = images.shape
  out = kernel.shape[-1]
  height, width = height + 2 * padding - 2, width + 2 * padding - 2
  size = _block_size(batch, height, width, max(channels, out))
  transform = jnp.asarray(_KERNEL, kernel.dtype)
  kernel = jnp.einsum('ai,bj,ijco->abco', transform, transform, kernel)
  kernel = kernel.reshape(_TILE**2, channels, out)

  def block(images):
    tiles = _tiles(images, height, width, padding)
    return _untile(jnp.matmul(tiles, kernel), size, height, width)

  result = lax.map(block, _blocks(images, size))
  return result.reshape(-1, height, width, out)[:batch]


def _gradient_blocks(images, cotangent, padding):
  batch, height, width, out = cotangent.shape
  channels = images.shape[-1]
  size = _block_size(batch, height, width, max(channels, out))

  def block(total, pair):
    tiles = _tiles(pair[0], height, width, padding)
    return total + jnp.einsum('xrc,xro->xco', tiles, _spread(pair[1])), None

  total = jnp.zeros((_TILE**2, channels, out), images.dtype)
  pairs = _blocks(images, size), _blocks(cotangent, size)
  total, _ = lax.scan(block, total, pairs)
  transform = jnp.asarray(_KERNEL, total.dtype)
  total = total.reshape(_TILE, _TILE, channels, out)
  return jnp.einsum('ai,bj,abco->ijco', transform, transform, total)


def _block_size(batch, height, width, channels):
  tiles = -(-height // _STEP) * -(-width // _STEP)
  most = max(1, round(_BLOCK / (tiles * channels)))
  return -(-batch // -(-batch // most))


def _blocks(images, size):
  # Zero images fill the last block; they add nothing to a kernel's gradient.
  missing = -len(images) % size
  if missing:
    images = jnp.pad(images, ((0, missing), *((0, 0),) * 3))
  return images.reshape(-1, size, *images.shape[1:])


def _tiles(images, height, width, padding):
  """Returns `B^T d B` of all tiles: `[T * T, B * rows * columns, I]`."""
  rows, columns = -(-height // _STEP), -(-width // _STEP)
  channels = images.shape[-1]
  zero = jnp.zeros((), images.dtype)
  last = 2 - padding
  borders = (
    (padding, _STEP * rows + last - images.shape[1], 0),
    (padding, _STEP * columns + last - images.shape[2], 0),
  )
  images = lax.pad(images, zero, ((0, 0, 0), *borders, (0, 0, 0)))
  down, right = _STEP * (rows - 1) + 1, _STEP * (columns - 1) + 1
  lines = _combined(
    _IMAGE, [images[:, i : i + down : _STEP] for i in range(_TILE)]
  )
  return jnp.stack(
    [
      tile.reshape(-1, channels)
      for line in lines
      for tile in _combined(
        _IMAGE, [line[:, :, j : j + right : _STEP] for j in range(_TILE)]
      )
    ]
  )


def _untile(products, batch, height, width):
  """Returns `A^T m A` of all products, put together to images."""
  rows, columns = -(-height // _STEP), -(-width // _STEP)
  m = products.reshape(_TILE, _TILE, batch, rows, columns, -1)
  lines = [
    jnp.stack(_combined(_RESULT, list(line)), axis=3)
    for line in _combined(_RESULT, list(m))
  ]
  result = jnp.stack(lines, axis=2)
  result = result.reshape(batch, _STEP * rows, _STEP * columns, -1)
  return result[:, :height, :width]


def _spread(cotangent):
  """Returns `A y A^T` of all cotangents: `[T * T, B * rows * columns, O]`."""
  _, height, width, channels = cotangent.shape
  rest = ((0, 0), (0, -height % _STEP), (0, -width % _STEP), (0, 0))
  cotangent = jnp.pad(cotangent, rest)
  lines = _combined(_RESULT.T, [cotangent[:, i::_STEP] for i in range(_STEP)])
  return jnp.stack(
    [
      tile.reshape(-1, channels)
      for line in lines
      for tile in _combined(
        _RESULT.T, [line[:, :, j::_STEP] for j in range(_STEP)]
      )
    ]
  )


def _combined(matrix, parts):
  """Returns the sums of parts that the rows of a matrix of signs ask for."""
  return [
    sum(
      part if sign > 0 else -part
      for sign, part in zip(row, parts, strict=True)
      if sign
    )
    for row in matrix
  ]
