"""Images as mixtures of a few bases that all classes share."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dcjax import base, resizing
from dcjax.formations import _grids, _patches
from dcjax.utils import check_count

# Bases that images span this little of, beside the first, are drawn instead.
_NEGLIGIBLE = 1e-3
# Of coefficients that start as copies: their noise, as a share of their size.
_NOISE = 0.1


def basis(
  count: int,
  size: int,
  image_shape: Sequence[int],
  *,
  tiles: int = 1,
  value_range: Sequence[float | None] = _grids.UNIT_RANGE,
) -> base.Formation:
  """Mixes every image from `count` low-resolution bases of all classes.

  Deng & Russakovsky, "Remember the Past: Distilling Datasets into Addressable
  Memories for Neural Networks" (NeurIPS 2022): an image is a sum of bases, each
  enlarged bilinearly, with coefficients of its own. At 16 bases of 16 x 16 x 3
  numbers, the numbers of one 32 x 32 image of each of ten classes pay for 115
  images a class.

  The paper starts with random numbers; here bases are the principal directions
  of the images given, at low resolution, and coefficients the least-squares
  fit: images that so many bases can render are rendered exactly. Decoded images
  are not clipped.

  Args:
    count: `K`, bases.
    size: rows and columns of a basis, at most H and W.
    image_shape: `(H, W, D)`.
    tiles: images decoded for each of the N that `init` is given, each with
      coefficients of its own.
    value_range: (low, high) of the images, for those who use them; nothing is
      clipped to it.

  Returns:
    A formation with params `{'bases': [K, size, size, D], 'coefficients': [C,
    tiles * N, K]}`. `pack` puts `tiles` images on top of each other along the
    channels, `[C, N, H, W, tiles * D]`, which `init` takes apart; of images
    with D channels it makes `tiles` copies, whose coefficients differ by 10 %
    noise. Image n of tile k is decoded image `k * N + n`.

  Raises:
    ValueError: if an option is outside its range; later, by `init` and
      `decode`, if shapes do not fit.

  Example:
    >>> formation = basis(16, 16, (32, 32, 3), tiles=115)
    >>> params = formation.init(key, jnp.zeros([10, 1, 32, 32, 3]))
    >>> formation.decode(params).images.shape
    (10, 115, 32, 32, 3)
  """
  spec = _spec(count, size, image_shape, tiles, value_range)
  shape = tuple(spec['image_shape'])

  def pack(images: base.Array) -> base.Array:
    return _pack(jnp.asarray(images), spec['tiles'], shape)

  def init(key: base.Key, images: base.Array) -> base.Params:
    base_key, noise_key = jax.random.split(key)
    images, copies = _tiles(jnp.asarray(images), spec['tiles'], shape)
    flat = images.reshape(-1, *shape)
    bases = _principal(base_key, flat, spec['count'], spec['size'])
    found = _fit(flat, bases).reshape(*images.shape[:2], -1)
    if copies > 1:
      found = jnp.tile(found, (1, copies, 1))
      noise = jax.random.normal(noise_key, found.shape, found.dtype)
      scale = jnp.sqrt(jnp.mean(jnp.square(found)))
      found = found + _NOISE * scale * noise
    return {'bases': bases, 'coefficients': found}

  def decode(params: base.Params) -> base.Batch:
    bases, coefficients = (params[n] for n in ('bases', 'coefficients'))
    check_params(spec, params)
    enlarged = resizing.bilinear(bases, shape[:2])
    images = jnp.einsum(
      'cmk,khwd->cmhwd', coefficients, enlarged, precision='highest'
    )
    return _patches.label(images)

  return base.Formation(
    spec,
    spec['tiles'],
    pack,
    init,
    decode,
    lambda params: params,
    stored_images=(),
  )


def _spec(count, size, image_shape, tiles, value_range):
  numbers = {'count': count, 'size': size, 'tiles': tiles}
  numbers = {k: check_count(k, v) for k, v in numbers.items()}
  shape = _grids.check_image_shape(image_shape)
  if size > min(shape[:2]):
    raise ValueError(
      f'size is {size}; it must be at most the {shape[0]} rows and {shape[1]} '
      'columns of an image.'
    )
  return {
    'name': 'basis',
    **numbers,
    'image_shape': shape,
    'value_range': list(_grids.check_value_range(value_range)),
  }


def check_params(spec: Any, params: Any) -> None:
  """Raises ValueError unless bases and coefficients are those of the spec."""
  wanted = (spec['count'], spec['size'], spec['size'], spec['image_shape'][-1])
  bases, coefficients = params['bases'], params['coefficients']
  if bases.shape != wanted:
    raise ValueError(
      f'bases have shape {list(bases.shape)}; it must be {list(wanted)}.'
    )
  if coefficients.ndim != 3 or coefficients.shape[-1] != spec['count']:
    raise ValueError(
      f'coefficients have shape {list(coefficients.shape)}; it must be [C, M, '
      f'{spec["count"]}].'
    )


def _pack(images, tiles, shape):
  _check_images(images, (shape,))
  c, total = images.shape[:2]
  if total % tiles:
    raise ValueError(
      f'images have {total} images a class; it must be a multiple of the '
      f'{tiles} tiles.'
    )
  stacked = images.reshape(c, tiles, total // tiles, *shape)
  stacked = jnp.moveaxis(stacked, 1, 4)  # [C, N, H, W, tiles, D]
  return stacked.reshape(*stacked.shape[:4], -1)


def _tiles(images, tiles, shape):
  """Images `[C, M, H, W, D]`, tile after tile, and copies to make of them."""
  height, width, channels = shape
  packed = (height, width, tiles * channels)
  _check_images(images, (shape, packed))
  if images.shape[2:] == shape:
    return images, tiles
  apart = images.reshape(*images.shape[:4], tiles, channels)
  apart = jnp.moveaxis(apart, 4, 1)
  return apart.reshape(images.shape[0], -1, *shape), 1


def _check_images(images, shapes):
  fits = images.ndim == 5 and images.shape[2:] in shapes
  if not fits or not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(
      f'images are {images.dtype} {list(images.shape)}; they must be floats of '
      f'shape [C, N, *image_shape], image_shape {list(shapes[0])}.'
    )


def _principal(key, images, count, size):
  """Bases `[count, size, size, D]` that span `[P, H, W, D]`, largest first."""
  shape = (size, size, images.shape[-1])
  # The small images that come closest once they are enlarged.
  up, across = (
    jnp.linalg.pinv(
      jax.image.resize(jnp.eye(size), (full, size), 'bilinear', antialias=False)
    )
    for full in images.shape[1:3]
  )
  small = jnp.einsum(
    'hH,wW,pHWd->phwd', up, across, images, precision='highest'
  )
  _, lengths, directions = jnp.linalg.svd(
    small.reshape(len(images), -1), full_matrices=False
  )
  # Scaled so that coefficients are about 1.
  found = directions * lengths[:, None] / jnp.sqrt(len(images))
  missing = max(0, count - len(found))
  found = jnp.pad(found[:count], ((0, missing), (0, 0)))
  kept = jnp.pad(lengths[:count], (0, missing)) > _NEGLIGIBLE * lengths[0]
  norms = jnp.linalg.norm(found, axis=1)
  typical = jnp.sum(norms * kept) / jnp.maximum(jnp.sum(kept), 1)
  typical = jnp.where(typical > 0, typical, 1) / jnp.sqrt(found.shape[1])
  drawn = typical * jax.random.normal(key, found.shape, found.dtype)
  return jnp.where(kept[:, None], found, drawn).reshape(count, *shape)


def _fit(images, bases):
  """Coefficients `[P, K]` of least squares, with a touch of ridge."""
  enlarged = resizing.bilinear(bases, images.shape[1:3])
  rows = enlarged.reshape(len(bases), -1)
  products = jnp.dot(rows, rows.T, precision='highest')
  ridge = 1e-6 * jnp.trace(products) / len(bases)
  wanted = jnp.dot(rows, images.reshape(len(images), -1).T, precision='highest')
  return jnp.linalg.solve(products + ridge * jnp.eye(len(bases)), wanted).T
