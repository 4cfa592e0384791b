"""What a condensation is composed of: targets, networks, formations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from dcjax import condensing, formations, inner, optimizers
from dcjax.base import Batch, InTurns, StatefulObjective


def test_real_batches_walk_every_class():
  data = tiny.inner_data()
  source = condensing.real_batches(np.array(tiny.COUNTS), 4)
  state = source.init(tiny.KEY)
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
  data = tiny.inner_data(counts)
  source = condensing.real_batches(np.array(counts), 4)
  _, batch = source.next(tiny.KEY, source.init(tiny.KEY), data)
  np.testing.assert_array_equal(batch.weights, [[1, 1, 0, 0], [1] * 4, [1] * 4])
  real = np.asarray(data.real.images[:2])
  first = np.asarray(batch.images[0, :2])
  assert (first == real).all() or (first == real[::-1]).all()


def test_a_period_with_unbalanced_classes():
  counts = (2, 9, 4)
  condenser = tiny.condenser(counts, inner_steps=2)
  state, metrics = tiny.period(
    condenser, tiny.stored(2), tiny.inner_data(counts)
  )
  assert np.isfinite(state.params['images']).all()
  assert np.isfinite(metrics['loss']).all()


@pytest.fixture(scope='module')
def pool():
  return jax.vmap(tiny.LINEAR.init)(jax.random.split(jax.random.key(8), 3))


def _members(pool, variables):
  """Which networks of the pool have these numbers."""
  return (pool.params['weight'] == variables.params['weight']).all((1, 2))


def test_pool_of_networks(pool):
  data = tiny.inner_data(pool=pool)
  loop = tiny.train_on_real()
  state = loop.init(tiny.KEY, data)
  reset = jax.jit(loop.reset)
  drawn = set()
  for seed in range(12):
    new = reset(jax.random.key(seed), state, data)
    members = np.asarray(_members(pool, new.variables))
    assert members.sum() == 1
    drawn.add(int(members.argmax()))
    assert new.train.step == 0
  assert drawn == {0, 1, 2}
  fresh = loop.reset(tiny.KEY, state, tiny.inner_data())
  assert not _members(pool, fresh.variables).any()


def test_early_training(pool):
  data = tiny.inner_data(pool=pool)
  loop = tiny.train_on_real(early_batches=5)
  state = loop.init(tiny.KEY, data)
  early = loop.reset(tiny.KEY, state, data)
  assert early.train.step == 5
  assert not _members(pool, early.variables).any()
  # The walk through the data has gone on, and goes on from there.
  assert early.source.cursor[0] == 20
  again = loop.reset(jax.random.key(1), early, data)
  assert again.train.step == 5
  assert again.source.cursor[0] == 4 * 4


def test_networks_learn_between_steps():
  data = tiny.inner_data()
  loop = tiny.train_on_real(num_batches=60, batch_size=9)
  state = loop.reset(tiny.KEY, loop.init(tiny.KEY, data), data)
  assert state.train.step == 0
  state, first = loop.update(tiny.KEY, state, data, None)
  state, second = loop.update(tiny.KEY, state, data, None)
  assert state.train.step == 120
  assert second['loss'] < 0.6 * first['loss']


def test_a_period_with_a_pool_and_early_training(pool):
  condenser = tiny.condenser(
    inner=tiny.train_on_real(early_batches=2, num_batches=3), inner_steps=2
  )
  state, _ = tiny.period(condenser, tiny.stored(2), tiny.inner_data(pool=pool))
  assert state.inner.train.step == 2 + 2 * 3


def test_inner_loops_see_the_stepped_images():
  loop = tiny.frozen(tiny.LINEAR.init(tiny.KEY))

  def update(key, state, data, synthetic):
    return state, {'seen': synthetic.images}

  condenser = tiny.condenser(inner=loop._replace(update=update), inner_steps=2)
  state, metrics = tiny.period(condenser, tiny.stored(2))
  seen = metrics['network_seen']
  np.testing.assert_array_equal(seen[1], state.params['images'])
  assert (seen[0] != seen[1]).any()


def test_no_two_keys_of_a_period_agree():
  """The network's key differs from those of the steps that follow."""
  loop = tiny.frozen(tiny.LINEAR.init(tiny.KEY))

  def reset(key, state, data):
    return state._replace(source=jax.random.key_data(key))

  def update(key, state, data, synthetic):
    keys = {'step': jax.random.key_data(key), 'network': state.source}
    return state, keys

  def init(key, data):
    return reset(key, loop.init(key, data), data)

  condenser = tiny.condenser(
    inner=inner.InnerLoop(init, reset, update), inner_steps=3
  )
  _, metrics = tiny.period(condenser, tiny.stored(2))
  keys = [tuple(k) for k in np.asarray(metrics['network_step'])]
  keys.append(tuple(np.asarray(metrics['network_network'][0])))
  assert len(set(keys)) == 4


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
  data = tiny.inner_data()
  params = formation.init(jax.random.key(2), tiny.stored(2))
  optimizer = (
    optax.adam(0.05) if 'decoder' in params else optimizers.sweep_sgd(0.5, 0.5)
  )
  condenser = tiny.condenser(
    formation=formation,
    inner=tiny.frozen(tiny.LINEAR.init(jax.random.key(4))),
    optimizer=optimizer,
    inner_steps=3,
  )
  start = condenser.init(jax.random.key(1), params, data)
  state, metrics = jax.jit(condenser.period)(tiny.KEY, start, data)
  assert jax.tree.structure(state.params) == jax.tree.structure(params)
  assert np.isfinite(metrics['loss']).all()
  assert np.abs(state.params['images'] - params['images']).max() > 1e-3
  if 'decoder' in params:
    changed = jax.tree.map(
      lambda new, old: bool((new != old).any()), state.params, params
    )
    assert any(jax.tree.leaves(changed['decoder']))


