"""Formations: properties, the learnable formation, errors."""

import functools
import json

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import formations
from dcjax.formations import _grids, _learnable, _numpy, _patches

PATCH_SPECS = [
  {'name': 'identity'},
  {'name': 'uniform', 'factor': 1},
  {'name': 'uniform', 'factor': 3},
  {'name': 'uniform', 'factor': 2, 'padding': 0.0},
  {'name': 'multiscale', 'factor': 3},
  {'name': 'bound', 'factor': 3, 'cap': 17},
  {'name': 'time_axis', 'factor': 3},
  {'name': 'time_axis', 'factor': 2, 'padding': 0.25},
]
SIZES = [(9, 9), (7, 10), (3, 8)]


def _random(shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(size=shape).astype(np.float32)


@functools.cache
def _compiled(spec):
  formation = formations.build(json.loads(spec))
  return formation.init, jax.jit(formation.decode)


def _decode(spec, images):
  init, decode = _compiled(json.dumps(spec))
  return decode(init(jax.random.key(0), images))


# Properties.


@pytest.mark.parametrize('size', [(7, 10), (3, 8)])
@pytest.mark.parametrize('spec', PATCH_SPECS, ids=str)
def test_numpy_decode_equals_jax(spec, size):
  stored = _random((3, 4, *size, 2))
  batch = _decode(spec, stored)
  plain = formations.numpy_decode(spec, stored)
  count = formations.decoded_count(spec, 4)
  chex.assert_shape(batch.images, (3, count, *size, 2))
  assert plain.dtype == np.float32
  np.testing.assert_allclose(batch.images, plain, atol=1e-6)


@pytest.mark.parametrize('spec', PATCH_SPECS, ids=str)
def test_labels_are_the_class_axis(spec):
  batch = _decode(spec, _random((3, 4, 7, 10, 2)))
  chex.assert_shape(batch.labels, (3, batch.images.shape[1], 3))
  assert batch.labels.dtype == jnp.float32
  for label in range(3):
    np.testing.assert_array_equal(
      batch.labels[label], np.eye(3)[[label] * batch.images.shape[1]]
    )


@pytest.mark.parametrize('spec', PATCH_SPECS, ids=str)
def test_permuting_classes_permutes_the_decode(spec):
  stored, order = _random((3, 4, 7, 10, 2)), np.array([2, 0, 1])
  np.testing.assert_array_equal(
    _decode(spec, stored[order]).images, _decode(spec, stored).images[order]
  )


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('factor', [2, 3])
def test_crops_follow_the_rule_at_every_size(factor, size):
  # Every pixel has its own value.
  h, w = size
  rows, columns = np.meshgrid(np.arange(h), np.arange(w), indexing='ij')
  stored = (rows + 100.0 * columns).astype(np.float32)[None, None, :, :, None]
  images = np.asarray(_patches.crop(stored, factor, factor, -1.0))
  s, t = -(-h // factor), -(-w // factor)
  for i in range(factor):
    for j in range(factor):
      expected = np.full((s, t), -1.0)
      piece = stored[0, 0, i * s : (i + 1) * s, j * t : (j + 1) * t, 0]
      expected[: piece.shape[0], : piece.shape[1]] = piece
      np.testing.assert_array_equal(
        images[0, i * factor + j, :, :, 0], expected
      )


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('factor', [1, 2, 3])
def test_packing_puts_block_k_into_cell_k(factor, size):
  n, tiles = 2, factor**2
  constant = np.arange(n * tiles, dtype=np.float32)[None, :, None, None, None]
  packed = formations.uniform(factor).pack(
    np.broadcast_to(constant, (1, n * tiles, *size, 1))
  )
  edges = [
    np.cumsum([0] + [len(part) for part in np.array_split(range(x), factor)])
    for x in size
  ]
  for k in range(tiles):
    top, left = edges[0][k // factor], edges[1][k % factor]
    bottom, right = edges[0][k // factor + 1], edges[1][k % factor + 1]
    for image in range(n):
      tile = np.asarray(packed)[0, image, top:bottom, left:right]
      np.testing.assert_array_equal(tile, k * n + image)


def test_decoding_a_packed_set_upsamples_the_halved_images():
  real = _random((2, 12, 32, 32, 3))
  formation = formations.uniform(2)
  packed = jax.jit(formation.pack)(real)
  decoded = jax.jit(formation.decode)({'images': packed}).images
  halved = real[:, :, ::2, ::2]
  np.testing.assert_allclose(
    decoded, _numpy.bilinear(halved, 32, 32), atol=1e-6
  )


@pytest.mark.parametrize('factor', [1, 2, 3, 4])
@pytest.mark.parametrize('ipc', [1, 5, 10, 16])
def test_bound_keeps_its_cap_and_every_image(factor, ipc):
  for cap in range(ipc, 60, 7):
    spec = {'name': 'bound', 'factor': factor, 'cap': cap}
    groups = _grids.groups(spec, ipc)
    assert formations.decoded_count(spec, ipc) <= cap
    covered = [k for g in groups for k in range(g.start, g.stop)]
    assert covered == list(range(ipc))
    sizes = [g.rows for g in groups]
    assert sizes == sorted(sizes, reverse=True)


def test_bound_with_room_for_all_is_uniform():
  stored = _random((2, 3, 6, 6, 1))
  # An image about to be cut counts as left too: 3 * 4 + 3 places, not 12.
  spec = {'name': 'bound', 'factor': 2, 'cap': 15}
  np.testing.assert_array_equal(
    _decode(spec, stored).images,
    _decode({'name': 'uniform', 'factor': 2}, stored).images,
  )


@pytest.mark.parametrize('spec', PATCH_SPECS[4:7], ids=str)
def test_vjp_is_the_adjoint_of_the_decode(spec):
  shape = (3, 4, 7, 10, 2)
  stored, step = _random(shape), _random(shape, seed=1)
  images = _decode(spec, stored).images
  cotangent = _random(images.shape, seed=2)
  _, decode = _compiled(json.dumps(spec))
  gradient = jax.grad(
    lambda x: jnp.vdot(decode({'images': x}).images, cotangent)
  )(jnp.asarray(stored))
  change = _decode(spec, stored + step).images - images
  np.testing.assert_allclose(
    np.vdot(change, cotangent), np.vdot(step, gradient), rtol=1e-4
  )


def test_decode_is_the_same_with_and_without_jit():
  spec = {'name': 'bound', 'factor': 3, 'cap': 17}
  stored = _random((3, 4, 7, 10, 2))
  batch = formations.build(spec).decode({'images': stored})
  chex.assert_trees_all_close(_decode(spec, stored), batch, atol=1e-6)


def test_project_clips_to_the_value_range():
  images = jnp.array([-2.0, 0.5, 3.0])
  for options, expected in (
    ({}, [0.0, 0.5, 1.0]),
    ({'value_range': (None, 1.0)}, [-2.0, 0.5, 1.0]),
    ({'value_range': (-1.0, None)}, [-1.0, 0.5, 3.0]),
    ({'value_range': (None, None)}, [-2.0, 0.5, 3.0]),
  ):
    params = {'images': images, 'decoder': 7}
    projected = formations.uniform(2, **options).project(params)
    np.testing.assert_array_equal(projected['images'], expected)
    assert projected['decoder'] == 7
  open_range = formations.time_axis(2).project({'images': images})
  np.testing.assert_array_equal(open_range['images'], images)


@pytest.mark.parametrize(
  'spec',
  [
    *PATCH_SPECS,
    {'name': 'learnable', 'factor': 2, 'features': 4, 'value_range': [0, None]},
  ],
  ids=str,
)
def test_specs_survive_json(spec):
  formation = formations.build(spec)
  again = formations.build(json.loads(json.dumps(formation.spec)))
  assert again.spec == formation.spec
  assert spec.items() <= again.spec.items()
  assert again.tiles == formation.tiles
  assert formations.decoded_count(formation, 4) == formations.decoded_count(
    formation.spec, 4
  )


def test_every_formation_has_a_builder():
  assert sorted(formations.FORMATIONS) == sorted(_grids.NAMES)
  # Constants, then classes, then functions, as the linter sorts them.
  assert len(formations.__all__) == len(set(formations.__all__))
  assert all(hasattr(formations, name) for name in formations.__all__)


# The learnable formation.


@pytest.mark.parametrize(
  'factor, size', [(1, (6, 5)), (2, (8, 8)), (3, (7, 10))]
)
def test_learnable_starts_as_uniform(factor, size):
  stored = _random((2, 2, *size, 3))
  formation = formations.learnable(factor, features=4, shrink=3)
  params = jax.jit(formation.init)(jax.random.key(0), stored)
  assert formation.tiles == factor**2
  batch = jax.jit(formation.decode)(params)
  uniform = jax.jit(formations.uniform(factor).decode)
  expected = uniform({'images': stored})
  np.testing.assert_allclose(batch.images, expected.images, atol=1e-6)
  np.testing.assert_array_equal(batch.labels, expected.labels)


def test_learnable_learns_a_detail_that_bilinear_cannot_show():
  formation = formations.learnable(2, features=4, shrink=3)
  start = jax.jit(formation.init)
  params = start(jax.random.key(0), _random((1, 1, 8, 8, 1)))
  stripes = jnp.broadcast_to(jnp.arange(8.0) % 2, (8, 8))[..., None]

  @jax.jit
  def loss(decoder):
    images = formation.decode({**params, 'decoder': decoder}).images
    return jnp.mean((images - stripes) ** 2)

  decoder, gradient = params['decoder'], jax.jit(jax.grad(loss))
  start = loss(decoder)
  for _ in range(60):
    decoder = jax.tree.map(lambda p, g: p - 0.2 * g, decoder, gradient(decoder))
  assert loss(decoder) < 0.5 * start
  # Every layer takes part once the last one has left zero.
  for leaf in jax.tree.leaves(gradient(decoder)):
    assert jnp.abs(leaf).max() > 0


@pytest.mark.parametrize('factor', range(1, 12))
def test_the_deconvolution_is_a_transposed_convolution(factor):
  kernel, bias, x = _random((9, 9, 3, 2)), _random((2,)), _random((2, 4, 5, 3))
  variables = {'params': {'kernel': kernel, 'bias': bias}}
  strides = (factor, factor)
  expected = nn.ConvTranspose(2, (9, 9), strides).apply(variables, x)
  found = _learnable.Deconvolution(2, factor).apply(variables, x)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_fsrcnn_is_as_small_as_documented():
  params = formations.learnable(2).init(
    jax.random.key(0), _random((1, 1, 4, 4, 3))
  )
  count = sum(leaf.size for leaf in jax.tree.leaves(params['decoder']))
  assert count < 2 * 32 * 32 * 3


# Errors.


@pytest.mark.parametrize(
  'spec, message',
  [
    (
      {'name': 'unifrom'},
      "'unifrom': must be one of .*'bound', .*'uniform'",
    ),
    ({'factor': 2}, 'formation None: must be one of'),
    (
      {'name': 'uniform', 'facto': 2},
      "no option 'facto': it takes .*'factor'",
    ),
    ({'name': 'uniform'}, "'factor' is missing"),
    ({'name': 'bound', 'factor': 2}, "'cap' is missing"),
    ({'name': 'uniform', 'factor': 0}, 'factor is 0.*integer >= 1'),
    ({'name': 'uniform', 'factor': 2.0}, 'factor is 2.0'),
    ({'name': 'uniform', 'factor': True}, 'factor is True'),
    ({'name': 'time_axis', 'factor': '2'}, "factor is '2'"),
    ({'name': 'bound', 'factor': 2, 'cap': 0}, 'cap is 0'),
    ({'name': 'learnable', 'factor': 2, 'shrink': -1}, 'shrink is -1'),
    ({'name': 'identity', 'value_range': [1, 0]}, 'value_range.*low < high'),
    ({'name': 'identity', 'value_range': 1}, 'value_range=1 must be tuple'),
    ({'name': 'identity', 'padding': None}, 'padding=None must be'),
  ],
)
def test_build_rejects(spec, message):
  with pytest.raises(ValueError, match=message):
    formations.build(spec)


@pytest.mark.parametrize('name', ['uniform', 'multiscale', 'learnable'])
def test_factor_larger_than_the_image(name):
  formation = formations.build({'name': name, 'factor': 5})
  images = _random((1, 25, 6, 4, 1))
  for call in (
    formation.pack,
    lambda x: formation.init(jax.random.key(0), x),
    lambda x: formation.decode({'images': x, 'decoder': {}}),
  ):
    with pytest.raises(
      ValueError, match=r'factor 5 is larger.*6 x 4.*4 columns'
    ):
      call(images)
  if name != 'learnable':
    with pytest.raises(ValueError, match='factor 5 is larger'):
      formations.numpy_decode(formation.spec, images)


def test_time_axis_may_exceed_the_rows():
  stored = _random((1, 1, 2, 6, 1))
  assert (
    _decode({'name': 'time_axis', 'factor': 3}, stored).images.shape[1] == 3
  )


def test_stored_images_are_checked():
  formation, key = formations.uniform(2), jax.random.key(0)
  with pytest.raises(ValueError, match=r'shape \[3, 8, 8, 1\]'):
    formation.init(key, _random((3, 8, 8, 1)))
  with pytest.raises(ValueError, match=r'uint8.*must be floats'):
    formation.init(key, np.zeros((1, 1, 8, 8, 1), np.uint8))
  with pytest.raises(ValueError, match=r'5 images a class.*4 tiles'):
    formation.pack(_random((1, 5, 8, 8, 1)))
  with pytest.raises(ValueError, match=r'cap is 3.*4 stored'):
    formations.bound(2, 3).init(key, _random((1, 4, 8, 8, 1)))
  with pytest.raises(ValueError, match='must be floats of shape'):
    formations.numpy_decode(formation.spec, _random((3, 8, 8, 1)))
  with pytest.raises(ValueError, match="'learnable', which needs a network"):
    formations.numpy_decode(
      {'name': 'learnable', 'factor': 2}, _random((1, 1, 8, 8, 1))
    )


def test_decoded_count_rejects():
  with pytest.raises(ValueError, match='ipc is 0'):
    formations.decoded_count(formations.identity(), 0)
  with pytest.raises(ValueError, match="name is 'x'; the known formations"):
    formations.decoded_count({'name': 'x'}, 1)
