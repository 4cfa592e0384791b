"""Images of few bits: rounding, packing, and reading them with NumPy alone."""

import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import artefact as artefacts, formations
from dcjax.formations import _quantised_numpy

DECODER = pathlib.Path(__file__).resolve().parent.parent / 'docs/decoder.py'
SHAPE = (2, 3, 5, 7, 3)
_BASIS = {'count': 5, 'size': 3, 'image_shape': SHAPE[2:]}
CASES = [(bits, s) for bits in (1, 3, 8) for s in formations.SCALES]


def random_images(seed=0, shape=SHAPE):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.uniform(size=shape), jnp.float32)


def stored(formation, params):
  """What is kept, and the formation that reads it."""
  spec = formations.stored_spec(formation, params)
  spec = json.loads(json.dumps(spec))
  return formations.as_stored(formation, params), formations.build(spec)


def made(formation, params, labels=None):
  kept, reader = stored(formation, params)
  kept = {k: jax.device_get(v) for k, v in kept.items() if k != 'labels'}
  return artefacts.Artefact(
    params=kept,
    spec=reader.spec,
    mean=(0.5,) * 3,
    std=(0.2,) * 3,
    class_names=('a', 'b'),
    labels=labels,
  )


def published():
  found = importlib.util.spec_from_file_location('d', DECODER)
  module = importlib.util.module_from_spec(found)
  found.loader.exec_module(module)
  return module


@pytest.mark.parametrize('bits, scales', CASES)
def test_every_image_has_at_most_the_values_of_its_bits(bits, scales):
  images = random_images()
  formation = formations.quantised(bits, scales=scales)
  seen = np.asarray(jax.jit(formation.decode)({'images': images}).images)
  groups = seen.reshape(6, -1, 3)
  if scales == 'channel':
    groups = groups.transpose(0, 2, 1).reshape(18, -1)
  for values in groups:
    assert len(np.unique(values)) <= 2**bits
  # Half a step of the widest range, and what scales of 11 bits miss.
  assert abs(seen - images).max() <= 0.5 / (2**bits - 1) + 1e-3


def test_gradients_pass_straight_through():
  formation = formations.quantised(2)
  images, weight = random_images(1), random_images(2)

  def weighted(images):
    return jnp.sum(weight * formation.decode({'images': images}).images ** 2)

  seen = formation.decode({'images': images}).images
  np.testing.assert_array_equal(jax.grad(weighted)(images), 2 * weight * seen)


@pytest.mark.parametrize('bits, scales', CASES)
def test_numpy_alone_reads_the_same_bits(tmp_path, bits, scales):
  formation = formations.quantised(bits, scales=scales)
  params = {'images': random_images(bits)}
  seen = np.asarray(jax.jit(formation.decode)(params).images)
  kept, reader = stored(formation, params)
  np.testing.assert_array_equal(jax.jit(reader.decode)(kept).images, seen)
  artefacts.save(tmp_path / 'set.npz', made(formation, params))
  images, labels, meta = published().read(tmp_path / 'set.npz')
  np.testing.assert_array_equal(images, seen)
  np.testing.assert_array_equal(labels, [[0] * 3, [1] * 3])
  assert 'dequantise' in meta['how_to_decode']
  loaded = artefacts.load(tmp_path / 'set.npz')
  np.testing.assert_array_equal(loaded.numpy()[0].reshape(SHAPE), seen)
  np.testing.assert_array_equal(loaded.batch().images, seen)


def test_codes_lie_end_to_end_highest_bit_first():
  images = jnp.asarray([0.0, 1, 2, 3, 7], jnp.float32).reshape(1, 1, 5, 1, 1)
  kept, _ = stored(formations.quantised(3), {'images': images})
  # 000 001 010 011 111, filled up with a zero.
  np.testing.assert_array_equal(kept['codes'], [[[0b00000101, 0b00111110]]])
  assert kept['scales'] == 1 and kept['offsets'] == 0
  read = _quantised_numpy.dequantise(
    *(np.asarray(kept[n]) for n in ('codes', 'scales', 'offsets')), 3, (5, 1, 1)
  )
  np.testing.assert_array_equal(read, images)


def test_an_image_of_one_value_keeps_it():
  images = jnp.full((1, 1, 4, 4, 1), 0.75)
  formation = formations.quantised(2)
  decoded = formation.decode({'images': images}).images
  np.testing.assert_array_equal(decoded, images)
  gradient = jax.grad(lambda x: formation.decode({'images': x}).images.sum())(
    images
  )
  np.testing.assert_array_equal(gradient, jnp.ones_like(images))


