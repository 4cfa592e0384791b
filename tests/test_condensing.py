"""Periods of condensation: states, steps, batches, networks, formations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from dcjax import (
  condensing,
  formations,
  inner,
  matching,
  methods,
  networks,
  objectives,
  optimizers,
  training,
)
from dcjax.base import Batch, Objective
from dcjax.condensing import Source

_COUNTS = (9, 9, 9)
_KEY = jax.random.key(0)
_LINEAR = tiny.linear_network()
_ALL = objectives.gradient_matching(tensors='all')
_INNER_SGD = optimizers.sgd(0.1, momentum=0.9)


def _inner_data(counts=_COUNTS, shape=tiny.SHAPE, pool=None):
  return inner.InnerData(tiny.device_data(counts, shape), pool)


def _train_on_real(counts=_COUNTS, **options):
  options = {'batch_size': 4, 'num_batches': 1, **options}
  return inner.train_on_real(
    _LINEAR,
    _INNER_SGD,
    num_images=sum(counts),
    num_classes=len(counts),
    **options,
  )


def _condenser(counts=_COUNTS, **options):
  """A linear network, SGD of rate 1, the stored images themselves."""
  defaults = {
    'formation': formations.identity(value_range=(None, None)),
    'objective': _ALL,
    'source': condensing.real_batches(np.array(counts), 4),
    'inner': _train_on_real(counts),
    'optimizer': optax.sgd(1.0),
    'inner_steps': 1,
  }
  return condensing.condenser(_LINEAR, **{**defaults, **options})


def _period(condenser, images, data=None, key=_KEY):
  """State and metrics after one period from stored images."""
  data = data or _inner_data()
  state = condenser.init(jax.random.key(1), {'images': images}, data)
  return jax.jit(condenser.period)(key, state, data)


# IDC with a ConvNet.


@pytest.fixture(scope='module')
def idc():
  """Condenser, data, start state, and four periods `[(state, metrics)]`."""
  shape = (8, 8, 1)
  condenser = methods.idc(
    networks.convnet(shape, 3, depth=2, width=4),
    formations.uniform(2),
    np.array(_COUNTS),
    learning_rate=0.02,
    inner_steps=6,
    batch_real=4,
    most_synthetic=3,
    network_batches=1,
    network_batch_size=8,
  )
  data = _inner_data(shape=shape)
  params = {'images': tiny.stored(1, shape=shape)}
  start = condenser.init(jax.random.key(1), params, data)
  period = jax.jit(condenser.period)
  states, state = [], start
  for _ in range(4):
    state, metrics = period(_KEY, state, data)
    states.append((state, metrics))
  return period, data, start, states


def test_loss_falls(idc):
  losses = [metrics['loss'].mean() for _, metrics in idc[3]]
  assert losses[-1] < 0.7 * losses[0]


def test_state_keeps_its_structure(idc):
  _, _, start, periods = idc
  for number, (state, _) in enumerate(periods, 1):
    assert jax.tree.structure(state) == jax.tree.structure(start)
    jax.tree.map(
      lambda new, old: (
        np.testing.assert_equal((new.shape, new.dtype), (old.shape, old.dtype))
      ),
      state,
      start,
    )
    assert state.step == 6 * number
    assert state.inner.train.step == 6


def test_metrics_have_an_entry_for_each_step(idc):
  for _, metrics in idc[3]:
    assert set(metrics) == {'loss', 'network_loss'}
    for values in metrics.values():
      assert values.shape == (6,)
      assert np.isfinite(values).all()


def test_networks_are_new_in_every_period(idc):
  first, second = (
    state.inner.variables.params['conv0']['kernel'] for state, _ in idc[3][:2]
  )
  assert np.abs(first - second).max() > 0.05


def test_a_saved_state_goes_on_bit_for_bit(idc):
  period, data, _, states = idc
  saved = jax.tree.map(np.array, states[0][0])
  state, metrics = period(_KEY, jax.tree.map(jnp.asarray, saved), data)
  tiny.assert_trees_equal((state, metrics), states[1])


def test_another_key_gives_another_run(idc):
  period, data, start, states = idc
  state, _ = period(jax.random.key(3), start, data)
  assert (state.params['images'] != states[0][0].params['images']).any()


def test_idc_sweeps_with_momentum(idc):
  """The optimiser's state is one velocity shaped like the stored images."""
  _, _, start, states = idc
  assert jax.tree.structure(start.opt_state) == jax.tree.structure(
    start.params
  )
  assert not start.opt_state['images'].any()
  velocity = states[0][0].opt_state['images']
  # Class 0 has decayed twice since its step, class 2 not at all.
  sizes = np.abs(velocity).max((1, 2, 3, 4))
  assert sizes.min() > 0


