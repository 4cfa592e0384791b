"""Images as mixtures of shared bases: the start, the decode, the file."""

import importlib.util
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import artefact as artefacts, formations

DECODER = pathlib.Path(__file__).resolve().parent.parent / 'docs/decoder.py'
SHAPE = (6, 8, 3)
KEY = jax.random.key(0)


def random_images(count=4, seed=0):
  rng = np.random.default_rng(seed)
  return jnp.asarray(rng.uniform(size=(2, count, *SHAPE)), jnp.float32)


def mixtures(count, size=3, rank=5):
  """Images that `rank` bases render exactly."""
  rng = np.random.default_rng(1)
  bases = rng.normal(size=(rank, size, size, 3))
  bases = jax.image.resize(bases, (rank, *SHAPE), 'bilinear', antialias=False)
  weights = rng.normal(size=(2, count, rank))
  return jnp.einsum('cmk,khwd->cmhwd', weights, bases).astype(jnp.float32)


def test_decoding_is_the_sum_of_enlarged_bases():
  formation = formations.basis(2, 2, (4, 4, 1))
  bases = jnp.asarray([[[1.0, 1], [1, 1]], [[0, 0], [4, 4]]])[..., None]
  coefficients = jnp.asarray([[[1.0, 0.5]], [[-2, 0]]])
  decoded = jax.jit(formation.decode)(
    {'bases': bases, 'coefficients': coefficients}
  )
  # Rows of the second basis are 0, 1, 3, 4 once enlarged.
  column = [[1, 1.5, 2.5, 3], [-2, -2, -2, -2]]
  expected = np.broadcast_to(
    np.reshape(column, (2, 1, 4, 1, 1)), (2, 1, 4, 4, 1)
  )
  np.testing.assert_allclose(decoded.images, expected, atol=1e-6)
  np.testing.assert_array_equal(decoded.labels, np.eye(2)[:, None])


def test_the_start_renders_images_that_bases_can_render():
  images = mixtures(6)
  formation = formations.basis(5, 3, SHAPE)
  params = jax.jit(formation.init)(KEY, images)
  decoded = jax.jit(formation.decode)(params).images
  np.testing.assert_allclose(decoded, images, atol=1e-3)


def test_more_bases_render_better_and_none_is_dead():
  images = random_images()
  errors = []
  for count in (1, 4, 30):
    formation = formations.basis(count, 5, SHAPE)
    params = jax.jit(formation.init)(KEY, images)
    assert params['bases'].shape == (count, 5, 5, 3)
    norms = np.linalg.norm(params['bases'].reshape(count, -1), axis=1)
    assert norms.min() > 1e-3 * norms.max()
    decoded = jax.jit(formation.decode)(params).images
    errors.append(float(jnp.mean((decoded - images) ** 2)))
  assert errors[0] > errors[1] > errors[2]
  assert errors[0] <= float(jnp.mean(images**2))


def test_images_of_a_pack_get_a_cell_each_in_order():
  images = random_images(6)
  whole = formations.basis(12, 5, SHAPE)
  expected = jax.jit(whole.init)(KEY, images)
  formation = formations.basis(12, 5, SHAPE, tiles=3)
  packed = jax.jit(formation.pack)(images)
  assert packed.shape == (2, 2, 6, 8, 9)
  params = jax.jit(formation.init)(KEY, packed)
  np.testing.assert_array_equal(
    params['coefficients'], expected['coefficients']
  )
  assert formations.decoded_count(formation, 2) == 6


def test_copies_of_an_image_start_apart():
  formation = formations.basis(6, 4, SHAPE, tiles=3)
  images = random_images(2)
  params = jax.jit(formation.init)(KEY, images)
  assert params['coefficients'].shape == (2, 6, 6)
  decoded = np.asarray(jax.jit(formation.decode)(params).images)
  fitted = formations.basis(6, 4, SHAPE)
  once = np.asarray(
    jax.jit(fitted.decode)(jax.jit(fitted.init)(KEY, images)).images
  )
  error = np.abs(decoded - np.tile(once, (1, 3, 1, 1, 1)))
  assert 0 < error.mean() < 0.3 * np.sqrt(np.mean(once**2))
  assert (decoded[:, 0] != decoded[:, 2]).any()


def test_gradients_reach_bases_and_coefficients():
  formation = formations.basis(3, 4, SHAPE)
  params = jax.jit(formation.init)(KEY, random_images())

  def size(params):
    return jnp.sum(formation.decode(params).images ** 2)

  gradient = jax.jit(jax.grad(size))(params)
  for name, value in gradient.items():
    assert value.shape == params[name].shape
    assert (np.asarray(value) != 0).all()