def test_networks_take_turns_and_an_objective_remembers():
  """Each step is that of its network alone, with what it remembers itself."""
  pair = tuple(tiny.LINEAR.init(jax.random.key(i)) for i in (5, 6))

  def loss(network, variables, target, synthetic, key, state):
    counted, steps = state
    value, metrics = tiny.ALL.loss(
      network,
      variables,
      Batch(*(x[0] for x in target[:2])),
      Batch(*(x[0] for x in synthetic[:2])),
      key,
    )
    return value, (metrics, (counted + 1, steps + 1))

  zero = jnp.zeros((), jnp.int32)
  objective = StatefulObjective(
    lambda key, synthetic, data: (InTurns((zero, zero)), zero),
    loss,
    lambda state, synthetic: (state[0], zero),
  )
  options = {'formation': formations.identity(), 'project': 'never'}
  made = condensing.condenser(
    [tiny.LINEAR, tiny.LINEAR],
    objective=objective,
    source=condensing.real_batches(np.array(tiny.COUNTS), 9),
    inner=inner.observers(2),
    optimizer=optax.sgd(1.0),
    inner_steps=3,
    **options,
  )
  data = tiny.inner_data()._replace(observers=pair)
  params = {'images': tiny.stored(2)}
  begun = jax.jit(made.init)(tiny.KEY, params, data)
  state, _ = jax.jit(made.period)(tiny.KEY, begun, data)
  counted, steps = state.memory
  assert ([int(n) for n in counted.each], int(steps)) == ([2, 1], 3)
  after = made.restart(state, params)
  assert [int(n) for n in after.memory[0].each] == [2, 1]
  assert (int(after.memory[1]), int(after.step)) == (0, 3)

  real = tiny.device_data(tiny.COUNTS)

  @jax.jit
  def alone(images, variables):
    target = Batch(real.images[:9], jnp.eye(3)[jnp.zeros(9, int)])

    def of_first(first):
      batch = Batch(first, jnp.eye(3)[jnp.zeros(2, int)])
      return tiny.ALL.loss(tiny.LINEAR, variables, target, batch, tiny.KEY)[0]

    return images.at[0].add(-jax.grad(of_first)(images[0]))

  expected = params['images']
  for k in (0, 1, 0):
    expected = alone(expected, pair[k])
  np.testing.assert_allclose(state.params['images'], expected, atol=1e-5)
  with pytest.raises(ValueError, match='must be at least one network'):
    condensing.condenser(
      (),
      objective=objective,
      source=condensing.stored_targets(),
      inner=inner.observers(0),
      optimizer=optax.sgd(1.0),
      inner_steps=1,
      **options,
    )
  with pytest.raises(ValueError, match='data hold 1 observers: must be 2'):
    made.init(tiny.KEY, params, data._replace(observers=pair[:1]))


def test_a_step_may_see_some_classes_only():
  counts = np.array(tiny.COUNTS)
  source = condensing.real_batches(counts, 4, classes_per_step=2)
  made = tiny.condenser(source=source)
  images = tiny.stored(2)
  state, _ = tiny.period(made, images)
  moved = (np.asarray(state.params['images']) != images).any((1, 2, 3, 4))
  data = tiny.inner_data()
  keys = jax.random.split(tiny.KEY, 6)
  draw = jax.jit(lambda key: source.next(key, source.init(key), data)[1])
  drawn = [draw(key) for key in keys]
  assert moved.sum() == 2
  assert len({tuple(map(int, batch.classes)) for batch in drawn}) > 1
  for batch in drawn:
    own = batch.labels.argmax(-1)
    assert (own == batch.classes[:, None]).all()
    # The bright row of an image says its class.
    assert (batch.images.mean((3, 4)).argmax(-1) == own).all()
  with pytest.raises(ValueError, match='classes_per_step -1: must be at least'):
    condensing.real_batches(counts, 4, -1)
