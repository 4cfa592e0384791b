"""RCIG: the published step, the implicit gradient, rates, pool, test rate."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from dcjax import base, inner, networks, objectives, optimizers, protocols
from dcjax.objectives import _convexified as parts
from dcjax.objectives._convex_problem import (
  ConvexProblem,
  along,
  test_loss as real_loss,
  training_loss,
)
from dcjax.objectives._tuned_rate import first_rate, looked_after

_SHAPE, _CLASSES = (6, 6, 1), 3


def _network(shape=_SHAPE, **options):
  options = {
    'name': 'convnet',
    'width': (2, 3),
    'depth': 2,
    'norm': 'none',
    'activation': 'softplus',
    'conv_form': 'forward',
  } | options
  return networks.build(options, shape, _CLASSES)


def test_a_step_is_the_published_one(golden):
  """Its own code, with the last layer's moves held at zero."""
  found = golden('rcig_step')
  network = _network((8, 8, 3), width=(4, 8))
  blank = network.init(tiny.KEY)
  theirs = {'classifier': 'Dense_0', 'conv0': 'Conv_0', 'conv1': 'Conv_1'}
  params = {
    layer: {name: found[f'params/{theirs[layer]}/{name}'] for name in leaves}
    for layer, leaves in blank.params.items()
  }
  variables = base.Variables(jax.tree.map(jnp.asarray, params), {})
  rates = float(found['inner_rate']), float(found['solve_rate'])
  images, labels = jnp.asarray(found['images']), jnp.asarray(found['labels'])
  stored = images.shape[0] * images.shape[1]
  objective = objectives.convexified(
    regularisation=float(found['ridge']) / stored,
    first_rates=rates,
    label_form='centred',
    mirror=True,
  )
  state = objective.init(None, None, None)
  state = state._replace(log_temperature=jnp.asarray(found['log_temperature']))
  real = base.Batch(found['real_images'][None], found['real_labels'][None])

  @jax.jit
  def step(images, labels):
    return jax.value_and_grad(
      lambda *of: objective.loss(
        network, variables, real, base.Batch(*of), None, state
      ),
      (0, 1),
      has_aux=True,
    )(images, labels)

  (value, (metrics, following)), gradients = step(images, labels)
  np.testing.assert_allclose(value, found['loss'], rtol=1e-5)
  np.testing.assert_allclose(metrics['accuracy'], found['accuracy'])
  for ours, name in zip(gradients, ('image', 'label'), strict=True):
    expected = found[f'{name}_gradient']
    largest = np.abs(expected).max()
    np.testing.assert_allclose(ours, expected, atol=1e-4 * largest)
  # AdaBelief's first step is as long as its rate, against the gradient.
  moved = following.log_temperature - state.log_temperature
  sign = np.sign(found['temperature_gradient'])
  np.testing.assert_allclose(moved, -0.03 * sign, rtol=0.2)
  smooth = np.all(np.diff(found['losses']) < 0)
  assert smooth
  np.testing.assert_allclose(following.inner.rate, 1.2 * rates[0], rtol=1e-6)


@pytest.fixture(scope='module')
def small():
  """A set, real images and a network, in float64."""
  rng = np.random.default_rng(0)
  with jax.enable_x64(True):
    network = _network(width=2, depth=1)
    variables = jax.tree.map(
      lambda x: x.astype(jnp.float64), network.init(tiny.KEY)
    )
    learned = (
      jnp.asarray(rng.normal(size=(6, *_SHAPE))),
      jnp.asarray(0.3 * rng.normal(size=(6, _CLASSES))),
    )
    real = base.Batch(
      jnp.asarray(rng.normal(size=(9, *_SHAPE))),
      jnp.eye(_CLASSES)[np.arange(9) % _CLASSES],
    )
    problem = ConvexProblem(
      objectives.linearised(network, variables), 0.1, 'centred', True, True
    )
    return variables, learned, real, problem


def _flat(tree):
  return jax.flatten_util.ravel_pytree(tree)


def _exact(problem, zero, learned):
  """The moves that training ends at, and `H` of its quadratic loss."""
  flat, unflatten = _flat(zero)

  def loss(moves):
    return training_loss(problem, unflatten(moves), *learned)

  hessian, slope = jax.hessian(loss)(flat), jax.grad(loss)(flat)
  return unflatten(-jnp.linalg.solve(hessian, slope)), hessian, unflatten


