"""Implicit gradients through training that is made convex (RCIG)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax import kernels
from dcjax.base import (
  Array,
  Batch,
  Key,
  Metrics,
  Network,
  PyTree,
  StatefulObjective,
  Variables,
  mixed,
)
from dcjax.objectives._convex_problem import (
  CLASSIFIER,
  ConvexProblem,
  along,
  linearised,
  test_loss,
  training_loss,
)
from dcjax.objectives._tuned_rate import TunedRate, first_rate, looked_after
from dcjax.utils import check_at_least, check_choice


class ConvexState(NamedTuple):
  """What `convexified` remembers.

  Attributes:
    log_temperature: `[]`, of the logits.
    optimizer: of it.
    inner: rate of the training.
    solve: rate of the linear system.
  """

  log_temperature: Array
  optimizer: PyTree
  inner: TunedRate
  solve: TunedRate


def convexified(
  *,
  regularisation: float = 5e-4,
  training_steps: int = 20,
  solving_steps: int = 20,
  first_rates: tuple[float, float] = (1e-5, 5e-5),
  temperature_rate: float = 0.03,
  label_form: str = 'probabilities',
  margin: bool = True,
  mirror: bool = False,
) -> StatefulObjective:
  """Trains a linearised network on the set, to its end, for real images.

  Loo, Hasani, Lechner & Rus, "Dataset Distillation with Convexified Implicit
  Gradients" (ICML 2023, https://arxiv.org/abs/2302.06755). The network is
  replaced by its first-order expansion in its parameters, so that training it
  by squared error is convex; the last layer is solved for by ridge regression,
  the moves of all other parameters by Adam. The loss is the cross-entropy of
  real images at a learned temperature. Its gradient in images and labels is the
  direct one, through the regression, plus the implicit one, through the moves:
  `H v = g` is solved by Adam, too, and the implicit part is made no longer than
  the direct one, for images and for labels.

  Both rates of Adam start low and grow by a fifth at every use until one does
  not fall at each of its steps. After that they shrink by a tenth when 29 in
  100 of 50 uses end above their start, and grow by a twentieth when 70 fall all
  the way.

  Deviations from the published code: rates grow in the first image steps, where
  it tries them on one network beforehand; Adam starts anew in every use, where
  a network's count of updates stays in its bias correction; the move of the
  classifier's weights, which the regression makes good, stays zero, where the
  code adds its raw gradient to it.

  Args:
    regularisation: of the regression and of the moves, times the number of
      images that are stored.
    training_steps: of Adam for the moves, at least 2.
    solving_steps: of Adam for the linear system, at least 2.
    first_rates: of both, above 0.
    temperature_rate: of AdaBelief, which steps the logarithm of the
      temperature.
    label_form: of the synthetic labels, see `kernel_regression`.
    margin: whether the mean of `min(largest - second label, 1 / 2K)` is
      subtracted.
    mirror: see `kernel_regression`.

  Returns:
    An objective with metrics `loss`, `accuracy` of the linearised network on
    the real batch, `temperature`, `inner_rate` and `solve_rate`. The network
    must expose an embedding, call its last layer `classifier`, and be
    differentiable forward (`conv_form='forward'`).

  Raises:
    ValueError: if an option is out of range; when called, if the network is not
      as it must be.

  Example:
    >>> network = networks.convnet((32, 32, 3), 10, width=(128, 256, 512),
    ...   norm='none', activation='softplus', conv_form='forward')
    >>> objective = convexified(label_form='centred', mirror=True)
  """
  if not 0 < regularisation < float('inf'):
    raise ValueError(
      f'regularisation {regularisation!r}: must be above 0 and finite'
    )
  for name, steps in (
    ('training_steps', training_steps),
    ('solving_steps', solving_steps),
  ):
    check_at_least(name, steps, 2)
  if len(first_rates) != 2 or not all(r > 0 for r in first_rates):
    raise ValueError(f'first_rates {first_rates!r}: must be two above 0')
  check_choice('label_form', label_form, kernels.LABEL_FORMS)
  warm = optax.adabelief(temperature_rate)

  def init(key, synthetic, data) -> ConvexState:
    del key, synthetic, data
    log_temperature = jnp.zeros((), jnp.float32)
    return ConvexState(
      log_temperature,
      warm.init(log_temperature),
      *(first_rate(rate) for rate in first_rates),
    )

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
    state: ConvexState,
  ) -> tuple[Array, tuple[Metrics, ConvexState]]:
    del key
    fake, real = mixed(synthetic), mixed(target)
    learned = lax.stop_gradient((fake.images, fake.labels))
    problem = ConvexProblem(
      linearised(network, variables),
      regularisation * fake.images.shape[0],
      label_form,
      mirror,
      margin,
    )
    found = _differentiated(
      problem,
      jax.tree.map(jnp.zeros_like, variables.params),
      learned,
      real,
      state,
      (training_steps, solving_steps),
    )
    value, metrics, gradient, warmth, (losses, residuals) = found
    step, optimizer = warm.update(
      warmth, state.optimizer, state.log_temperature
    )
    following = ConvexState(
      state.log_temperature + step,
      optimizer,
      looked_after(state.inner, losses),
      looked_after(state.solve, residuals),
    )
    metrics |= {
      'loss': value,
      'temperature': jnp.exp(state.log_temperature),
      'inner_rate': state.inner.rate,
      'solve_rate': state.solve.rate,
    }
    value = _with_gradient(value, (fake.images, fake.labels), gradient)
    return value, (metrics, following)

  return StatefulObjective(init, loss)


def _differentiated(problem, zero, learned, real, state, steps):
  """Trains, tests and differentiates.

  Returns:
    The test loss, its metrics, its gradient in what is learned and in the
    temperature, and what both uses of Adam came to at each of their steps.
  """
  moves, losses = _descended(
    lambda moves: training_loss(problem, moves, *learned),
    zero,
    state.inner.rate,
    steps[0],
  )
  (value, metrics), gradients = jax.value_and_grad(
    lambda *of: test_loss(problem, real, *of), (0, 1, 2), has_aux=True
  )(moves, learned, state.log_temperature)
  pull, direct, warmth = gradients
  solution, residuals = _solved(
    problem, learned, zero, pull, state.solve.rate, steps[1]
  )
  implicit = jax.grad(
    lambda learned: -along(problem, moves, solution, learned)
  )(learned)
  whole = jax.tree.map(_no_longer, implicit, direct)
  return value, metrics, whole, warmth, (losses, residuals)


def _descended(loss, start, rate, steps):
  """Adam's last place, and the loss before each step."""
  adam = optax.adam(rate)

  def step(carry, _):
    params, state = carry
    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = adam.update(_body(gradient), state)
    return (optax.apply_updates(params, updates), state), value

  (end, _), losses = lax.scan(step, (start, adam.init(start)), length=steps)
  return end, losses


