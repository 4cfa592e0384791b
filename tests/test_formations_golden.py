"""Formations against the golden vectors of the public implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import formations, resizing
from dcjax.formations import _grids, _numpy

# The 32 x 32 golden file keeps every seventh decoded image.
DECODE_FILES = [('decode_28x1', 1), ('decode_32x3', 7)]
DECODE_SPECS = [
  ('single_f2', {'name': 'uniform', 'factor': 2}),
  ('single_f3', {'name': 'uniform', 'factor': 3}),
  ('single_f4', {'name': 'uniform', 'factor': 4}),
  ('multi_f2', {'name': 'multiscale', 'factor': 2}),
  ('multi_f3', {'name': 'multiscale', 'factor': 3}),
  ('bound14_f3', {'name': 'bound', 'factor': 3, 'cap': 14}),
  ('bound7_f2', {'name': 'bound', 'factor': 2, 'cap': 7}),
]


def _layout(images):
  """Turns golden `[N, D, H, W]` into one class `[1, N, H, W, D]`."""
  return np.moveaxis(images, 1, -1)[None]


def _decode(spec, images):
  return jax.jit(formations.build(spec).decode)({'images': images})


@pytest.mark.parametrize('file, every', DECODE_FILES)
@pytest.mark.parametrize('name, spec', DECODE_SPECS)
def test_decode_meets_golden(golden, file, every, name, spec):
  data = golden(file)
  stored = _layout(data['x'])
  images = _decode(spec, stored).images
  assert images.shape[1] == len(data[f'{name}_labels'])
  assert images.shape[1] == formations.decoded_count(spec, 3)
  expected = _layout(data[name])
  np.testing.assert_allclose(images[:, ::every], expected, atol=1e-6)
  plain = formations.numpy_decode(spec, stored)
  np.testing.assert_allclose(plain[:, ::every], expected, atol=1e-6)


@pytest.mark.parametrize('name, spec', DECODE_SPECS)
def test_decoded_order_meets_golden_labels(golden, name, spec):
  # The golden label of a decoded image tells which stored image it came from.
  stored = np.broadcast_to(
    np.arange(3, dtype=np.float32)[None, :, None, None, None], (1, 3, 8, 8, 1)
  )
  images = _decode(spec, stored).images
  np.testing.assert_array_equal(
    np.rint(images[0, :, 0, 0, 0]), golden('decode_28x1')[f'{name}_labels']
  )


@pytest.mark.parametrize(
  'file, factor',
  [('decode_28x1', 2), ('decode_28x1', 3), ('decode_32x3', 2)],
)
def test_vjp_meets_golden(golden, file, factor):
  data = golden(file)
  decode = formations.uniform(factor).decode

  @jax.jit
  def pulled(x, cotangent):
    return jax.vjp(lambda x: decode({'images': x}).images, x)[1](cotangent)

  (gradient,) = pulled(
    _layout(data['x']), _layout(data[f'single_f{factor}_cotangent'])
  )
  expected = _layout(data[f'single_f{factor}_vjp'])
  np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('factor', [2, 3])
@pytest.mark.parametrize(
  'file, every', [('mix_init_28x1', 1), ('mix_init_32x3', 5)]
)
def test_mix_start_meets_golden(golden, file, every, factor):
  data = golden(file)
  formation = formations.uniform(factor)
  real = _layout(data[f'real_f{factor}'])[:, : 2 * factor**2]
  packed = jax.jit(formation.pack)(real)
  params = formation.init(jax.random.key(0), packed)
  expected = _layout(data[f'packed_f{factor}'])
  np.testing.assert_array_equal(params['images'], expected)
  decoded = jax.jit(formation.decode)(params).images[:, ::every]
  expected = _layout(data[f'decoded_f{factor}'])
  np.testing.assert_allclose(decoded, expected, atol=1e-6)


@pytest.mark.parametrize('factor', [2, 3])
def test_time_axis_meets_golden(golden, factor):
  data = golden('speech_formation_64x1')
  formation = formations.time_axis(factor)
  real, packed, decoded = (
    _layout(data[f'{part}_f{factor}']) for part in ('real', 'packed', 'decoded')
  )
  assert formation.tiles == factor
  np.testing.assert_array_equal(jax.jit(formation.pack)(real), packed)
  images = jax.jit(formation.decode)({'images': packed}).images
  np.testing.assert_allclose(images, decoded, atol=2e-6)
  plain = formations.numpy_decode(formation.spec, packed)
  np.testing.assert_allclose(plain, decoded, atol=2e-6)


@pytest.mark.parametrize('case', range(8))
def test_bilinear_meets_golden(golden, case):
  data = golden('interpolate')
  source = _layout(data[f'case{case}_in'])
  target = _layout(data[f'case{case}_out'])
  size = target.shape[2:4]
  # 75 to 224 pixels: positions in float32, so 6e-6 between implementations.
  atol = 1e-5 if case == 4 else 2e-6
  resized = jax.jit(resizing.bilinear, static_argnums=1)(source, size)
  np.testing.assert_allclose(resized, target, atol=atol)
  np.testing.assert_allclose(_numpy.bilinear(source, *size), target, atol=atol)


@pytest.mark.parametrize('case', range(5))
def test_nearest_meets_golden(golden, case):
  data = golden('interpolate')
  source = data[f'nearest{case}_in'][0, 0]
  target = data[f'nearest{case}_out'][0, 0]
  factor = round(len(source) / len(target))
  row_tile, row_source = _grids.packing(source.shape[0], factor)
  column_tile, column_source = _grids.packing(source.shape[1], factor)
  # The golden target is the first tile in rows, the last one in columns.
  rows = row_source[row_tile == 0]
  columns = column_source[column_tile == factor - 1]
  np.testing.assert_array_equal(source[np.ix_(rows, columns)], target)


def test_bilinear_is_as_linear_as_a_product_with_its_weights():
  """Forwards, backwards and along a tangent, at 2, about 3 and below 2."""
  x = jax.random.normal(jax.random.key(0), (2, 5, 6, 4, 2))
  for size in ((10, 11), (14, 6), (5, 3)):

    def dense(x, size=size):
      shape = (*x.shape[:2], *size, 2)
      return jax.image.resize(x, shape, 'bilinear', antialias=False)

    def ours(x, size=size):
      return jax.vmap(lambda x: resizing.bilinear(x, size))(x)

    def forth_and_back(f, x):
      gradient = jax.grad(lambda x: jnp.sum(f(x) ** 3))(x)
      return f(x), gradient, jax.jvp(f, (x,), (x,))[1]

    found, expected = jax.jit(
      lambda x, f=forth_and_back, ours=ours, dense=dense: (
        f(ours, x),
        f(dense, x),
      )
    )(x)
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, atol=2e-5, rtol=1e-5)