def test_the_gradient_is_that_of_training_to_the_end(small):
  """Both parts, with exact solutions, against differences of the whole."""
  variables, learned, real, problem = small
  zero = jax.tree.map(jnp.zeros_like, variables.params)

  def tested(moves, learned):
    return real_loss(problem, real, moves, learned, 0.3)[0]

  @jax.jit
  def both(learned):
    moves, hessian, unflatten = _exact(problem, zero, learned)
    value, (pull, direct) = jax.value_and_grad(tested, (0, 1))(moves, learned)
    solution = unflatten(jnp.linalg.solve(hessian, _flat(pull)[0]))
    implicit = jax.grad(lambda of: -along(problem, moves, solution, of))(
      learned
    )
    return value, direct, implicit

  with jax.enable_x64(True):
    _, direct, implicit = both(learned)
    rng, step = np.random.default_rng(1), 1e-5
    for place in (0, 1):
      way = jnp.asarray(rng.normal(size=learned[place].shape))
      ends = []
      for sign in (1, -1):
        moved = list(learned)
        moved[place] += sign * step * way
        ends.append(both(tuple(moved))[0])
      expected = (ends[0] - ends[1]) / (2 * step)
      straight, bent = (jnp.sum(g[place] * way) for g in (direct, implicit))
      np.testing.assert_allclose(straight + bent, expected, rtol=1e-6)
      assert abs(bent) > 1e-3 * abs(expected)  # there is something to miss


def test_adam_gets_to_both_solutions(small):
  """The classifier's weights stay where they are while the set is learned."""
  variables, learned, _, problem = small
  zero = jax.tree.map(jnp.zeros_like, variables.params)

  def loss(moves):
    return training_loss(problem, moves, *learned)

  @jax.jit
  def descended():
    moves, losses = parts._descended(loss, zero, 3e-3, 2000)
    slopes = (jax.grad(loss)(at) for at in (zero, moves))
    return moves, losses, [_flat(parts._body(s))[0] for s in slopes]

  @jax.jit
  def solved(exact):
    _, hessian, unflatten = _exact(problem, zero, learned)
    right = hessian @ exact
    _, residuals = parts._solved(
      problem, learned, zero, unflatten(right), 0.01, 2000
    )
    return residuals, -exact @ right  # the least of x H x - 2 x right

  with jax.enable_x64(True):
    moves, losses, (before, after) = descended()
    assert losses[-1] < losses[0]
    np.testing.assert_array_equal(moves['classifier']['kernel'], 0)
    assert jnp.abs(after).max() < 0.01 * jnp.abs(before).max()
    size = len(_flat(zero)[0])
    residuals, least = solved(np.random.default_rng(2).normal(size=size))
    np.testing.assert_allclose(residuals[-1], least, rtol=0.01)


def test_the_implicit_part_is_no_longer_than_the_direct_one():
  direct = jnp.array([3.0, 4.0])
  long, short = jnp.array([60.0, -80.0]), jnp.array([0.3, 0.0])
  np.testing.assert_allclose(parts._no_longer(long, direct), [6.0, 0.0])
  np.testing.assert_allclose(parts._no_longer(short, direct), [3.3, 4.0])
  lost = jnp.full(2, jnp.nan)
  np.testing.assert_array_equal(parts._no_longer(lost, direct), direct)
  none = jnp.zeros(2)
  np.testing.assert_array_equal(parts._no_longer(none, direct), direct)


def _uses(state, *kinds):
  values = {
    'smooth': [3.0, 2.0, 1.0],
    'rough': [3.0, 4.0, 1.0],
    'failed': [3.0, 2.0, 4.0],
    'lost': [3.0, np.nan, np.nan],
  }
  for kind in kinds:
    state = looked_after(state, jnp.asarray(values[kind]))
  return state


def test_rates_grow_until_they_are_too_high_and_are_watched_then():
  state = _uses(first_rate(1.0), 'smooth', 'smooth')
  np.testing.assert_allclose(state.rate, 1.44)
  assert state.growing
  for end in ('rough', 'failed', 'lost'):
    done = _uses(state, end)
    np.testing.assert_allclose(done.rate, 1.44 * 0.84)
    assert not done.growing
  start = done.rate
  for kinds, factor in (
    (15 * ['failed'] + 35 * ['smooth'], 0.9),
    (15 * ['lost'] + 35 * ['rough'], 0.9),
    (14 * ['failed'] + 36 * ['smooth'], 1.05),
    (14 * ['failed'] + 36 * ['rough'], 1.0),
  ):
    early, late = _uses(done, *kinds[:-1]), _uses(done, *kinds)
    np.testing.assert_allclose(early.rate, start)
    np.testing.assert_allclose(late.rate, factor * start, rtol=1e-6)
    assert (late.uses, late.failed, late.smooth) == (0, 0, 0)


