"""SGD against PyTorch's numbers, and the sweep against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dcjax import evaluation, optimizers
from dcjax.evaluation import _words

_CURVATURES = np.array([1.0, 2.0, 3.0, 0.5])


def _run(optimizer, gradients, params):
  """Parameters after each step, for gradients that are given."""

  def step(carry, gradient):
    params, state = carry
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    return (params, state), params

  params = jnp.asarray(params)
  return jax.lax.scan(
    step, (params, optimizer.init(params)), jnp.asarray(gradients)
  )[1]


def _numpy_sgd(gradients, params, rates, momentum, decay, clear_at=None):
  params = np.array(params, np.float64)
  velocity, trajectory = np.zeros_like(params), []
  for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
    if step == clear_at:
      velocity = np.zeros_like(params)
    velocity = momentum * velocity + gradient + decay * params
    params = params - rate * velocity
    trajectory.append(params)
  return np.stack(trajectory)


def _sweep(optimizer, params, state, gradient_fn):
  params, state = optimizer.prepare(params, state)
  updates, state = optimizer.update(gradient_fn(params), state, params)
  return optax.apply_updates(params, updates), state


def _sequential_sweeps(params, gradient_fn, sweeps, rate, momentum):
  """One step a class after another, one velocity for the whole array."""
  params = np.array(params, np.float64)
  velocity, trajectory = np.zeros_like(params), []
  for _ in range(sweeps):
    for label in range(len(params)):
      gradient = np.zeros_like(params)
      gradient[label] = gradient_fn(params)[label]
      velocity = momentum * velocity + gradient
      params = params - rate * velocity
    trajectory.append(params)
  return trajectory


def test_sgd_equals_golden(golden):
  data = golden('sgd_net')
  optimizer = optimizers.sgd(
    float(data['lr']),
    momentum=float(data['momentum']),
    weight_decay=float(data['weight_decay']),
  )
  trajectory = _run(optimizer, data['grads'], data['p0'])
  np.testing.assert_allclose(trajectory, data['trajectory'], atol=1e-6)


@pytest.mark.parametrize('decay', [0.0, 0.1])
def test_sgd_without_momentum(golden, decay):
  data = golden('sgd_net')
  optimizer = optimizers.sgd(0.1, momentum=0.0, weight_decay=decay)
  expected = _numpy_sgd(data['grads'], data['p0'], [0.1] * 6, 0.0, decay)
  trajectory = _run(optimizer, data['grads'], data['p0'])
  np.testing.assert_allclose(trajectory, expected, atol=1e-6)


@pytest.mark.parametrize('clear_at', [0, 3, 5])
def test_clear_at_equals_a_rebuilt_optimiser(golden, clear_at):
  data = golden('sgd_net')
  rates = np.where(np.arange(6) < 3, 0.1, 0.01)
  optimizer = optimizers.sgd(
    lambda step: jnp.where(step < 3, 0.1, 0.01),
    momentum=0.9,
    weight_decay=0.01,
    # Evaluations compute the step inside the compiled program.
    clear_at=jnp.asarray(clear_at),
  )
  trajectory = _run(optimizer, data['grads'], data['p0'])
  expected = _numpy_sgd(data['grads'], data['p0'], rates, 0.9, 0.01, clear_at)
  np.testing.assert_allclose(trajectory, expected, atol=1e-6)
  if clear_at:
    kept = _numpy_sgd(data['grads'], data['p0'], rates, 0.9, 0.01)
    assert np.abs(trajectory - kept).max() > 1e-3


def test_sweep_equals_golden(golden):
  data = golden('sgd_momentum_shared')
  # The closed form relies on this order.
  np.testing.assert_array_equal(data['class_of_step'], [0, 1, 2] * 3)
  optimizer = optimizers.sweep_sgd(float(data['lr']), float(data['momentum']))
  params = jnp.zeros((3, 2))
  state = optimizer.init(params)
  sweeps = data['grads'].reshape(3, 3, 2)
  for sweep, gradient in enumerate(sweeps):
    params, state = _sweep(
      optimizer, params, state, lambda _, g=gradient: jnp.asarray(g)
    )
    expected = data['trajectory'][3 * sweep + 2]
    np.testing.assert_allclose(params, expected, atol=1e-6)


@pytest.mark.parametrize('momentum', [0.0, 0.5, 0.9])
def test_sweep_equals_sequential_loop(momentum):
  start = np.random.default_rng(0).normal(size=(4, 2, 3))
  goal = np.random.default_rng(1).normal(size=(4, 2, 3))
  curvatures = _CURVATURES[:, None, None]

  def gradient(params):
    return curvatures * (params - goal)

  expected = _sequential_sweeps(start, gradient, 5, 0.1, momentum)
  optimizer = optimizers.sweep_sgd(0.1, momentum)
  params = {'images': jnp.asarray(start, jnp.float32)}
  state = optimizer.init(params)
  for reference in expected:
    params, state = _sweep(
      optimizer,
      params,
      state,
      lambda p: {'images': jnp.asarray(gradient(p['images']), jnp.float32)},
    )
    np.testing.assert_allclose(params['images'], reference, atol=3e-5)


def test_sweep_with_one_class_is_sgd(golden):
  data = golden('sgd_net')
  sweep = optimizers.sweep_sgd(0.1, 0.5)
  plain = optimizers.sgd(0.1, momentum=0.5)
  gradients, start = data['grads'][:, None], data['p0'][None]
  params, state = jnp.asarray(start), sweep.init(jnp.asarray(start))
  for gradient, expected in zip(
    gradients, _run(plain, gradients, start), strict=True
  ):
    params, state = _sweep(
      sweep, params, state, lambda _, g=gradient: jnp.asarray(g)
    )
    np.testing.assert_allclose(params, expected, atol=1e-6)


def test_as_image_optimizer():
  sweep = optimizers.sweep_sgd(0.1)
  assert optimizers.as_image_optimizer(sweep) is sweep
  adam = optax.adam(0.1)
  wrapped = optimizers.as_image_optimizer(adam)
  params = jnp.ones((2, 3))
  state = wrapped.init(params)
  assert wrapped.prepare(params, state) == (params, state)
  expected, _ = adam.update(params, adam.init(params), params)
  updates, _ = wrapped.update(params, state, params)
  np.testing.assert_array_equal(updates, expected)


@pytest.mark.parametrize('steps_per_epoch', [1, 2])
def test_learning_rate_of_idc_evaluation(golden, steps_per_epoch):
  """With unit gradients and no momentum the updates are minus the rate."""
  protocol = evaluation.idc_protocol(1000)
  optimizer = _words.optimizer_of(
    protocol._replace(momentum=0.0, weight_decay=0.0), steps_per_epoch
  )
  gradients = np.ones((1000 * steps_per_epoch,), np.float32)
  positions = np.asarray(_run(optimizer, gradients, np.float32(0)))
  expected = np.repeat(golden('sgd_net')['lr_epoch_1to1000'], steps_per_epoch)
  rates = -np.diff(positions, prepend=0.0)
  # Positions of order 10 in float32 leave differences about 1e-6 exact.
  np.testing.assert_allclose(rates, expected, atol=5e-6)


def test_sweep_rejects():
  with pytest.raises(ValueError, match=r'momentum 1\.0: must be in \[0, 1\)'):
    optimizers.sweep_sgd(0.1, 1.0)
  shared = {'images': jnp.zeros((3, 2)), 'decoder': jnp.zeros((5, 2))}
  with pytest.raises(ValueError, match='use an optax optimiser'):
    optimizers.sweep_sgd(0.1).init(shared)