@pytest.mark.parametrize('labels', [False, True])
def test_numpy_alone_reads_the_file(tmp_path, labels):
  formation = formations.basis(4, 4, SHAPE, tiles=2)
  if labels:
    formation = formations.with_labels(formation)
    formation = formations.with_step_size(formation, 0.03)
  params = jax.jit(formation.init)(KEY, random_images(2))
  decoded = jax.jit(formation.decode)(params)
  kept = formations.as_stored(formation, params)
  condensed = artefacts.Artefact(
    params={k: np.asarray(v) for k, v in kept.items() if k != 'labels'},
    spec=formations.stored_spec(formation, params),
    mean=(0.5,) * 3,
    std=(0.2,) * 3,
    class_names=('a', 'b'),
    labels=np.asarray(params['labels']) if labels else None,
  )
  path = tmp_path / 'set.npz'
  artefacts.save(path, condensed)
  found = importlib.util.spec_from_file_location('d', DECODER)
  decoder = importlib.util.module_from_spec(found)
  found.loader.exec_module(decoder)
  images, stored_labels, meta = decoder.read(path)
  assert images.dtype == np.float32
  np.testing.assert_allclose(images, decoded.images, atol=1e-5)
  assert 'coefficients' in meta['how_to_decode']
  loaded = artefacts.load(path)
  flat = decoded.images.reshape(-1, *SHAPE)
  np.testing.assert_allclose(loaded.numpy()[0], flat, atol=1e-5)
  np.testing.assert_array_equal(loaded.batch().images, decoded.images)
  if labels:
    np.testing.assert_array_equal(stored_labels, decoded.labels)
    assert loaded.step_size == np.float32(0.03)
  sizes = artefacts.storage(loaded)
  assert sizes['bases']['numbers'] == 4 * 4 * 4 * 3
  assert sizes['coefficients']['disk_bytes'] == 4 * 2 * 4 * 4
  assert sizes['images']['numbers'] == 0
  assert sizes['total']['numbers'] == 192 + 32 + labels * (16 + 1)


def test_the_budget_of_one_image_a_class_pays_for_115():
  formation = formations.basis(16, 16, (32, 32, 3), tiles=115)
  blank = jax.ShapeDtypeStruct((10, 1, 32, 32, 3), jnp.float32)
  params = jax.eval_shape(formation.init, KEY, blank)
  numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert 30720 - 160 < numbers <= 10 * 32 * 32 * 3


def test_specs_survive_json():
  spec = {'name': 'basis', 'count': 4, 'size': 3, 'image_shape': [6, 8, 3]}
  formation = formations.build({**spec, 'tiles': 2, 'labels': 'centred'})
  assert spec.items() <= formation.spec.items()
  again = formations.build(json.loads(json.dumps(formation.spec)))
  assert again.spec == formation.spec and again.tiles == 2


@pytest.mark.parametrize(
  'options, message',
  [
    ({'count': 0}, 'count is 0'),
    ({'size': 7}, 'size is 7; it must be at most the 6 rows'),
    ({'tiles': 1.5}, 'tiles=1.5 must be int'),
    ({'image_shape': (6, 8)}, 'image_shape is'),
    ({'value_range': (1, 0)}, 'value_range'),
    ({'factor': 2}, "no option 'factor'"),
  ],
)
def test_bad_options_are_named(options, message):
  known = {'count': 4, 'size': 3, 'image_shape': SHAPE}
  with pytest.raises(ValueError, match=message):
    formations.build({'name': 'basis', **known, **options})


def test_shapes_that_do_not_fit_are_named():
  formation = formations.basis(4, 3, SHAPE, tiles=2)
  with pytest.raises(ValueError, match='3 images a class'):
    formation.pack(random_images(3))
  with pytest.raises(ValueError, match=r'image_shape \[6, 8, 3\]'):
    formation.init(KEY, random_images()[:, :, :5])
  params = jax.jit(formation.init)(KEY, random_images())
  with pytest.raises(ValueError, match='bases have shape'):
    formation.decode({**params, 'bases': params['bases'][:3]})
  with pytest.raises(ValueError, match='coefficients have shape'):
    formation.decode(
      {**params, 'coefficients': params['coefficients'][..., :3]}
    )
  with pytest.raises(ValueError, match="'basis', which needs bases"):
    formations.numpy_decode(formation.spec, np.asarray(random_images()))
  with pytest.raises(ValueError, match="params lack 'bases'"):
    artefacts.Artefact(
      params={'coefficients': np.zeros((2, 1, 4), np.float32)},
      spec=formation.spec,
      mean=(0.5,) * 3,
      std=(0.2,) * 3,
      class_names=('a', 'b'),
    )
