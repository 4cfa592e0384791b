"""Stored images of few bits, around any formation that stores images."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.formations import _grids, _patches, _quantised_numpy
from dcjax.utils import check_choice, check_count

SCALES = ('image', 'channel')
PACKED = ('codes', 'scales', 'offsets')
_MOST_BITS = 8
_LARGEST_HALF = 65504.0


def quantised(
  bits: int,
  inner: base.Formation | None = None,
  *,
  scales: str = 'image',
  image_shape: Sequence[int] | None = None,
) -> base.Formation:
  """Stores images as whole numbers of `bits` bits, and decodes these.

  Every image has its own grid of `2**bits` values from its lowest to its
  highest pixel, `offset + scale * code`. While condensing, the images stay
  floats: `decode` rounds them to the grid and passes gradients straight
  through (Bengio et al., "Estimating or Propagating Gradients Through
  Stochastic Neurons", 2013), and the grid gets no gradient. What a network sees
  is thus always what can be stored; `as_stored` packs it.

  Scales and offsets are half-precision numbers: a code times a scale is exact
  in float32, so that every machine, and NumPy, dequantises to the same bits.
  Pixels that differ by less than half precision can say (6e-8) count as equal.

  Args:
    bits: of a pixel's channel, 1 to 8.
    inner: what decodes the rounded images; `identity()` by default.
    scales: one grid for each `'image'` or for each `'channel'` of it.
    image_shape: `(H, W, D)` of packed images, which their bytes do not tell;
      see `stored_spec`.

  Returns:
    A formation with the params of `inner`. `decode` also takes packed params:
    instead of `'images'` they hold `'codes'`, uint8 `[C, N, ceil(H W D bits /
    8)]`, and `'scales'` and `'offsets'`, float16 `[C, N, 1]` or `[C, N, D]`.
    Its `spec` has the options of `inner` beside its own, and `'inner'`, the
    name.

  Raises:
    ValueError: if an option is outside its range, or `inner` stores others than
      images, or is quantised itself.

  Example:
    >>> formation = quantised(4, uniform(2))
    >>> build({'name': 'quantised', 'bits': 4, 'inner': 'uniform',
    ...        'factor': 2}).tiles
    4
  """
  bits = check_count('bits', bits)
  if bits > _MOST_BITS:
    raise ValueError(f'bits is {bits}; it must be from 1 to {_MOST_BITS}.')
  check_choice('scales', scales, SCALES)
  inner = _patches.identity() if inner is None else inner
  if inner.stored_images != ('images',) or inner.spec['name'] == 'quantised':
    raise ValueError(
      f'inner is {inner.spec["name"]!r}; it must be a formation that stores '
      'images and is not quantised.'
    )
  spec = {**inner.spec, 'inner': inner.spec['name'], 'name': 'quantised'}
  spec |= {'bits': bits, 'scales': scales}
  if image_shape is not None:
    spec['image_shape'] = _grids.check_image_shape(image_shape)

  def decode(params: base.Params) -> base.Batch:
    if 'codes' in params:
      images = unpacked(spec, params)
    else:
      images = _straight_through(params['images'], bits, scales)
    others = {k: v for k, v in params.items() if k not in PACKED}
    return inner.decode({**others, 'images': images})

  def project(params: base.Params) -> base.Params:
    return params if 'codes' in params else inner.project(params)

  return inner._replace(spec=spec, decode=decode, project=project)


def _straight_through(images, bits, scales):
  codes, scale, offset = _rounded(images, bits, scales)
  seen = codes * scale[:, :, None, None] + offset[:, :, None, None]
  # The difference is zero, exactly, and has the gradient of the images.
  return jax.lax.stop_gradient(seen) + (images - jax.lax.stop_gradient(images))


def _rounded(images, bits, scales):
  """Codes `[C, N, H, W, D]` as floats; scales and offsets as halves hold them.

  Returns:
    codes, scale `[C, N, 1 or D]` and offset, float32.
  """
  axes = (2, 3, 4) if scales == 'image' else (2, 3)
  highest = 2**bits - 1
  low, high = (
    bound(images, axis=axes, keepdims=True) for bound in (jnp.min, jnp.max)
  )
  low = _half(low)
  step = _half((high - low) / highest)
  codes = (images - low) / jnp.where(step > 0, step, 1)
  codes = jnp.where(step > 0, jnp.clip(jnp.round(codes), 0, highest), 0)
  return codes, step[:, :, 0, 0], low[:, :, 0, 0]


def _half(values):
  clipped = jnp.clip(values, -_LARGEST_HALF, _LARGEST_HALF)
  return clipped.astype(jnp.float16).astype(jnp.float32)


def packed(spec: Mapping[str, Any], params: base.Params) -> base.Params:
  """Params of a `quantised` formation with its images packed.

  Args:
    spec: of the formation.
    params: with `'images'` `[C, N, H, W, D]`; packed ones stay as they are.

  Returns:
    `'codes'`, `'scales'`, `'offsets'` (see `quantised`) and the other params.
  """
  if 'codes' in params:
    return params
  bits, images = spec['bits'], jnp.asarray(params['images'])
  codes, scale, offset = _rounded(images, bits, spec['scales'])
  codes = codes.astype(jnp.uint8)[..., None]
  single = codes >> jnp.arange(bits - 1, -1, -1, dtype=jnp.uint8) & 1
  others = {k: v for k, v in params.items() if k != 'images'}
  return {
    **others,
    'codes': jnp.packbits(single.reshape(*codes.shape[:2], -1), axis=-1),
    'scales': scale.astype(jnp.float16),
    'offsets': offset.astype(jnp.float16),
  }


def unpacked(spec: Mapping[str, Any], params: base.Params) -> base.Array:
  """Images `[C, N, H, W, D]` of packed params; `numpy_unpacked` in JAX."""
  shape, bits = _checked_shape(spec, params), spec['bits']
  single = jnp.unpackbits(params['codes'], axis=-1)
  single = single[..., : math.prod(shape) * bits]
  single = single.reshape(*single.shape[:2], *shape, bits)
  powers = 2 ** np.arange(bits - 1, -1, -1)
  values = jnp.sum(single * powers, axis=-1).astype(jnp.float32)
  scale, offset = (
    jnp.asarray(params[name]).astype(jnp.float32)[:, :, None, None]
    for name in ('scales', 'offsets')
  )
  return values * scale + offset


def numpy_unpacked(
  spec: Mapping[str, Any], params: Mapping[str, Any]
) -> np.ndarray:
  """Images of packed params, with NumPy alone and to the same bits as in JAX.

  Args:
    spec: of a `quantised` formation with `'image_shape'`.
    params: with `'codes'`, `'scales'` and `'offsets'`.

  Returns:
    float32 `[C, N, H, W, D]`, which the inner formation decodes further.

  Raises:
    ValueError: if the spec says no `image_shape`, or the sizes do not fit.
  """
  shape = _checked_shape(spec, params)
  codes, scales, offsets = (np.asarray(params[name]) for name in PACKED)
  return _quantised_numpy.dequantise(
    codes, scales, offsets, spec['bits'], shape
  )


def _checked_shape(spec, params):
  shape, codes = spec.get('image_shape'), params['codes']
  if shape is None:
    raise ValueError(
      'image_shape is missing; packed images need it (see stored_spec).'
    )
  wanted = -(-math.prod(shape) * spec['bits'] // 8)
  if codes.ndim != 3 or codes.shape[-1] != wanted or codes.dtype != np.uint8:
    raise ValueError(
      f'codes are {codes.dtype} {list(codes.shape)}; they must be uint8 [C, N, '
      f'{wanted}] for image_shape {list(shape)} and {spec["bits"]} bits.'
    )
  channels = 1 if spec['scales'] == 'image' else shape[-1]
  for name in ('scales', 'offsets'):
    found = params[name].dtype, params[name].shape
    if found != (np.float16, (*codes.shape[:2], channels)):
      raise ValueError(
        f'{name} are {found[0]} {list(found[1])}; they must be float16 '
        f'{[*codes.shape[:2], channels]}.'
      )
  return tuple(shape)


def stored_spec(
  formation: base.Formation, params: base.Params
) -> dict[str, Any]:
  """The spec that decodes what `as_stored` makes of params.

  Args:
    formation: any.
    params: its numbers, not packed.

  Returns:
    `formation.spec`; of a quantised one with the `'image_shape'`.
  """
  spec = dict(formation.spec)
  if spec['name'] == 'quantised' and 'images' in params:
    spec['image_shape'] = [int(size) for size in params['images'].shape[2:]]
  return spec