def _idc_optimizer_state(**options):
  condenser = methods.idc(
    _LINEAR,
    formations.identity(),
    np.array(_COUNTS),
    learning_rate=0.1,
    network_batch_size=4,
    **options,
  )
  params = {'images': tiny.stored(1)}
  return condenser.init(_KEY, params, _inner_data()).opt_state


def test_idc_optimizers():
  params = {'images': tiny.stored(1)}
  for options, expected in (
    ({}, optimizers.sweep_sgd(0.1)),
    ({'sweep': False}, optimizers.sgd(0.1, momentum=0.5)),
    ({'optimizer': optax.adam(0.1)}, optax.adam(0.1)),
  ):
    state = _idc_optimizer_state(**options)
    assert jax.tree.structure(state) == jax.tree.structure(
      expected.init(params)
    )


# Steps of the stored numbers.


def _constant(target):
  return Source(lambda key: (), lambda key, state, data: (state, target))


def _frozen(variables):
  """An inner loop with one network that never changes."""
  return inner.InnerLoop(
    lambda key, data: inner.InnerState(
      training.start_from(variables, _INNER_SGD), ()
    ),
    lambda key, state, data: state,
    lambda key, state, data, synthetic: (state, {}),
  )


def test_momentum_sweep_equals_one_class_after_another():
  data = tiny.device_data(_COUNTS)
  positions = jnp.tile(jnp.arange(4), (3, 1))
  target = condensing.sampling.class_batch(data, positions, None, 3)
  variables = _LINEAR.init(jax.random.key(4))
  images = tiny.stored(2)
  condenser = _condenser(
    source=_constant(target),
    inner=_frozen(variables),
    optimizer=optimizers.sweep_sgd(0.5, 0.5),
    inner_steps=4,
  )
  state, _ = _period(condenser, images)

  @jax.jit
  def gradient(images):
    labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 2, 3))
    return matching.match_and_gradient(
      _LINEAR, variables, target, Batch(images, labels), _KEY, objective=_ALL
    )[1].images

  reference = np.array(images)
  velocity = np.zeros_like(reference)
  for step in range(4 * 3):
    turn = np.arange(3)[:, None, None, None, None] == step % 3
    velocity = 0.5 * velocity + turn * np.asarray(gradient(reference))
    reference = reference - 0.5 * velocity
  assert np.abs(reference - images).max() > 0.1
  np.testing.assert_allclose(state.params['images'], reference, atol=1e-4)


def test_projection_at_the_start_of_a_period():
  beyond = 4 * tiny.stored(2) - 1.5
  still = _condenser(
    formation=formations.identity(), optimizer=optax.sgd(0.0), inner_steps=2
  )
  state, _ = _period(still, beyond)
  np.testing.assert_array_equal(state.params['images'], beyond.clip(0, 1))


@pytest.mark.parametrize('every_step', [False, True])
def test_projection_after_every_step(every_step):
  condenser = _condenser(
    formation=formations.identity(),
    optimizer=optax.sgd(1000.0),
    project_every_step=every_step,
  )
  images = _period(condenser, tiny.stored(2))[0].params['images']
  inside = bool(images.min() >= 0 and images.max() <= 1)
  assert inside == every_step


