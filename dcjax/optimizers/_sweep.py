"""Optimisers that step the stored numbers in two movements: the sweep."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dcjax.base import Params, PyTree


class ImageOptimizer(NamedTuple):
  """An optax optimiser that may also move the images before their gradient.

  Attributes:
    init: `params -> state`.
    prepare: `(params, state) -> (params, state)`, before the gradient is taken.
    update: `(gradient, state, params) -> (updates, state)`, as in optax.
  """

  init: Callable[[Params], PyTree]
  prepare: Callable[[Params, PyTree], tuple[Params, PyTree]]
  update: Callable[[Params, PyTree, Params], tuple[Params, PyTree]]


def as_image_optimizer(
  optimizer: optax.GradientTransformation | ImageOptimizer,
) -> ImageOptimizer:
  """Gives an optax optimiser a `prepare` that does nothing."""
  if isinstance(optimizer, ImageOptimizer):
    return optimizer
  return ImageOptimizer(
    optimizer.init, lambda params, state: (params, state), optimizer.update
  )


def sweep_sgd(learning_rate: float, momentum: float = 0.5) -> ImageOptimizer:
  """One SGD step a class, one shared momentum buffer, in closed form.

  IDC steps the images after every class of a sweep with one optimiser for all
  of them, so class `c` coasts on its decaying velocity during the `c` steps
  before its turn and the `C - 1 - c` after it. The network stands still during
  the sweep, so all classes can be computed at once: coast, take the gradient
  there, step, coast on. Identical to the sequential loop up to rounding.

  Args:
    learning_rate: of one step.
    momentum: decay of the velocity at every step, in [0, 1).

  Returns:
    An `ImageOptimizer` for parameters whose leaves have a leading class axis
    (every formation without shared networks).

  Raises:
    ValueError: if the momentum is out of range, or (from `init`) if the
      parameters have no common class axis.

  Example:
    >>> optimizer = sweep_sgd(0.1, 0.5)
    >>> state = optimizer.init(params)
    >>> params, state = optimizer.prepare(params, state)
    >>> gradients = jax.tree.map(jnp.ones_like, params)  # at these
    >>> updates, state = optimizer.update(gradients, state, params)
    >>> params = optax.apply_updates(params, updates)
  """

  if not 0 <= momentum < 1:
    raise ValueError(f'momentum {momentum!r}: must be in [0, 1)')

  def coast(velocity, steps):
    """Distance travelled and velocity left after `steps [C]` free steps."""
    steps = steps.reshape(-1, *(1,) * (velocity.ndim - 1))
    decay = momentum**steps
    # momentum + ... + momentum^steps
    total = momentum * (1 - decay) / (1 - momentum)
    return -learning_rate * total * velocity, decay * velocity

  def init(params):
    classes = {leaf.shape[:1] for leaf in jax.tree.leaves(params)}
    if len(classes) > 1:
      raise ValueError(
        'sweep_sgd needs one class axis in front of every stored array; this '
        'formation shares numbers between classes: use an optax optimiser'
      )
    return jax.tree.map(jnp.zeros_like, params)

  def turn(leaf):
    return jnp.arange(leaf.shape[0], dtype=leaf.dtype)

  def prepare(params, state):
    moved = jax.tree.map(lambda v: coast(v, turn(v)), state)
    shift, velocity = _unzip(moved, state)
    return optax.apply_updates(params, shift), velocity

  def update(gradient, state, params=None):
    del params
    velocity = jax.tree.map(lambda g, v: momentum * v + g, gradient, state)
    moved = jax.tree.map(lambda v: coast(v, v.shape[0] - 1 - turn(v)), velocity)
    shift, left = _unzip(moved, velocity)
    updates = jax.tree.map(
      lambda v, after: after - learning_rate * v, velocity, shift
    )
    return updates, left

  return ImageOptimizer(init, prepare, update)


def _unzip(pairs, like):
  return jax.tree.transpose(
    jax.tree.structure(like), jax.tree.structure((0, 0)), pairs
  )
