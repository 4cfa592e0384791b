"""The codebook formation: sizes, decoding, gradients, what it stores."""

import dataclasses
import hashlib
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax.traverse_util import flatten_dict

import dcjax
from dcjax import artefact, formations, objectives
from dcjax.base import Batch
from dcjax.formations import _codebook_numpy, _generator

_DECODER = pathlib.Path(__file__).parent.parent / 'docs' / 'decoder.py'
_SHAPE = (8, 8, 1)
_OPTIONS = dict(codes_dim=5, projection_dim=4, width=4, embedding_dim=6)
_FORMATION = formations.codebook(3, _SHAPE, **_OPTIONS)
_DECODE = jax.jit(_FORMATION.decode)


@pytest.fixture(scope='module')
def params():
  """Four codes, random embeddings, and weights away from their start."""
  made = _FORMATION.init(tiny.KEY, jnp.zeros([3, 4, *_SHAPE]))
  rng = np.random.default_rng(0)

  def moved(leaf):
    return leaf + jnp.asarray(0.05 * rng.normal(size=leaf.shape), jnp.float32)

  made = {**made, 'generator': jax.tree.map(moved, made['generator'])}
  return formations.calibrate(_FORMATION, made)


@pytest.mark.parametrize(
  ('shape', 'width', 'size'),
  [
    ((32, 32, 3), 128, 1_416_835),
    ((64, 64, 3), 128, 1_712_515),
    ((32, 32, 3), 256, 4_603_139),
    ((64, 64, 3), 256, 5_784_323),
  ],
)
def test_generator_has_the_weights_of_the_plain_design(shape, width, size):
  assert formations.generator_size(shape, width=width) == size


@pytest.mark.parametrize('shape', [(28, 28, 1), (64, 64, 3), (128, 96, 3)])
def test_images_of_any_size(shape):
  formation = formations.codebook(2, shape, width=4)

  def images(key):
    return formation.decode(formation.init(key, jnp.zeros([2, 3, *shape])))

  batch = jax.eval_shape(images, tiny.KEY)
  assert batch.images.shape == (2, 3, *shape)
  assert batch.labels.shape == (2, 3, 2)


def test_smaller_images_are_the_middle():
  squares = jnp.linspace(-1, 1, 64).reshape(1, 8, 8, 1)
  spec = {'image_shape': (6, 8, 1), 'value_range': (0.0, 2.0)}
  images = _generator.to_images(spec, squares)
  np.testing.assert_allclose(images, squares[:, 1:7] + 1, rtol=1e-6)


def test_decode_gives_images_in_range_with_hard_labels(params):
  batch = _DECODE(params)
  assert batch.images.shape == (3, 4, *_SHAPE)
  assert batch.images.min() >= 0 and batch.images.max() <= 1
  assert np.std(batch.images, axis=(0, 1)).mean() > 0.01
  np.testing.assert_array_equal(
    batch.labels, np.broadcast_to(np.eye(3)[:, None], (3, 4, 3))
  )


def test_an_image_depends_on_its_code_and_class_alone(params):
  whole = _DECODE(params).images
  classes, codes = jnp.array([2, 0]), params['codes'][jnp.array([3, 1])]
  some = jax.jit(lambda *args: formations.decode_some(_FORMATION, *args))(
    params, classes, codes
  )
  expected = whole[np.array([[2], [0]]), np.array([3, 1])]
  np.testing.assert_allclose(some, expected, atol=1e-5)


def test_permuting_codes_permutes_images_and_nothing_else(params):
  order = np.array([2, 0, 3, 1])
  permuted = _DECODE({**params, 'codes': params['codes'][order]})
  whole = _DECODE(params)
  np.testing.assert_allclose(permuted.images, whole.images[:, order], atol=1e-5)
  np.testing.assert_array_equal(permuted.labels, whole.labels)


def test_gradient_reaches_codes_and_generator_only(params):
  def loss(params):
    return jnp.sum(_FORMATION.decode(params).images ** 2)

  gradient = jax.jit(jax.grad(loss))(params)
  for name in ('embeddings', 'statistics'):
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient[name]))
  for leaf in jax.tree.leaves([gradient['codes'], gradient['generator']]):
    assert np.any(leaf)


def test_decoding_in_pieces_changes_neither_images_nor_gradients(
  params, monkeypatch
):
  def both(params):
    def loss(codes):
      return jnp.sum(_FORMATION.decode({**params, 'codes': codes}).images ** 2)

    return jax.value_and_grad(loss)(params['codes'])

  expected = jax.jit(both)(params)
  monkeypatch.setattr(_generator, '_AT_ONCE', 5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
    jax.jit(lambda p: both(p))(params),
    expected,
  )