def test_subsample():
  images = jnp.arange(3 * 5.0).reshape(3, 5, 1, 1, 1)
  labels = jnp.broadcast_to(images[:, :, 0, 0], (3, 5, 1))
  batch = Batch(images, labels)
  assert condensing.subsample(_KEY, batch, 5) is batch
  draws = []
  for seed in range(20):
    part = condensing.subsample(jax.random.key(seed), batch, 2)
    assert part.images.shape == (3, 2, 1, 1, 1)
    np.testing.assert_array_equal(part.images[..., 0, 0], part.labels)
    values = np.asarray(part.labels[..., 0])
    assert (values[:, 0] != values[:, 1]).all()
    np.testing.assert_array_equal(values // 5, [[0, 0], [1, 1], [2, 2]])
    draws.append(values % 5)
  assert {v for draw in draws for v in draw.ravel()} == set(range(5))
  # Classes draw on their own.
  assert any((draw[0] != draw[1]).any() for draw in draws)


def test_images_out_of_the_subsample_get_no_gradient():
  sizes = []

  def spy(network, variables, target, synthetic, key):
    sizes.append(synthetic.images.shape[0])
    return _ALL.loss(network, variables, target, synthetic, key)

  images = tiny.stored(4)
  condenser = _condenser(
    objective=Objective(spy),
    optimizer=optimizers.sweep_sgd(1.0, 0.0),
    most_synthetic=1,
  )
  state, _ = _period(condenser, images)
  assert set(sizes) == {1}
  moved = (state.params['images'] != images).any((2, 3, 4))
  np.testing.assert_array_equal(moved.sum(1), [1, 1, 1])
  assert (state.params['images'] == images).all((2, 3, 4)).sum() == 9


def test_the_whole_is_compared_if_it_fits():
  images = tiny.stored(4)
  condenser = _condenser(most_synthetic=4)
  moved = (_period(condenser, images)[0].params['images'] != images).any(
    (2, 3, 4)
  )
  assert moved.all()


# Targets.


def test_real_batches_walk_every_class():
  data = _inner_data()
  source = condensing.real_batches(np.array(_COUNTS), 4)
  state = source.init(_KEY)
  seen = []
  for step in range(2):
    state, batch = source.next(jax.random.key(step), state, data)
    assert batch.images.shape == (3, 4, *tiny.SHAPE)
    assert batch.weights is None
    seen.append(np.asarray(batch.images))
  own = np.asarray(data.real.images).reshape(3, 9, -1)
  for label, images in enumerate(np.concatenate(seen, 1).reshape(3, 8, -1)):
    matches = (images[:, None] == own[label]).all(-1)
    np.testing.assert_array_equal(matches.sum(1), np.ones(8))
    assert matches.sum(0).max() == 1


def test_real_batches_of_unbalanced_classes():
  counts = (2, 9, 4)
  data = _inner_data(counts)
  source = condensing.real_batches(np.array(counts), 4)
  _, batch = source.next(_KEY, source.init(_KEY), data)
  np.testing.assert_array_equal(
    batch.weights, [[1, 1, 0, 0], [1] * 4, [1] * 4]
  )
  real = np.asarray(data.real.images[:2])
  first = np.asarray(batch.images[0, :2])
  assert (first == real).all() or (first == real[::-1]).all()


def test_a_period_with_unbalanced_classes():
  counts = (2, 9, 4)
  condenser = _condenser(counts, inner_steps=2)
  state, metrics = _period(condenser, tiny.stored(2), _inner_data(counts))
  assert np.isfinite(state.params['images']).all()
  assert np.isfinite(metrics['loss']).all()


# Networks.


@pytest.fixture(scope='module')
def pool():
  return jax.vmap(_LINEAR.init)(jax.random.split(jax.random.key(8), 3))


def _members(pool, variables):
  """Which networks of the pool have these numbers."""
  return (pool.params['weight'] == variables.params['weight']).all((1, 2))


def test_pool_of_networks(pool):
  data = _inner_data(pool=pool)
  loop = _train_on_real()
  state = loop.init(_KEY, data)
  reset = jax.jit(loop.reset)
  drawn = set()
  for seed in range(12):
    new = reset(jax.random.key(seed), state, data)
    members = np.asarray(_members(pool, new.variables))
    assert members.sum() == 1
    drawn.add(int(members.argmax()))
    assert new.train.step == 0
  assert drawn == {0, 1, 2}
  assert not _members(pool, loop.reset(_KEY, state, _inner_data()).variables).any()


def test_early_training(pool):
  data = _inner_data(pool=pool)
  loop = _train_on_real(early_batches=5)
  state = loop.init(_KEY, data)
  early = loop.reset(_KEY, state, data)
  assert early.train.step == 5
  assert not _members(pool, early.variables).any()
  # The walk through the data has gone on, and goes on from there.
  assert early.source.cursor[0] == 20
  again = loop.reset(jax.random.key(1), early, data)
  assert again.train.step == 5
  assert again.source.cursor[0] == 4 * 4


def test_networks_learn_between_steps():
  data = _inner_data()
  loop = _train_on_real(num_batches=60, batch_size=9)
  state = loop.reset(_KEY, loop.init(_KEY, data), data)
  assert state.train.step == 0
  state, first = loop.update(_KEY, state, data, None)
  state, second = loop.update(_KEY, state, data, None)
  assert state.train.step == 120
  assert second['loss'] < 0.6 * first['loss']


def test_a_period_with_a_pool_and_early_training(pool):
  condenser = _condenser(
    inner=_train_on_real(early_batches=2, num_batches=3), inner_steps=2
  )
  state, _ = _period(condenser, tiny.stored(2), _inner_data(pool=pool))
  assert state.inner.train.step == 2 + 2 * 3


def test_inner_loops_see_the_stepped_images():
  loop = _frozen(_LINEAR.init(_KEY))

  def update(key, state, data, synthetic):
    return state, {'seen': synthetic.images}

  condenser = _condenser(inner=loop._replace(update=update), inner_steps=2)
  state, metrics = _period(condenser, tiny.stored(2))
  seen = metrics['network_seen']
  np.testing.assert_array_equal(seen[1], state.params['images'])
  assert (seen[0] != seen[1]).any()


def test_no_two_keys_of_a_period_agree():
  """The network's key differs from those of the steps that follow."""
  loop = _frozen(_LINEAR.init(_KEY))

  def reset(key, state, data):
    return state._replace(source=jax.random.key_data(key))

  def update(key, state, data, synthetic):
    keys = {'step': jax.random.key_data(key), 'network': state.source}
    return state, keys

  def init(key, data):
    return reset(key, loop.init(key, data), data)

  condenser = _condenser(
    inner=inner.InnerLoop(init, reset, update), inner_steps=3
  )
  _, metrics = _period(condenser, tiny.stored(2))
  keys = [tuple(k) for k in np.asarray(metrics['network_step'])]
  keys.append(tuple(np.asarray(metrics['network_network'][0])))
  assert len(set(keys)) == 4


# Formations.


@pytest.mark.parametrize(
  'formation',
  [
    formations.learnable(2, features=2, shrink=2),
    formations.multiscale(2),
    formations.time_axis(2),
    formations.bound(2, 5),
  ],
  ids=lambda formation: formation.spec['name'],
)
def test_works_with_every_formation(formation):
  data = _inner_data()
  params = formation.init(jax.random.key(2), tiny.stored(2))
  optimizer = (
    optax.adam(0.05)
    if 'decoder' in params
    else optimizers.sweep_sgd(0.5, 0.5)
  )
  condenser = _condenser(
    formation=formation, optimizer=optimizer, inner_steps=3
  )
  start = condenser.init(jax.random.key(1), params, data)
  state, metrics = jax.jit(condenser.period)(_KEY, start, data)
  assert jax.tree.structure(state.params) == jax.tree.structure(params)
  assert np.isfinite(metrics['loss']).all()
  assert np.abs(state.params['images'] - params['images']).max() > 1e-3
  if 'decoder' in params:
    changed = jax.tree.map(
      lambda new, old: bool((new != old).any()), state.params, params
    )
    assert any(jax.tree.leaves(changed['decoder']))


# IDC's learning rate.


def test_learning_rate_multiplier(golden):
  data = golden('lr_img_rule')
  native = {'mnist': 28, 'fashion': 28, 'speech': 64, 'imagenet': 224}
  base = {'mnist': 28, 'speech': 64, 'imagenet': 224}
  for index, ipc, expected in data['dataset_ipc_multiplier']:
    name = str(data['dataset_names'][int(index)])
    found = methods.learning_rate_multiplier(
      int(ipc), native.get(name, 32), base.get(name, 32)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12, err_msg=name)
