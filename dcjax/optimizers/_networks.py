"""Optimisers and schedules, of networks and of images in their units."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax.base import Array, Params, PyTree
from dcjax.utils import check_at_least


def sgd(
  learning_rate: float | optax.Schedule,
  *,
  momentum: float = 0.9,
  weight_decay: float = 0.0,
  clear_at: int | Array | None = None,
) -> optax.GradientTransformation:
  """PyTorch's SGD: decay is added to the gradient, then momentum, then rate.

  `g <- g + wd x; v <- momentum v + g; x <- x - rate v`, on every parameter,
  biases and norms included.

  Args:
    learning_rate: a number or a schedule of the step.
    momentum: 0 for none.
    weight_decay: added before momentum.
    clear_at: step at which the momentum is cleared, as DC's evaluation does
      when it rebuilds its optimiser; None for never.
  """
  trace = optax.trace(decay=momentum)
  if clear_at is not None:
    trace = _cleared(trace, clear_at)
  return optax.chain(
    optax.add_decayed_weights(weight_decay)
    if weight_decay
    else optax.identity(),
    trace if momentum else optax.identity(),
    optax.scale_by_learning_rate(learning_rate),
  )


class _ClearedState(NamedTuple):
  inner: PyTree
  step: Array


def _cleared(inner, at):
  def init(params):
    return _ClearedState(inner.init(params), jnp.zeros((), jnp.int32))

  def update(updates, state, params=None):
    keep = jnp.where(state.step == at, 0.0, 1.0)
    kept = jax.tree.map(lambda v: v * keep, state.inner)
    updates, kept = inner.update(updates, kept, params)
    return updates, _ClearedState(kept, state.step + 1)

  return optax.GradientTransformation(init, update)


def in_normalised_units(
  optimizer: optax.GradientTransformation,
  std: Sequence[float],
  stored_images: Sequence[str] | None = None,
  mean: Sequence[float] | None = None,
) -> optax.GradientTransformation:
  """Steps images stored in [0, 1] as if they were stored normalised.

  DC, DSA and DM store and optimise `n = (x - mean) / std`. A step there is a
  step here with the gradient multiplied by std before and the update after.
  Labels, decoders and codes have no such units; their steps stay as they are.

  Args:
    optimizer: as the method defines it, in normalised units.
    std: `[D]` of the normalisation.
    stored_images: the entries of a dict of parameters that are images, see
      `Formation`; None if everything is.
    mean: `[D]` of the normalisation, for optimisers that look at what they
      step (LAMB); None shows them the images as they are stored.
  """
  std = np.asarray(std, np.float32)

  def of_pixels(function, tree):
    if stored_images is None:
      return jax.tree.map(function, tree)
    return {
      name: jax.tree.map(function, entry) if name in stored_images else entry
      for name, entry in tree.items()
    }

  def scale(tree):
    return of_pixels(lambda leaf: leaf * std, tree)

  def update(gradient, state, params=None):
    if mean is not None:
      middle = np.asarray(mean, np.float32)
      params = of_pixels(lambda leaf: (leaf - middle) / std, params)
    updates, state = optimizer.update(scale(gradient), state, params)
    return scale(updates), state

  return optax.GradientTransformation(optimizer.init, update)


def adamw(
  learning_rate: float | optax.Schedule, *, weight_decay: float = 0.01
) -> optax.GradientTransformation:
  """AdamW that decays weights only, not biases and scales of norms.

  How EDC, RDED and SRe2L train students.

  Args:
    learning_rate: a number or a schedule of the step.
    weight_decay: of the parameters with more than one axis; multiplied by the
      learning rate.
  """

  def is_weight(params: Params) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

  return optax.adamw(learning_rate, weight_decay=weight_decay, mask=is_weight)


def smoothing_schedule(
  learning_rate: float, epochs: int, zeta: float = 2.0
) -> optax.Schedule:
  """EDC's smoothing rate: `rate (1 + cos(pi i / (zeta N))) / 2`.

  Shao et al. (NeurIPS 2024), section 3.2. With `zeta` 1 it is the cosine that
  ends at 0; with 2, RDED's and EDC's choice, it ends at half the rate.

  Args:
    learning_rate: at epoch 0.
    epochs: `N`, at least 1.
    zeta: at least 1.

  Returns:
    The rate as a function of the epoch `i`.

  Raises:
    ValueError: if an argument is out of range.
  """
  check_at_least('epochs', epochs, 1)
  check_at_least('zeta', zeta, 1)

  def rate(epoch: Array | int) -> Array:
    angle = jnp.pi * jnp.asarray(epoch) / (zeta * epochs)
    return learning_rate * (1 + jnp.cos(angle)) / 2

  return rate


def ssrs_schedule(
  learning_rate: float, epochs: int, zeta: float = 2.0
) -> optax.Schedule:
  """EDC's "SSRS" rate: `smoothing_schedule` that ends at 0.

  After 5/6 of the epochs the rate is the one reached there times `(N - i) / N`:
  a step down by 6, then linear to 0. Better with many images per class.

  Args:
    learning_rate: at epoch 0.
    epochs: `N`, at least 1.
    zeta: at least 1.

  Returns:
    The rate as a function of the epoch `i`.

  Raises:
    ValueError: if an argument is out of range.
  """
  smooth = smoothing_schedule(learning_rate, epochs, zeta)
  turn = 5 * epochs / 6

  def rate(epoch: Array | int) -> Array:
    epoch = jnp.asarray(epoch)
    falling = smooth(turn) * (epochs - epoch) / epochs
    return jnp.where(epoch <= turn, smooth(epoch), falling)

  return rate


def warmup_schedule(
  learning_rate: float,
  epochs: int,
  zeta: float = 1.0,
  *,
  steps_per_epoch: int | Array = 1,
) -> optax.Schedule:
  """RCIG's rate: up to `learning_rate`, then down along a cosine.

  Loo et al. (ICML 2023): linear from 0 over 500 steps, or half of them if they
  are fewer than 1000, then a cosine to a hundredth.

  Args:
    learning_rate: at its highest.
    epochs: at least 1.
    zeta: at least 1; above 1 the cosine is cut off before its end.
    steps_per_epoch: may be traced.

  Returns:
    The rate as a function of the epoch.

  Raises:
    ValueError: if an argument is out of range.
  """
  check_at_least('epochs', epochs, 1)
  check_at_least('zeta', zeta, 1)
  rises = jnp.minimum(500 / steps_per_epoch, epochs / 2)

  def rate(epoch: Array | int) -> Array:
    epoch = jnp.asarray(epoch)
    angle = jnp.pi * (epoch - rises) / (zeta * (epochs - rises))
    falling = learning_rate * (0.01 + 0.99 * (1 + jnp.cos(angle)) / 2)
    return jnp.where(epoch < rises, learning_rate * epoch / rises, falling)

  return rate


class _AveragedState(NamedTuple):
  inner: PyTree
  average: Params
  count: Array | None = None


def with_average(
  optimizer: optax.GradientTransformation,
  rate: float = 0.99,
  *,
  debias: bool = False,
) -> optax.GradientTransformation:
  """Keeps an exponential average of the parameters in the optimiser's state.

  After every step `average <- rate average + (1 - rate) params`, starting from
  the first parameters (EDC's evaluation). Running statistics of BatchNorm are
  no parameters, so that the average is tested with the live ones.

  Args:
    optimizer: of the parameters.
    rate: in [0, 1).
    debias: whether the average is of the parameters after each step alone,
      with weights that sum to one, so that the first parameters leave no trace
      (FRePo's evaluation).

  Returns:
    An optimiser that steps as the given one; `averaged_params` reads its state.

  Raises:
    ValueError: if the rate is out of range.
  """
  if not 0 <= rate < 1:
    raise ValueError(f'rate {rate!r}: must be in [0, 1)')

  def init(params):
    # A copy: state and parameters may both be donated.
    count = jnp.zeros((), jnp.int32) if debias else None
    return _AveragedState(
      optimizer.init(params), jax.tree.map(jnp.array, params), count
    )

  def update(updates, state, params=None):
    updates, inner = optimizer.update(updates, state.inner, params)
    count, kept = None, rate
    if debias:
      # The share that the average of earlier steps has in the next one.
      count = state.count + 1
      kept = 1 - (1 - rate) / (1 - rate**count)
    average = jax.tree.map(
      lambda mean, now: kept * mean + (1 - kept) * now,
      state.average,
      optax.apply_updates(params, updates),
    )
    return updates, _AveragedState(inner, average, count)

  return optax.GradientTransformation(init, update)


def averaged_params(opt_state: PyTree) -> Params:
  """Returns the average that `with_average` keeps.

  Raises:
    ValueError: if the state is another optimiser's.
  """
  if not isinstance(opt_state, _AveragedState):
    raise ValueError('opt_state keeps no average: use optimizers.with_average')
  return opt_state.average
