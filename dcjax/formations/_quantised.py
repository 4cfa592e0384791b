"""Stored numbers of few bits, around formations that store images or bases."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.formations import _grids, _patches, _quantised_numpy
from dcjax.utils import check_choice, check_count

SCALES = ('image', 'channel', 'patch')
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

  Of a `basis`, the bases are rounded as images are, and the coefficients of
  each base, over all images, on a grid of its own.

  Scales and offsets are half-precision numbers: a code times a scale is exact
  in float32, so that every machine, and NumPy, dequantises to the same bits.
  Pixels that differ by less than half precision can say (6e-8) count as equal.

  Args:
    bits: of a pixel's channel, 1 to 8.
    inner: what decodes the rounded images; `identity()` by default. A
      `learnable` one decodes with JAX alone.
    scales: one grid for each `'image'` (or base), for each `'channel'` of it,
      or for each `'patch'` of an image: the crops of the inner formation's
      finest cut, `factor` by `factor` of most, the whole image of `identity`.
      Bases have no patches.
    image_shape: `(H, W, D)` of packed images, which their bytes do not tell;
      see `stored_spec`. Not of a `basis`, which says its own.

  Returns:
    A formation with the params of `inner`. `decode` also takes packed params:
    instead of `'images'` they hold `'codes'`, uint8 `[C, N, ceil(H W D bits /
    8)]`, and `'scales'` and `'offsets'`, float16 `[C, N, 1]`, `[C, N, D]` or,
    of patches, `[C, N, rows, columns]`. A basis of K holds dicts of the three:
    `'bases'` with codes `[K, bytes]` and scales `[K, 1]` or `[K, D]`,
    `'coefficients'` with codes `[C, M, ceil(K bits / 8)]` and scales `[K]`.
    Its `spec` has the options of `inner` beside its own, and `'inner'`, the
    name.

  Raises:
    ValueError: if an option is outside its range, or `inner` stores neither
      images nor bases (a `codebook`), or is quantised itself.

  Example:
    >>> formation = quantised(4, uniform(2), scales='patch')
    >>> build({'name': 'quantised', 'bits': 4, 'inner': 'uniform',
    ...        'factor': 2, 'scales': 'patch'}).tiles
    4
  """
  bits = check_count('bits', bits)
  if bits > _MOST_BITS:
    raise ValueError(f'bits is {bits}; it must be from 1 to {_MOST_BITS}.')
  inner = _patches.identity() if inner is None else inner
  name = inner.spec['name']
  of_images = inner.stored_images == ('images',)
  if name == 'quantised' or not (of_images or name == 'basis'):
    raise ValueError(
      f'inner is {name!r}; it must be a formation that stores images, or a '
      'basis, and is not quantised.'
    )
  if of_images:
    check_choice('scales', scales, SCALES)
  else:
    check_choice('scales of a basis', scales, SCALES[:2])
  spec = {**inner.spec, 'inner': name, 'name': 'quantised'}
  spec |= {'bits': bits, 'scales': scales}
  if image_shape is not None:
    if not of_images:
      raise ValueError(f'image_shape is {image_shape}; a basis says its own.')
    spec['image_shape'] = _grids.check_image_shape(image_shape)

  def decode(params: base.Params) -> base.Batch:
    if is_packed(spec, params):
      return inner.decode(_unpacked(spec, params, _dequantise))
    seen = {
      name: _straight_through(params[name], bits, *how)
      for name, how in _grids_of(spec).items()
    }
    return inner.decode({**params, **seen})

  def project(params: base.Params) -> base.Params:
    return params if is_packed(spec, params) else inner.project(params)

  return inner._replace(spec=spec, decode=decode, project=project)


def _grids_of(spec):
  """What is rounded: entry -> its scales, and rows and columns of patches."""
  scales, whole = spec['scales'], (1, 1)
  if spec['inner'] == 'basis':
    # Coefficients [C, M, K] are C x M pixels whose channels are the bases.
    return {'bases': (scales, whole), 'coefficients': ('channel', whole)}
  cells = _grids.grid(spec) if scales == 'patch' else whole
  return {'images': (scales, cells)}