def test_another_class_costs_one_embedding(params):
  larger = formations.codebook(4, _SHAPE, **_OPTIONS)
  extra = np.ones((1, 6), np.float32)
  embeddings = jnp.concatenate([params['embeddings'], extra])
  decode = jax.jit(larger.decode)
  images = decode({**params, 'embeddings': embeddings}).images
  np.testing.assert_allclose(images[:3], _DECODE(params).images, atol=1e-5)
  fresh = jax.eval_shape(larger.init, tiny.KEY, jnp.zeros([4, 4, *_SHAPE]))
  assert {
    name: jax.tree.map(jnp.shape, value)
    for name, value in fresh.items()
    if name != 'embeddings'
  } == {
    name: jax.tree.map(jnp.shape, value)
    for name, value in params.items()
    if name != 'embeddings'
  }


def test_projected_embeddings_are_balanced_like_codes(params):
  # As class means of features are: nearly the same.
  rng = np.random.default_rng(1)
  embeddings = jnp.asarray(0.4 + 0.01 * rng.normal(size=(3, 6)), jnp.float32)
  given = formations.with_embeddings(_FORMATION, params, embeddings)
  layer = given['generator']['projection']
  projected = embeddings @ layer['kernel'] + layer['bias']
  np.testing.assert_allclose(projected.mean(0), 0, atol=1e-3)
  np.testing.assert_allclose(projected.std(0), 1, atol=1e-3)
  np.testing.assert_array_equal(given['embeddings'], embeddings)


def test_statistics_are_those_of_the_images_at_the_start(params):
  measured = formations.calibrate(_FORMATION, params)
  codes, classes = np.tile(params['codes'], (3, 1)), np.repeat(np.arange(3), 4)
  images, _ = jax.jit(
    lambda *args: formations.generate_in_training(_FORMATION, *args)
  )(params, classes, codes)
  np.testing.assert_allclose(
    _DECODE(measured).images.reshape(images.shape), images, atol=1e-4
  )


def _seen(params):
  """All images as training makes them."""
  return _FORMATION.sample(params, tiny.KEY, 10**9, None)


def test_training_decodes_by_the_statistics_of_the_set(params):
  # Whatever is stored as statistics.
  wrong = {
    **params,
    'statistics': jax.tree.map(jnp.ones_like, params['statistics']),
  }
  seen = jax.jit(_seen)(wrong)
  measured = _DECODE(formations.calibrate(_FORMATION, wrong))
  np.testing.assert_allclose(seen.images, measured.images, atol=1e-4)
  np.testing.assert_array_equal(seen.labels, measured.labels)

  def total(params):
    decoded = _seen(params)
    return jnp.sum(decoded.images**2)

  gradient = jax.jit(jax.grad(total))(wrong)
  for name in ('embeddings', 'statistics'):
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient[name]))
  for name in ('codes', 'generator'):
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient[name]))


def test_many_images_train_in_mixed_batches(params):
  classes, codes = jnp.arange(3), jax.random.normal(tiny.KEY, (100, 5))
  decode = jax.jit(
    lambda *args: formations.decode_in_training(_FORMATION, *args)
  )
  images = decode(params, classes, codes)
  assert images.shape == (3, 100, *_SHAPE)
  # Two batches of 150 have nearly the statistics of all 300.
  pairs = np.repeat(np.arange(3), 100), np.tile(codes, (3, 1))
  whole, _ = formations.generate_in_training(_FORMATION, params, *pairs)
  whole = whole.reshape(images.shape)
  off = np.abs(images - whole)
  assert 0 < off.mean() < 0.1 * whole.std()
  # Every image is where its class and code say.
  other = np.abs(images - np.roll(whole, 1, axis=1)).mean()
  assert off.mean() < 0.3 * other


@pytest.mark.parametrize('kind', formations.CODES)
def test_draws_of_codes(kind):
  codes = formations.draw_codes(tiny.KEY, (100, 50), kind)
  assert abs(codes.mean()) < 0.05
  most = {'gaussian': np.inf, 'truncated': 1.0, 'uniform': 3**0.5}[kind]
  assert np.abs(codes).max() <= most
  spread = {'gaussian': 1.0, 'truncated': 0.54, 'uniform': 1.0}[kind]
  np.testing.assert_allclose(codes.std(), spread, atol=0.03)


def test_spec_survives_json():
  spec = json.loads(json.dumps(_FORMATION.spec))
  assert formations.build(spec).spec == _FORMATION.spec
  assert formations.decoded_count(spec, 7) == 7


