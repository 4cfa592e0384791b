"""Periods of condensation: states, metrics, image steps, subsampling."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from dcjax import (
  condensing,
  formations,
  matching,
  methods,
  networks,
  optimizers,
)
from dcjax.base import Batch, Objective
from dcjax.condensing import Source
from dcjax.data import sampling


@pytest.fixture(scope='module')
def idc():
  """Compiled period, data, start state, `[(state, metrics)]` of six."""
  shape = (8, 8, 1)
  condenser = methods.idc(
    networks.convnet(shape, 3, depth=2, width=4),
    formations.uniform(2),
    np.array(tiny.COUNTS),
    learning_rate=0.05,
    inner_steps=6,
    batch_real=4,
    most_synthetic=3,
    networks=methods.OnReal(network_batches=1, network_batch_size=8),
  )
  data = tiny.inner_data(shape=shape)
  params = {'images': tiny.stored(1, shape=shape)}
  start = condenser.init(jax.random.key(1), params, data)
  period = jax.jit(condenser.period)
  states, state = [], start
  for _ in range(6):
    state, metrics = period(tiny.KEY, state, data)
    states.append((state, metrics))
  return period, data, start, states


def test_loss_falls(idc):
  """Against the images of the start, with the same networks and targets."""
  period, data, start, states = idc
  trained, untouched = [], []
  for (before, _), (_, metrics) in itertools.pairwise(states):
    control = before._replace(params=start.params, opt_state=start.opt_state)
    trained.append(metrics['loss'].mean())
    untouched.append(period(tiny.KEY, control, data)[1]['loss'].mean())
  assert (np.array(trained) < untouched).all()
  assert np.mean(trained[-3:]) < 0.8 * np.mean(untouched[-3:])


def test_state_keeps_its_structure(idc):
  _, _, start, periods = idc
  for number, (state, _) in enumerate(periods, 1):
    assert jax.tree.structure(state) == jax.tree.structure(start)
    jax.tree.map(
      lambda new, old: np.testing.assert_equal(
        (new.shape, new.dtype), (old.shape, old.dtype)
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
  state, metrics = period(tiny.KEY, jax.tree.map(jnp.asarray, saved), data)
  tiny.assert_trees_equal((state, metrics), states[1])


def test_another_key_gives_another_run(idc):
  period, data, start, states = idc
  state, _ = period(jax.random.key(3), start, data)
  assert (state.params['images'] != states[0][0].params['images']).any()


def test_idc_sweeps_with_momentum(idc):
  """The optimiser's state is one velocity shaped like the stored images."""
  _, _, start, states = idc
  assert jax.tree.structure(start.opt_state) == jax.tree.structure(start.params)
  assert not start.opt_state['images'].any()
  velocity = np.abs(states[0][0].opt_state['images'])
  assert velocity.max((1, 2, 3, 4)).min() > 0


def _idc_optimizer_state(sweep=True, optimizer=None):
  condenser = methods.idc(
    tiny.LINEAR,
    formations.identity(),
    np.array(tiny.COUNTS),
    learning_rate=0.1,
    sweep=sweep,
    networks=methods.OnReal(network_batch_size=4),
    instead=methods.Instead(optimizer=optimizer),
  )
  params = {'images': tiny.stored(1)}
  return condenser.init(tiny.KEY, params, tiny.inner_data()).opt_state


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


def _constant(target):
  return Source(lambda key: (), lambda key, state, data: (state, target))


def test_momentum_sweep_equals_one_class_after_another():
  data = tiny.device_data(tiny.COUNTS)
  positions = jnp.tile(jnp.arange(4), (3, 1))
  target = sampling.class_batch(data, positions, None, 3)
  variables = tiny.LINEAR.init(jax.random.key(4))
  images = tiny.stored(2)
  condenser = tiny.condenser(
    source=_constant(target),
    inner=tiny.frozen(variables),
    optimizer=optimizers.sweep_sgd(0.5, 0.5),
    inner_steps=4,
  )
  state, _ = tiny.period(condenser, images)

  @jax.jit
  def gradient(images):
    labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 2, 3))
    return matching.match_and_gradient(
      tiny.LINEAR,
      variables,
      target,
      Batch(images, labels),
      tiny.KEY,
      objective=tiny.ALL,
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
  still = tiny.condenser(
    formation=formations.identity(), optimizer=optax.sgd(0.0), inner_steps=2
  )
  state, _ = tiny.period(still, beyond)
  np.testing.assert_array_equal(state.params['images'], beyond.clip(0, 1))


@pytest.mark.parametrize('every_step', [False, True])
def test_projection_after_every_step(every_step):
  condenser = tiny.condenser(
    formation=formations.identity(),
    optimizer=optax.sgd(1000.0),
    project='step' if every_step else 'period',
  )
  images = tiny.period(condenser, tiny.stored(2))[0].params['images']
  inside = bool(images.min() >= 0 and images.max() <= 1)
  assert inside == every_step


def test_subsample():
  images = jnp.arange(3 * 5.0).reshape(3, 5, 1, 1, 1)
  labels = jnp.broadcast_to(images[:, :, 0, 0], (3, 5, 1))
  batch = Batch(images, labels)
  assert condensing.subsample(tiny.KEY, batch, 5) is batch
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
    return tiny.ALL.loss(network, variables, target, synthetic, key)

  images = tiny.stored(4)
  condenser = tiny.condenser(
    objective=Objective(spy),
    optimizer=optimizers.sweep_sgd(1.0, 0.0),
    most_synthetic=1,
  )
  state, _ = tiny.period(condenser, images)
  assert set(sizes) == {1}
  moved = (state.params['images'] != images).any((2, 3, 4))
  np.testing.assert_array_equal(moved.sum(1), [1, 1, 1])
  assert (state.params['images'] == images).all((2, 3, 4)).sum() == 9


def test_the_whole_is_compared_if_it_fits():
  images = tiny.stored(4)
  condenser = tiny.condenser(most_synthetic=4)
  moved = tiny.period(condenser, images)[0].params['images'] != images
  assert moved.any((2, 3, 4)).all()


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