def _body(tree):
  """All but the classifier's weights, which are solved for."""
  layer = dict(tree[CLASSIFIER])
  layer['kernel'] = jnp.zeros_like(layer['kernel'])
  return {**tree, CLASSIFIER: layer}


def _solved(problem, learned, zero, right, rate, steps):
  """`H v = right`, and how well each step solves it.

  The training loss is quadratic: its gradient without labels is `H v`.
  """
  images, labels = learned
  adam = optax.adam(rate)
  blank = problem._replace(label_form='centred')
  curvature = jax.grad(
    lambda moves: training_loss(blank, moves, images, jnp.zeros_like(labels))
  )

  def step(carry, _):
    v, state = carry
    product = curvature(v)
    error = jax.tree.map(lambda p, r: p - r, product, right)
    residual = sum(
      jnp.sum(x * (e - r))
      for x, e, r in zip(*map(jax.tree.leaves, (v, error, right)), strict=True)
    )
    updates, state = adam.update(error, state)
    return (optax.apply_updates(v, updates), state), residual

  (v, _), residuals = lax.scan(step, (zero, adam.init(zero)), length=steps)
  return v, residuals


def _no_longer(implicit, direct):
  """Both, with the implicit part made no longer than the direct one."""
  norms = (jnp.linalg.norm(x.ravel()) for x in (implicit, direct))
  longer, allowed = norms
  factor = jnp.minimum(1, allowed / jnp.where(longer > 0, longer, 1))
  return direct + jnp.nan_to_num(implicit * factor)


def _with_gradient(value, learned, gradient):
  """A value whose gradient in what is learned is given."""
  slopes = jax.tree.map(
    lambda x, g: jnp.sum((x - lax.stop_gradient(x)) * lax.stop_gradient(g)),
    learned,
    gradient,
  )
  return lax.stop_gradient(value) + sum(slopes)