def test_half_precision_loses_nothing_once_projected(params):
  halves = formations.codebook(3, _SHAPE, stored='float16', **_OPTIONS)
  projected = halves.project(params)
  stored = formations.as_stored(halves, params)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(stored)} == {'float16'}
  images = _DECODE(stored).images
  np.testing.assert_array_equal(images, _DECODE(projected).images)
  np.testing.assert_allclose(images, _DECODE(params).images, atol=5e-3)
  assert np.any(images != _DECODE(params).images)
  tiny.assert_trees_equal(halves.project(projected), projected)


@pytest.mark.parametrize(
  'spec', [{'name': 'distribution'}, {'name': 'gradient', 'tensors': 'all'}]
)
def test_any_objective_reaches_the_codes(params, spec):
  network = tiny.linear_network(_SHAPE)
  rng = np.random.default_rng(2)
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 5, 3))
  real = Batch(jnp.asarray(rng.uniform(size=(3, 5, *_SHAPE))), labels)

  def loss(params):
    return dcjax.match(
      network,
      network.init(tiny.KEY),
      real,
      _FORMATION.decode(params),
      tiny.KEY,
      objective=objectives.build(spec),
    )[0]

  step = jax.jit(jax.value_and_grad(loss))
  value, gradient = step(params)
  length = np.sqrt(sum(np.sum(g**2) for g in jax.tree.leaves(gradient)))
  moved = jax.tree.map(lambda p, g: p - 0.01 / length * g, params, gradient)
  assert np.any(gradient['codes'])
  assert step(moved)[0] < value


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'width': 0}, 'width is 0; it must be an integer >= 1'),
    ({'num_classes': 2.5}, 'num_classes is 2.5'),
    ({'image_shape': (8, 8)}, r'image_shape is \(8, 8\); it must be \(H, W'),
    ({'stored': 'int8'}, "stored 'int8': must be one of .*float16"),
    ({'value_range': (None, 1.0)}, 'a codebook needs two numbers'),
  ],
)
def test_bad_options(options, message):
  spec = {'name': 'codebook', 'num_classes': 3, 'image_shape': _SHAPE}
  with pytest.raises(ValueError, match=message):
    formations.build({**spec, **options})


def test_bad_params(params):
  with pytest.raises(ValueError, match=r'codebook of 3 classes .* needs'):
    _FORMATION.init(tiny.KEY, jnp.zeros([2, 4, *_SHAPE]))
  with pytest.raises(ValueError, match=r'codes 7 numbers; must be .* and 5'):
    _FORMATION.decode({**params, 'codes': jnp.zeros((4, 7))})
  with pytest.raises(ValueError, match=r'must be \[C, F\] = \(3, 6\)'):
    formations.with_embeddings(_FORMATION, params, jnp.zeros((3, 5)))
  with pytest.raises(ValueError, match="codes 'normal': must be one of"):
    formations.draw_codes(tiny.KEY, (2, 2), 'normal')


def _artefact(params, **changes):
  spec = changes.pop('spec', _FORMATION.spec)
  return artefact.Artefact(
    params=params,
    spec=spec,
    mean=(0.5,),
    std=(0.25,),
    class_names=('a', 'b', 'c'),
    **changes,
  )


_WIDE = formations.codebook(3, (14, 12, 1), codes_dim=9, width=32)


