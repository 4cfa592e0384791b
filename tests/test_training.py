"""The training loop: pieces, weights, order of augmentation, batches."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import torch_layout

from dcjax import networks, optimizers, training
from dcjax.base import Batch, Variables
from dcjax.data import sampling

_COUNTS = (20, 20, 20)
_NETWORK = tiny.linear_network()
_OPTIMIZER = optimizers.sgd(0.1, momentum=0.9, weight_decay=1e-3)
_WALK = sampling.shuffler(60, 16)


def _noise(key, images):
  return images + 0.1 * jax.random.normal(key, images.shape)


@pytest.fixture(scope='module')
def data():
  return tiny.device_data(_COUNTS)


@jax.jit
def _fit(data, state, source, num_steps, key):
  def draw(key, source):
    whole = jnp.asarray([60], jnp.int32)
    source, positions, _ = _WALK.next(key, whole, source)
    return source, sampling.mixed_batch(data, positions[0], None, 3)

  return training.fit(
    _NETWORK,
    _OPTIMIZER,
    state,
    source,
    training.augmenting(draw, _noise),
    num_steps,
    key,
  )


def _start():
  state = training.start(_NETWORK, _OPTIMIZER, jax.random.key(0))
  return state, _WALK.init(jax.random.key(1), jnp.asarray([60], jnp.int32))


def test_pieces_equal_the_whole(data):
  key = jax.random.key(2)
  *whole, whole_metrics = _fit(data, *_start(), 11, key)
  *part, first = _fit(data, *_start(), 4, key)
  *pieces, second = _fit(data, *part, 7, key)
  tiny.assert_trees_equal(pieces, whole)
  assert whole[0].step == 11
  mean = (4 * first['loss'] + 7 * second['loss']) / 11
  np.testing.assert_allclose(whole_metrics['loss'], mean, rtol=1e-5)
  *other, _ = _fit(data, *_start(), 11, jax.random.key(3))
  assert (
    other[0].variables.params['weight'] != whole[0].variables.params['weight']
  ).any()


def test_every_step_has_its_own_key(data):
  batch = sampling.mixed_batch(data, jnp.arange(4), None, 3)

  def draw(key, source):
    count, keys = source
    keys = keys.at[count].set(jax.random.key_data(key))
    return (count + 1, keys), batch

  _, (_, keys), _ = training.fit(
    _NETWORK,
    _OPTIMIZER,
    _start()[0],
    (0, jnp.zeros((5, 2), jnp.uint32)),
    draw,
    5,
    jax.random.key(0),
  )
  assert len(np.unique(keys, axis=0)) == 5


def test_no_steps_change_nothing(data):
  *after, metrics = _fit(data, *_start(), 0, jax.random.key(2))
  tiny.assert_trees_equal(after, list(_start()))
  assert metrics['loss'] == 0


def test_learns(data):
  images, labels = tiny.images_and_labels((30, 30, 30), seed=7)

  def accuracy(state):
    logits = _NETWORK.apply(state.variables, images, False)[0].logits
    return np.mean(np.asarray(logits).argmax(-1) == labels)

  state, source = _start()
  assert accuracy(state) < 0.7
  state, _, _ = _fit(data, state, source, 100, jax.random.key(2))
  assert accuracy(state) > 0.95


def test_one_step_by_hand(data):
  """Mean cross-entropy of a linear network, decay, then the rate."""
  state, _ = _start()
  batch = sampling.mixed_batch(data, jnp.array([0, 25, 50, 59]), None, 3)
  after, metrics = training.train_step(_NETWORK, _OPTIMIZER, state, batch)
  weight = np.asarray(state.variables.params['weight'], np.float64)
  flat = np.asarray(batch.images, np.float64).reshape(4, -1)
  logits = flat @ weight
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  labels = np.asarray(batch.labels)
  gradient = flat.T @ (probabilities - labels) / 4 + 1e-3 * weight
  np.testing.assert_allclose(
    after.variables.params['weight'], weight - 0.1 * gradient, atol=1e-6
  )
  loss = -np.log((probabilities * labels).sum(1)).mean()
  np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-5)
  assert after.step == 1


def test_padding_does_not_count(data):
  state, _ = _start()
  batch = sampling.mixed_batch(data, jnp.array([0, 25, 50]), None, 3)
  padded = Batch(
    jnp.concatenate([batch.images, 9 * batch.images[:1]]),
    jnp.concatenate([batch.labels, batch.labels[1:2]]),
    jnp.array([1.0, 1.0, 1.0, 0.0]),
  )
  step = functools.partial(training.train_step, _NETWORK, _OPTIMIZER, state)
  (expected, expected_loss), (found, loss) = step(batch), step(padded)
  np.testing.assert_allclose(loss['loss'], expected_loss['loss'], rtol=1e-6)
  np.testing.assert_allclose(
    found.variables.params['weight'],
    expected.variables.params['weight'],
    atol=1e-7,
  )


def test_mix_comes_after_augmentation(data):
  batch = sampling.mixed_batch(data, jnp.array([0, 25, 50]), None, 3)
  weights = jnp.array([1.0, 1.0, 0.0])
  seen = {}

  def mix(key, images, labels, weights):
    seen.update(images=images, weights=weights, key=key)
    return images[::-1], labels[::-1]

  def brighten(key, images):
    seen['augment_key'] = key
    return images + 1

  batch = batch._replace(weights=weights)
  found = training.augmented(jax.random.key(0), batch, brighten, mix)
  np.testing.assert_array_equal(seen['images'], batch.images + 1)
  assert seen['weights'] is weights
  assert seen['key'] != seen['augment_key']
  expected = Batch(batch.images[::-1] + 1, batch.labels[::-1], weights)
  tiny.assert_trees_equal(found, expected)


def test_running_statistics_are_tracked(data):
  """`state` comes from `apply` with train on; gradients leave it alone."""

  def apply(variables, images, train):
    outputs, _ = _NETWORK.apply(variables, images, train)
    return outputs, {'mean': images.mean()} if train else variables.state

  network = _NETWORK._replace(apply=apply)
  variables = Variables(
    _NETWORK.init(jax.random.key(0)).params, {'mean': jnp.zeros(())}
  )
  batch = sampling.mixed_batch(data, jnp.arange(5), None, 3)
  after, _ = training.train_step(
    network,
    _OPTIMIZER,
    training.start_from(variables, _OPTIMIZER),
    batch,
  )
  np.testing.assert_allclose(
    after.variables.state['mean'], batch.images.mean(), rtol=1e-6
  )


@pytest.mark.parametrize(('count', 'batch_size'), [(7, 3), (6, 3), (2, 5)])
def test_in_batches(count, batch_size):
  images = np.random.default_rng(0).uniform(size=(count, 2, 2, 1))
  images = jnp.asarray(images, jnp.float32)
  sizes = []

  def function(batch):
    sizes.append(batch.shape[0])
    return {'sum': batch.sum((1, 2, 3)), 'twice': 2 * batch}

  result = training.in_batches(function, images, batch_size)
  assert set(sizes) == {min(count, batch_size)}
  np.testing.assert_array_equal(result['twice'], 2 * images)
  np.testing.assert_allclose(
    result['sum'], np.asarray(images).sum((1, 2, 3)), rtol=1e-6
  )


def _convnet_of(file, prefix, norm):
  """The `Variables` of a ConvNet-2 of width 4 in the golden file."""

  def layer(name, shape=None):
    arrays = {n: file[f'{prefix}/{name}/{n}'] for n in ('weight', 'bias')}
    if arrays['weight'].ndim == 3:  # layer norm: one number for each pixel
      moved = {n: np.moveaxis(array, 0, -1) for n, array in arrays.items()}
      return {'scale': moved['weight'], 'bias': moved['bias']}
    if arrays['weight'].ndim == 1:
      return {'scale': arrays['weight'], 'bias': arrays['bias']}
    kernel = torch_layout.weight(arrays['weight'], shape)
    return {'kernel': kernel, 'bias': arrays['bias']}

  params = {'classifier': layer('head', (4, 2, 2))}
  for block in (0, 1):
    params[f'conv{block}'] = layer(f'conv{block}')
    if norm != 'none':
      params[f'norm{block}'] = layer(f'norm{block}')
  return jax.tree.map(lambda x: jnp.asarray(x, float), params)


@pytest.mark.parametrize(
  'norm', ['instance', 'batch', 'layer', 'group', 'none']
)
def test_fifteen_steps_are_pytorchs(golden, norm):
  """`golden/sgd_15_steps.npz`: torch 2.14 in float64, rate 0.01, decay 5e-4.

  Images and labels are drawn, and weights start as torch draws them, float32.
  """
  file = golden('sgd_15_steps')
  optimizer = optimizers.sgd(0.01, momentum=0.9, weight_decay=5e-4)
  with jax.enable_x64(True):
    network = networks.convnet((8, 8, 3), 3, width=4, depth=2, norm=norm)
    fresh = network.init(jax.random.key(0))
    params = _convnet_of(file, f'{norm}/start', norm)
    chex.assert_trees_all_equal_shapes(fresh.params, params)
    tracked = jax.tree.map(lambda x: jnp.asarray(x, float), fresh.state)
    state = training.start_from(Variables(params, tracked), optimizer)
    images = jnp.moveaxis(jnp.asarray(file['x'], float), 2, -1)
    batches = Batch(images, jax.nn.one_hot(file['y'], 3, dtype=float))

    def step(state, batch):
      state, metrics = training.train_step(network, optimizer, state, batch)
      return state, metrics['loss']

    state, losses = jax.jit(lambda s: jax.lax.scan(step, s, batches))(state)
    np.testing.assert_allclose(losses, file[f'{norm}/losses'], rtol=1e-12)
    chex.assert_trees_all_close(
      state.variables.params,
      _convnet_of(file, f'{norm}/end', norm),
      atol=1e-13,
    )