@pytest.mark.parametrize(
  'inner',
  [
    formations.uniform(2),
    formations.multiscale(2),
    formations.bound(2, 6),
    formations.time_axis(3),
  ],
  ids=lambda inner: inner.spec['name'],
)
def test_rounded_images_are_cut_as_others(tmp_path, inner):
  formation = formations.quantised(4, inner)
  params = formation.init(jax.random.key(0), random_images())
  whole = formations.quantised(4).decode(params).images
  expected = inner.decode({'images': whole})
  decoded = formation.decode(params)
  np.testing.assert_array_equal(decoded.images, expected.images)
  np.testing.assert_array_equal(decoded.labels, expected.labels)
  assert formation.tiles == inner.tiles
  count = formations.decoded_count(formation, 3)
  assert count == formations.decoded_count(inner, 3) == decoded.images.shape[1]
  artefacts.save(tmp_path / 'set.npz', made(formation, params))
  images, _, _ = published().read(tmp_path / 'set.npz')
  np.testing.assert_allclose(images, decoded.images, atol=1e-6)


_CUT = [
  formations.identity(),
  formations.uniform(2),
  formations.uniform(4),  # whose last crops hold no pixel of five rows
  formations.multiscale(3),
  formations.bound(2, 6),
  formations.time_axis(3),
]


