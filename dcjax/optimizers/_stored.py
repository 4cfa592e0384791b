"""Optimisers of sets that learn more than images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dcjax.base import Array, Params
from dcjax.utils import check_at_least


def by_name(
  rest: optax.GradientTransformation | None = None,
  **optimizers: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Steps stored numbers by the name that they have in the formation's params.

  Args:
    rest: of every other name; None leaves those as they are.
    **optimizers: `images`, `labels`, `step_size`, ...; names that a formation
      does not store are no mistake.

  Example:
    >>> optimizer = by_name(images=sgd(1.0), step_size=optax.sgd(1e-7))
  """
  known = {f'of {name}': made for name, made in optimizers.items()}

  def roles(params: Params) -> dict[str, str]:
    return {n: f'of {n}' if n in optimizers else 'rest' for n in params}

  return optax.multi_transform(
    {**known, 'rest': rest or optax.set_to_zero()}, roles
  )


class _ClippingState(NamedTuple):
  mean: Array
  count: Array


def clip_by_running_mean(
  factor: float = 2.0, decay: float = 0.9
) -> optax.GradientTransformation:
  """Clips the norm of all gradients together at a multiple of its running mean.

  Feng et al. (ICLR 2024, RaT-BPTT): a gradient longer than `factor` times the
  mean is shortened to that; then `mean <- decay mean + (1 - decay) norm`, with
  the norm before clipping, and the first norm to start with. Norms that are not
  finite stay out of the mean.

  Args:
    factor: above 0.
    decay: in [0, 1).

  Raises:
    ValueError: if an option is out of range.
  """
  if not factor > 0:
    raise ValueError(f'factor {factor!r}: must be above 0')
  if not 0 <= decay < 1:
    raise ValueError(f'decay {decay!r}: must be in [0, 1)')

  def init(params):
    leaves = jax.tree.leaves(params)  # none, where others' are left to it
    dtype = jnp.result_type(*leaves) if leaves else jnp.float32
    return _ClippingState(jnp.zeros((), dtype), jnp.zeros((), jnp.int32))

  def update(updates, state, params=None):
    del params
    norm = optax.global_norm(updates)
    mean = jnp.where(state.count, state.mean, norm)
    shrink = jnp.minimum(1, factor * mean / jnp.where(norm > 0, norm, 1))
    following = decay * mean + (1 - decay) * norm
    finite = jnp.isfinite(norm)
    state = _ClippingState(
      jnp.where(finite, following, state.mean), state.count + finite
    )
    return jax.tree.map(lambda g: g * shrink.astype(g.dtype), updates), state

  return optax.GradientTransformation(init, update)


def halved_every(learning_rate: float, steps: int) -> optax.Schedule:
  """A rate that halves every `steps` steps, as DD's does every 40 epochs.

  Raises:
    ValueError: if `steps` is below 1.
  """
  check_at_least('steps', steps, 1)
  return optax.exponential_decay(learning_rate, steps, 0.5, staircase=True)
