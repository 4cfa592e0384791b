"""Networks that no state holds: none at all, or those of the data."""

import jax.numpy as jnp

from dcjax.base import InTurns, Variables
from dcjax.inner._types import InnerLoop, InnerState
from dcjax.training import TrainState


def none() -> InnerLoop:
  """No network at all: for closed-form kernels (KIP).

  The state holds empty variables, so that whatever saves or counts networks
  finds nothing.

  Example:
    >>> loop = inner.none()  # of a condenser whose network is None
  """

  def init(key, data):
    del key, data
    nothing = TrainState(Variables({}, {}), (), jnp.zeros((), jnp.int32))
    return InnerState(nothing, ())

  def reset(key, state, data):
    del key, data
    return state

  def update(key, state, data, synthetic):
    del key, data, synthetic
    return state, {}

  return InnerLoop(init, reset, update)


def observers(count: int) -> InnerLoop:
  """Frozen networks that come with the data, and take turns.

  The state holds nothing of them, so that no checkpoint does.

  Args:
    count: how many there are.

  Raises:
    ValueError: from `init`, if the data hold another number of them.
  """

  def init(key, data):
    if len(data.observers) != count:
      raise ValueError(
        f'data hold {len(data.observers)} observers: must be {count}'
      )
    return none().init(key, data)

  return none()._replace(
    init=init, variables=lambda state, data: InTurns(tuple(data.observers))
  )