def _batch(per_class, shape=_SHAPE):
  labels = jnp.broadcast_to(
    jnp.eye(_CLASSES)[:, None], (_CLASSES, per_class, _CLASSES)
  )
  return base.Batch(tiny.stored(per_class, _CLASSES, shape), labels)


def _call(network, variables, **options):
  objective = objectives.convexified(**options)
  return objective.loss(
    network,
    variables,
    _batch(2),
    _batch(1),
    None,
    objective.init(None, None, None),
  )


def test_networks_that_will_not_do_are_named():
  plain = _network(conv_form='hybrid')
  with pytest.raises(ValueError, match='must be differentiable forward'):
    _call(plain, plain.init(tiny.KEY))
  network = _network()
  variables = network.init(tiny.KEY)
  with pytest.raises(ValueError, match="must be called 'classifier'"):
    _call(network, base.Variables({'last': variables.params}, {}))

  def silent(variables, images, train):
    outputs, state = network.apply(variables, images, train)
    return outputs._replace(embedding=None), state

  with pytest.raises(ValueError, match='must expose an embedding'):
    _call(network._replace(apply=silent), variables)


@pytest.mark.parametrize(
  ('option', 'message'),
  [
    ({'regularisation': 0.0}, 'regularisation 0.0: must be above 0'),
    ({'training_steps': 1}, 'training_steps'),
    ({'solving_steps': 0}, 'solving_steps'),
    ({'first_rates': (1e-5, 0.0)}, 'first_rates'),
    ({'label_form': 'x'}, 'label_form'),
  ],
)
def test_bad_options(option, message):
  with pytest.raises(ValueError, match=message):
    objectives.convexified(**option)


def test_networks_of_the_pool_take_several_steps():
  """And one that has had enough of them is drawn anew at once."""
  loop = inner.pool(tiny.LINEAR, optax.adam(0.01), size=3, age=6, most_steps=4)
  state = loop.init(tiny.KEY, None)
  np.testing.assert_array_equal(state.source.ages, 0)
  synthetic = _batch(2, tiny.SHAPE)
  update, counts = jax.jit(loop.update), set()
  for number in range(30):
    before, used = state, int(state.source.current)
    key = jax.random.fold_in(tiny.KEY, number)
    state, metrics = update(key, before, None, synthetic)
    old, new = (int(s.source.ages[used]) for s in (before, state))
    assert int(state.source.members.step[used]) == new
    assert metrics['loss'] > 0
    if metrics['renewed']:
      assert new == 0
      assert old + 4 >= 6
    else:
      assert new < 6
      counts.add(new - old)
    others = [np.delete(s.source.ages, used) for s in (before, state)]
    np.testing.assert_array_equal(*others)
  assert counts == {1, 2, 3, 4}
  with pytest.raises(ValueError, match='most_steps'):
    inner.pool(tiny.LINEAR, optax.adam(0.01), most_steps=0)


def test_the_rate_of_test_networks_rises_and_falls():
  protocol = protocols.rcig_protocol()
  assert protocol.loss == 'squared'
  rate = optimizers.warmup_schedule(1e-4, protocol.epochs)
  at = np.array([0, 250, 500, 1250, 2000])
  expected = [0, 5e-5, 1e-4, 1e-4 * (0.01 + 0.99 / 2), 1e-6]
  np.testing.assert_allclose([rate(i) for i in at], expected, atol=1e-10)
  # The published one, of optax.
  theirs = optax.join_schedules(
    [
      optax.linear_schedule(0.0, 1e-4, 500),
      optax.cosine_decay_schedule(1e-4, 500, alpha=0.01),
    ],
    [500],
  )
  ours = optimizers.warmup_schedule(1e-4, 1000)
  for step in (0, 1, 499, 500, 700, 999):
    np.testing.assert_allclose(ours(step), theirs(step), rtol=1e-4)
  few = optimizers.warmup_schedule(1.0, 4)
  np.testing.assert_allclose(few(2), 1.0)