def is_packed(spec: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
  """Whether params are those that `as_stored` makes of a quantised set."""
  found = 'codes' in params or isinstance(params.get('bases'), Mapping)
  return spec['name'] == 'quantised' and found


def _straight_through(values, bits, scales, cells):
  codes, scale, offset = _rounded(values, bits, scales, cells)
  size = values.shape[-3:-1] if scales == 'patch' else None
  scale, offset = (_quantised_numpy.spread(x, size) for x in (scale, offset))
  seen = codes * scale + offset
  # The difference is zero, exactly, and has the gradient of the images.
  return jax.lax.stop_gradient(seen) + (values - jax.lax.stop_gradient(values))


def _rounded(values, bits, scales, cells):
  """Codes `[..., H, W, D]` as floats; scales and offsets as halves hold them.

  Returns:
    codes, scale `[..., 1 or D]`, of patches `[..., rows, columns]`, and offset,
    float32.
  """
  *lead, height, width, channels = values.shape
  rows, columns = cells
  h, w = -(-height // rows), -(-width // columns)
  # Rows and columns that patches lack are those beside, which change no bound.
  missing = ((0, rows * h - height), (0, columns * w - width), (0, 0))
  padded = jnp.pad(values, (*((0, 0) for _ in lead), *missing), mode='edge')
  split = padded.reshape(*lead, rows, h, columns, w, channels)
  axes = (-4, -2) if scales == 'channel' else (-4, -2, -1)
  highest = 2**bits - 1
  low, high = (bound(split, axis=axes) for bound in (jnp.min, jnp.max))
  if scales == 'channel':
    low, high = (bound[..., 0, 0, :] for bound in (low, high))
  elif scales == 'image':
    low, high = (bound[..., 0] for bound in (low, high))
  low = _half(low)
  step = _half((high - low) / highest)
  size = (height, width) if scales == 'patch' else None
  wide, start = (_quantised_numpy.spread(x, size) for x in (step, low))
  codes = (values - start) / jnp.where(wide > 0, wide, 1)
  codes = jnp.where(wide > 0, jnp.clip(jnp.round(codes), 0, highest), 0)
  return codes, step, low


def _half(values):
  clipped = jnp.clip(values, -_LARGEST_HALF, _LARGEST_HALF)
  return clipped.astype(jnp.float16).astype(jnp.float32)


def packed(spec: Mapping[str, Any], params: base.Params) -> base.Params:
  """Params of a `quantised` formation with its numbers packed.

  Args:
    spec: of the formation.
    params: with `'images'` `[C, N, H, W, D]`, or `'bases'` and `'coefficients'`
      of a `basis`; packed ones stay as they are.

  Returns:
    What is packed (see `quantised`) and the other params.
  """
  if is_packed(spec, params):
    return params
  bits, grids = spec['bits'], _grids_of(spec)
  made = {n: _packed(params[n], n, bits, *how) for n, how in grids.items()}
  others = {n: v for n, v in params.items() if n not in made}
  return {**others, **made.get('images', made)}


def _packed(values, name, bits, scales, cells):
  values = jnp.asarray(values)
  codes, scale, offset = _rounded(values, bits, scales, cells)
  codes = codes.astype(jnp.uint8)[..., None]
  single = codes >> jnp.arange(bits - 1, -1, -1, dtype=jnp.uint8) & 1
  # Coefficients fill bytes image by image, so that codes tell C and M.
  lead = values.shape[: -1 if name == 'coefficients' else -3]
  return {
    'codes': jnp.packbits(single.reshape(*lead, -1), axis=-1),
    'scales': scale.astype(jnp.float16),
    'offsets': offset.astype(jnp.float16),
  }


def numpy_unpacked(
  spec: Mapping[str, Any], params: Mapping[str, Any]
) -> dict[str, Any]:
  """Unpacks params with NumPy alone, to the same bits as JAX does.

  Args:
    spec: of a `quantised` formation; with `'image_shape'`.
    params: packed ones, see `quantised`.

  Returns:
    Params of the inner formation: float32 `'images'` `[C, N, H, W, D]`, or
    `'bases'` and `'coefficients'`, and the others.

  Raises:
    ValueError: if the spec says no `image_shape`, or the sizes do not fit.
  """
  params = jax.tree.map(np.asarray, dict(params))
  return _unpacked(spec, params, _quantised_numpy.dequantise)


def _unpacked(
  spec: Mapping[str, Any],
  params: Mapping[str, Any],
  dequantise: Callable[..., Any],
) -> dict[str, Any]:
  """Params of the inner formation; see `numpy_unpacked`."""
  image, bits = spec.get('image_shape'), spec['bits']
  if image is None:
    raise ValueError(
      'image_shape is missing; packed images need it (see stored_spec).'
    )

  def read(found, axes, shape, of_scales):
    _check_packed(found, axes, shape, bits, of_scales)
    return dequantise(*(found[n] for n in PACKED), bits, shape)

  scales = spec.get('scales', 'image')
  each = tuple(image[-1:]) if scales == 'channel' else (1,)
  if spec.get('inner') == 'basis':
    count, size = spec['count'], spec['size']
    shape = (size, size, image[-1])
    bases = read(params['bases'], 'K', shape, (count, *each))
    found = read(params['coefficients'], 'C, M', (1, 1, count), (count,))
    return {**params, 'bases': bases, 'coefficients': found[:, :, 0, 0]}
  each = _grids.grid(spec) if scales == 'patch' else each
  wanted = (*params['codes'].shape[:-1], *each)
  others = {n: v for n, v in params.items() if n not in PACKED}
  return {**others, 'images': read(params, 'C, N', tuple(image), wanted)}


def _dequantise(codes, scales, offsets, bits, image_shape):
  """`_quantised_numpy.dequantise` in JAX."""
  single = jnp.unpackbits(codes, axis=-1)
  single = single[..., : math.prod(image_shape) * bits]
  single = single.reshape(*codes.shape[:-1], *image_shape, bits)
  powers = 2 ** np.arange(bits - 1, -1, -1)
  values = jnp.sum(single * powers, axis=-1).astype(jnp.float32)
  size = image_shape[:2] if scales.ndim > codes.ndim else None
  scale, offset = (
    _quantised_numpy.spread(jnp.asarray(x).astype(jnp.float32), size)
    for x in (scales, offsets)
  )
  return values * scale + offset


def _check_packed(found, axes, shape, bits, scales):
  codes = found['codes']
  wanted, ndim = -(-math.prod(shape) * bits // 8), len(axes.split()) + 1
  if codes.ndim != ndim or codes.shape[-1] != wanted or codes.dtype != np.uint8:
    raise ValueError(
      f'codes are {codes.dtype} {list(codes.shape)}; they must be uint8 '
      f'[{axes}, {wanted}] for image_shape {list(shape)} and {bits} bits.'
    )
  for name in ('scales', 'offsets'):
    has = found[name].dtype, found[name].shape
    if has != (np.float16, tuple(scales)):
      raise ValueError(
        f'{name} are {has[0]} {list(has[1])}; they must be float16 '
        f'{list(scales)}.'
      )


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
