"""The supply of networks for objectives that need none."""

import jax.numpy as jnp

from dcjax.base import Variables
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