def _wide():
  """A generator wide enough that the order of its sums shows."""
  rng = np.random.default_rng(3)
  blank = jax.ShapeDtypeStruct((3, 5, 14, 12, 1), np.float32)
  shapes = jax.eval_shape(_WIDE.init, tiny.KEY, blank)

  def drawn(path, leaf):
    if path[-1].key == 'var':
      return rng.uniform(0.5, 2, leaf.shape).astype(np.float32)
    return rng.normal(scale=0.3, size=leaf.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(drawn, shapes)


def _decoder():
  """The published decoder as a module."""
  found = importlib.util.spec_from_file_location('d', _DECODER)
  module = importlib.util.module_from_spec(found)
  found.loader.exec_module(module)
  return module


def _stored(formation, params, path):
  """What was saved, and what a reader with NumPy alone makes of the file."""
  kept = _artefact(formations.as_stored(formation, params), spec=formation.spec)
  artefact.save(path, kept)
  images, _, text = _decoder().read(path)
  return kept, text, images


@pytest.mark.parametrize('stored', ['float32', 'float16'])
def test_a_file_decodes_to_the_same_bytes_by_every_view(
  params, tmp_path, stored
):
  formation = formations.codebook(3, (7, 6, 1), stored=stored, **_OPTIONS)
  path = tmp_path / 'condensed.npz'
  kept, text, images = _stored(formation, params, path)
  assert images.shape == (3, 4, 7, 6, 1) and images.dtype == np.float32
  assert kept.params['codes'].dtype == stored
  assert 'decoded_sha256' in text['how_to_decode']
  loaded = dcjax.load(path)
  assert loaded.decoded_sha256 == hashlib.sha256(images.tobytes()).hexdigest()
  found, labels = loaded.numpy()
  np.testing.assert_array_equal(labels, np.repeat(np.arange(3), 4))
  for again in (found, kept.numpy()[0], loaded.jax().images):
    assert np.asarray(again).tobytes() == images.tobytes()
  batch = loaded.batch()
  assert np.asarray(batch.images).tobytes() == images.tobytes()
  decoded = jax.jit(formation.decode)(kept.params)
  np.testing.assert_allclose(images, decoded.images, atol=2**-14)
  np.testing.assert_array_equal(batch.labels, decoded.labels)
  artefact.save(tmp_path / 'again.npz', loaded)
  assert (tmp_path / 'again.npz').read_bytes() == path.read_bytes()


_OTHER_MACHINE = """
import hashlib, pathlib, sys

path = sys.argv[1]
sys.path.insert(0, sys.argv[2])
import decoder

print(hashlib.sha256(decoder.read(path)[0].tobytes()).hexdigest())
import dcjax
print(hashlib.sha256(dcjax.load(path).numpy()[0].tobytes()).hexdigest())
"""


def test_a_file_decodes_to_the_same_bytes_on_another_kind_of_machine(tmp_path):
  path = tmp_path / 'condensed.npz'
  _, text, images = _stored(_WIDE, _wide(), path)
  assert images.std() > 0.1
  found = np.show_config(mode='dicts')['SIMD Extensions'].get('found', [])
  flags = os.environ.get('XLA_FLAGS', '')
  other = {
    'OPENBLAS_NUM_THREADS': '1',
    'OPENBLAS_CORETYPE': 'Prescott',
    'NPY_DISABLE_CPU_FEATURES': ' '.join(found),
    'XLA_FLAGS': f'{flags} --xla_cpu_max_isa=SSE4_2',
  }
  done = subprocess.run(
    [
      *(sys.executable, '-W', 'ignore', '-c', _OTHER_MACHINE),
      *(str(path), str(_DECODER.parent)),
    ],
    env={**os.environ, **other},
    capture_output=True,
    text=True,
    check=True,
  )
  digest, loaded = done.stdout.split()
  assert digest == loaded == text['decoded_sha256']


def test_sums_of_a_convolution_do_not_depend_on_their_order():
  flat = {'params/' + k: v for k, v in flatten_dict(_wide(), sep='/').items()}
  size = (14, 12, 0.0, 1.0)
  expected = _codebook_numpy.generate(flat, *size)
  order = np.random.default_rng(4).permutation(32)
  moved = dict(flat)
  for name in ('conv0_0', 'norm0_0', 'conv0_1'):
    for kind in ('generator', 'statistics'):
      for leaf in ('kernel', 'bias', 'scale', 'mean', 'var'):
        path = f'params/{kind}/{name}/{leaf}'
        if path in flat and name != 'conv0_1':
          moved[path] = flat[path][..., order]
  kernel = 'params/generator/conv0_1/kernel'
  moved[kernel] = flat[kernel][:, :, order]
  found = _codebook_numpy.generate(moved, *size)
  assert found.tobytes() == expected.tobytes()


def test_bytes_of_an_image_do_not_depend_on_the_others(monkeypatch):
  params = _wide()
  whole = formations.decode_exactly(_WIDE, params)
  few = {**params, 'codes': params['codes'][[3, 1]]}
  monkeypatch.setattr(_codebook_numpy, '_PIXELS', 512)
  found = formations.decode_exactly(_WIDE, few)
  assert found.tobytes() == whole[:, [3, 1]].tobytes()


def test_tanh_is_that_of_numpy():
  x = np.linspace(-30, 30, 10001)
  np.testing.assert_allclose(
    _codebook_numpy._tanh(x), np.tanh(x), rtol=3e-15, atol=0
  )


def test_other_images_than_those_saved_are_reported(params, tmp_path):
  path, changed = tmp_path / 'condensed.npz', tmp_path / 'changed.npz'
  artefact.save(path, _artefact(params))
  with np.load(path) as file:
    entries = dict(file)
  entries['params/codes'] = entries['params/codes'] + np.float32(0.1)
  np.savez(changed, **entries)
  loaded = dcjax.load(changed)
  for view in (loaded.numpy, loaded.batch, loaded.jax):
    with pytest.raises(artefact.ArtefactError, match=r'SHA-256 .* saved they'):
      view()
  meta = json.loads(entries['meta'].tobytes())
  for digest, message in ((None, None), ('abc', '64 hexadecimal digits')):
    text = json.dumps({**meta, 'decoded_sha256': digest}).encode()
    np.savez(changed, **entries | {'meta': np.frombuffer(text, np.uint8)})
    if message is None:  # as files of earlier releases
      assert dcjax.load(changed).numpy()[0].shape == (12, *_SHAPE)
    else:
      with pytest.raises(artefact.ArtefactError, match=message):
        dcjax.load(changed)


def test_a_changed_artefact_is_not_held_to_the_old_digest(params, tmp_path):
  path = tmp_path / 'condensed.npz'
  artefact.save(path, _artefact(params))
  loaded = dcjax.load(path)
  codes = {**loaded.params, 'codes': loaded.params['codes'][:2]}
  fewer = dataclasses.replace(loaded, params=codes)
  assert fewer.decoded_sha256 is None
  images = loaded.batch().images
  np.testing.assert_array_equal(fewer.batch().images, images[:, :2])


def test_plain_export_holds_the_decoded_images(params, tmp_path):
  kept = _artefact(params, labels=np.full((3, 4, 3), 1 / 3))
  plain = artefact.export_plain(kept)
  artefact.save(tmp_path / 'plain.npz', plain)
  loaded = dcjax.load(tmp_path / 'plain.npz')
  assert loaded.spec['name'] == 'identity'
  assert loaded.provenance['decoded_from']['name'] == 'codebook'
  images, labels = loaded.numpy(normalised=True)
  for got, wanted in zip(
    (images, labels), kept.numpy(normalised=True), strict=True
  ):
    assert got.tobytes() == wanted.tobytes()
  assert artefact.export_plain(_artefact(params)).labels is None


def test_storage_counts_every_part(params):
  sizes = artefact.storage(_artefact(params))
  assert sizes['images']['numbers'] == 0
  assert sizes['codes']['numbers'] == 4 * 5
  assert sizes['embeddings']['numbers'] == 3 * 6
  counted = artefact.codebook_bytes(_FORMATION.spec, 4)
  assert sizes['decoder']['float32_bytes'] == counted['generator']
  assert sizes['total']['float32_bytes'] == counted['total']
  halves = {**_FORMATION.spec, 'stored': 'float16'}
  assert artefact.codebook_bytes(halves, 4)['total'] == counted['total'] / 2


@pytest.mark.parametrize(
  ('classes', 'size', 'ipc', 'expected'),
  [
    # Megabytes of pixels (float32, 8 bit), codes, embeddings, total.
    (10, 32, 10, (1.23, 0.31, 0.005, 0.005, 5.7)),
    (10, 32, 50, (6.1, 1.5, 0.026, 0.005, 5.7)),
    (100, 32, 10, (12.3, 3.1, 0.005, 0.051, 5.7)),
    (100, 32, 50, (61, 15, 0.026, 0.051, 5.8)),
    (1000, 64, 10, (492, 123, 0.005, 0.5, 7.4)),
    (1000, 64, 50, (2458, 614, 0.026, 0.5, 7.4)),
  ],
)
def test_bytes_beside_those_of_the_images(classes, size, ipc, expected):
  formation = formations.codebook(classes, (size, size, 3), embedding_dim=128)
  found = artefact.codebook_bytes(formation.spec, ipc)
  names = ('pixels_float32', 'pixels_uint8', 'codes', 'embeddings', 'total')
  measured = [found[name] / 1e6 for name in names]
  np.testing.assert_allclose(measured, expected, rtol=0.04)


def test_break_even():
  formation = formations.codebook(10, (32, 32, 3), embedding_dim=128)
  found = artefact.codebook_bytes(formation.spec, 10)
  np.testing.assert_allclose(found['break_even_float32'], 47, rtol=0.02)
  np.testing.assert_allclose(found['break_even_uint8'], 186, rtol=0.03)
  at_even = artefact.codebook_bytes(formation.spec, 47)
  assert at_even['total'] == pytest.approx(at_even['pixels_float32'], rel=0.02)
  with pytest.raises(ValueError, match="'identity': must be 'codebook'"):
    artefact.codebook_bytes({'name': 'identity'}, 1)