@pytest.mark.parametrize(
  'inner', _CUT, ids=lambda inner: f'{inner.spec["name"]}{inner.tiles}'
)
def test_each_crop_of_the_finest_cut_has_a_grid_of_its_own(tmp_path, inner):
  formation = formations.quantised(2, inner, scales='patch')
  params = {'images': random_images()}
  rows = inner.spec.get('factor', 1)
  rows, columns = (1 if inner.spec['name'] == 'time_axis' else rows), rows
  h, w = -(-SHAPE[2] // rows), -(-SHAPE[3] // columns)
  patch, expected = formations.quantised(2), np.array(params['images'])
  for i in range(0, SHAPE[2], h):
    for j in range(0, SHAPE[3], w):
      place = np.s_[:, :, i : i + h, j : j + w]
      alone = {'images': params['images'][place]}
      expected[place] = patch.decode(alone).images
  expected = jax.jit(inner.decode)({'images': jnp.asarray(expected)}).images
  seen = jax.jit(formation.decode)(params).images
  np.testing.assert_array_equal(seen, expected)
  kept, reader = stored(formation, params)
  assert kept['scales'].shape == (2, 3, rows, columns)
  np.testing.assert_array_equal(jax.jit(reader.decode)(kept).images, seen)
  artefacts.save(tmp_path / 'set.npz', made(formation, params))
  images, _, meta = published().read(tmp_path / 'set.npz')
  np.testing.assert_allclose(images, seen, atol=1e-6)
  assert '[C, N, rows, columns]' in meta['how_to_decode']
  loaded = artefacts.load(tmp_path / 'set.npz')
  np.testing.assert_allclose(
    loaded.numpy()[0].reshape(seen.shape), seen, atol=1e-6
  )
  sizes = artefacts.storage(loaded)
  assert sizes['images']['disk_bytes'] == 6 * 27  # 105 * 2 / 8, rounded up
  assert sizes['scales']['disk_bytes'] == 6 * rows * columns * 4


def test_gradients_pass_straight_through_patches():
  inner = formations.uniform(2)
  formation = formations.quantised(2, inner, scales='patch')
  images, weight = random_images(1), random_images(2)

  def summed(decode, images):
    return jnp.sum(jnp.tile(weight, (1, 4, 1, 1, 1)) * decode(images).images)

  found, expected = (
    jax.jit(jax.grad(lambda x, f=f: summed(f.decode, {'images': x})))(images)
    for f in (formation, inner)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_learned_upsampler_needs_dcjax_but_is_packed():
  formation = formations.quantised(4, formations.learnable(2, features=4))
  params = formation.init(jax.random.key(0), random_images())
  kept, reader = stored(formation, params)
  assert 'images' not in kept and 'decoder' in kept
  np.testing.assert_array_equal(
    jax.jit(reader.decode)(kept).images,
    jax.jit(formation.decode)(params).images,
  )


@pytest.mark.parametrize(
  'spec',
  [
    {'bits': 1},
    {'bits': 4, 'inner': 'uniform', 'factor': 2},
    {'bits': 8, 'scales': 'channel', 'value_range': [None, None]},
    {'bits': 2, 'inner': 'time_axis', 'factor': 2, 'step_size': 'plain'},
    {'bits': 2, 'labels': 'centred', 'image_shape': [8, 8, 1]},
    {'bits': 4, 'inner': 'multiscale', 'factor': 2, 'scales': 'patch'},
    {
      'bits': 4,
      'inner': 'basis',
      'count': 2,
      'size': 3,
      'image_shape': [8, 8, 1],
    },
  ],
)
def test_specs_survive_json(spec):
  spec = {'name': 'quantised', **spec}
  formation = formations.build(spec)
  assert spec.items() <= formation.spec.items()
  again = formations.build(json.loads(json.dumps(formation.spec)))
  assert again.spec == formation.spec


@pytest.mark.parametrize('form', ['probabilities', 'nonnegative', 'centred'])
def test_labels_and_a_step_size_lie_beside_packed_images(tmp_path, form):
  formation = formations.quantised(3, formations.uniform(2))
  formation = formations.with_labels(formation, 'hard', form)
  formation = formations.with_step_size(formation, 0.02)
  params = formation.init(jax.random.key(0), random_images())
  decoded = formation.decode(formation.project(params))
  condensed = made(formation, params, np.asarray(decoded.labels))
  artefacts.save(tmp_path / 'set.npz', condensed)
  images, labels, meta = published().read(tmp_path / 'set.npz')
  np.testing.assert_allclose(images, decoded.images, atol=1e-6)
  np.testing.assert_array_equal(labels, decoded.labels)
  said = None if form == 'probabilities' else form
  assert meta['spec'].get('labels') == said
  assert artefacts.load(tmp_path / 'set.npz').step_size == np.float32(0.02)


def test_storage_counts_bits_and_scales():
  formation = formations.quantised(3, scales='channel')
  sizes = artefacts.storage(made(formation, {'images': random_images()}))
  pixels = 2 * 3 * 105
  assert sizes['images'] == {
    'numbers': pixels,
    'float32_bytes': 4 * pixels,
    'disk_bytes': 6 * 40,  # 105 * 3 / 8 bytes, rounded up
  }
  assert sizes['scales'] == {
    'numbers': 36,
    'float32_bytes': 144,
    'disk_bytes': 72,
  }
  assert sizes['total']['numbers'] == pixels + 36
  assert sizes['total']['disk_bytes'] > 240 + 72


@pytest.mark.parametrize(
  'options, message',
  [
    ({'bits': 0}, 'bits is 0'),
    ({'bits': 9}, 'bits is 9; it must be from 1 to 8'),
    ({'bits': 2.5}, 'bits is 2.5'),
    ({}, "'bits' is missing"),
    (
      {'bits': 2, 'scales': 'pixel'},
      "scales 'pixel': must be one of .*'patch'",
    ),
    ({'bits': 2, 'inner': 'basis', 'scales': 'patch', **_BASIS}, 'of a basis'),
    ({'bits': 2, 'inner': 'uniform'}, "'factor' is missing"),
    ({'bits': 2, 'factor': 2}, "no option 'factor'"),
    ({'bits': 2, 'inner': 'cubist'}, "formation 'cubist'"),
    ({'bits': 2, 'image_shape': [4, 4]}, 'image_shape'),
    (
      {
        'bits': 2,
        'inner': 'codebook',
        'num_classes': 2,
        'image_shape': [4, 4, 1],
      },
      "inner is 'codebook'; it must be .* stores images, or a basis",
    ),
  ],
)
def test_bad_options_are_named(options, message):
  with pytest.raises(ValueError, match=message):
    formations.build({'name': 'quantised', **options})


def test_nothing_is_quantised_twice():
  with pytest.raises(ValueError, match='is not quantised'):
    formations.quantised(2, formations.quantised(4))


def test_what_an_artefact_holds_is_packed():
  formation, images = formations.quantised(3), np.asarray(random_images())
  with pytest.raises(ValueError, match=r'params hold images; .* are packed'):
    artefacts.Artefact(
      params={'images': images},
      spec=formation.spec,
      mean=(0.5,) * 3,
      std=(0.2,) * 3,
      class_names=('a', 'b'),
    )


# Around a basis.


def _basis(scales):
  return formations.quantised(3, formations.basis(**_BASIS), scales=scales)


def _rounded_alone(params, scales):
  """Bases as images, and coefficients as an image of each base."""
  bases = formations.quantised(3, scales=scales).decode(
    {'images': params['bases'][None]}
  )
  columns = jnp.moveaxis(params['coefficients'], -1, 0)[None, ..., None]
  found = formations.quantised(3).decode({'images': columns}).images
  return {
    'bases': bases.images[0],
    'coefficients': jnp.moveaxis(found[0, ..., 0], 0, -1),
  }


@pytest.mark.parametrize('scales', ['image', 'channel'])
def test_bases_and_coefficients_are_rounded_and_packed(tmp_path, scales):
  formation = _basis(scales)
  params = jax.jit(formation.init)(jax.random.key(0), random_images())
  rounded = _rounded_alone(params, scales)
  seen = np.asarray(jax.jit(formation.decode)(params).images)
  plain = jax.jit(formations.basis(**_BASIS).decode)
  np.testing.assert_array_equal(seen, plain(rounded).images)
  assert abs(seen - plain(params).images).max() > 1e-3
  kept, reader = stored(formation, params)
  np.testing.assert_array_equal(jax.jit(reader.decode)(kept).images, seen)
  assert reader.project(kept) is kept
  read = formations.numpy_unpacked(reader.spec, kept)
  for name, leaf in rounded.items():
    np.testing.assert_array_equal(read[name], leaf)
  path = tmp_path / 'set.npz'
  artefacts.save(path, made(formation, params))
  images, labels, meta = published().read(path)
  assert images.dtype == np.float32
  np.testing.assert_allclose(images, seen, atol=1e-5)
  np.testing.assert_array_equal(labels, [[0] * 3, [1] * 3])
  assert 'dequantise' in meta['how_to_decode']
  loaded = artefacts.load(path)
  np.testing.assert_allclose(loaded.numpy()[0].reshape(SHAPE), seen, atol=1e-5)
  assert '3 images 5x7x3 (quantised inner=basis bits=3)' in repr(loaded)
  sizes = artefacts.storage(loaded)
  grids = {'image': 5, 'channel': 15}[scales]
  assert {n: s['disk_bytes'] for n, s in sizes.items() if n != 'total'} == {
    'bases': 5 * 11,  # 27 * 3 / 8 bytes, rounded up
    'coefficients': 6 * 2,  # 5 * 3 / 8 bytes, rounded up
    'scales': 4 * (grids + 5),
    'images': 0,
    'labels': 0,
    'decoder': 0,
    'preprocessing': 0,
  }
  assert sizes['bases']['numbers'] == 135
  assert sizes['coefficients']['float32_bytes'] == 4 * 30


def test_gradients_pass_straight_through_a_basis():
  formation, inner = _basis('image'), formations.basis(**_BASIS)
  params = jax.jit(formation.init)(jax.random.key(0), random_images())

  def size(decode, params):
    return jnp.sum(decode(params).images ** 2)

  found = jax.jit(jax.grad(lambda p: size(formation.decode, p)))(params)
  expected = jax.jit(jax.grad(lambda p: size(inner.decode, p)))(
    _rounded_alone(params, 'image')
  )
  for name, leaf in expected.items():
    np.testing.assert_allclose(found[name], leaf, rtol=1e-5, atol=1e-5)


def test_packed_bases_that_do_not_fit_are_refused():
  formation = _basis('image')
  params = jax.jit(formation.init)(jax.random.key(0), random_images())
  kept, reader = stored(formation, params)

  def changed(name, **entries):
    return {**kept, name: {**kept[name], **entries}}

  with pytest.raises(ValueError, match=r'codes are .* uint8 \[K, 11\] for'):
    reader.decode(changed('bases', codes=kept['bases']['codes'][:, 1:]))
  with pytest.raises(ValueError, match=r'offsets are .* float16 \[5\]'):
    offsets = kept['coefficients']['offsets'][1:]
    reader.decode(changed('coefficients', offsets=offsets))
  with pytest.raises(ValueError, match="params lack 'scales'"):
    bases = {n: v for n, v in kept['bases'].items() if n != 'scales'}
    artefacts.Artefact(
      params=jax.device_get({**kept, 'bases': bases}),
      spec=reader.spec,
      mean=(0.5,) * 3,
      std=(0.2,) * 3,
      class_names=('a', 'b'),
    )
  with pytest.raises(ValueError, match='a basis says its own'):
    formations.quantised(3, formations.basis(**_BASIS), image_shape=SHAPE[2:])


def test_packed_numbers_that_do_not_fit_are_refused():
  formation = formations.quantised(3)
  params = {'images': random_images()}
  kept, reader = stored(formation, params)
  with pytest.raises(ValueError, match='image_shape is missing'):
    formation.decode(kept)
  with pytest.raises(ValueError, match=r'codes are uint8 .* 40\] for'):
    reader.decode({**kept, 'codes': kept['codes'][..., :-1]})
  with pytest.raises(ValueError, match=r'offsets are float32'):
    reader.decode({**kept, 'offsets': kept['offsets'].astype(jnp.float32)})
  condensed = made(formation, params)
  with pytest.raises(ValueError, match='params lack scales'):
    artefacts.Artefact(
      params={'codes': condensed.params['codes'], 'offsets': np.float16([0])},
      spec=condensed.spec,
      mean=condensed.mean,
      std=condensed.std,
      class_names=condensed.class_names,
    )
