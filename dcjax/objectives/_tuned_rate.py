"""Rates of an optimiser that look after themselves (RCIG)."""

from typing import NamedTuple

import jax.numpy as jnp

from dcjax.base import Array

# While they grow, and every so many uses after that.
_GROWTH, _RETREAT = 1.2, 0.84
_EVERY, _OFTEN_FAILED, _OFTEN_SMOOTH = 50, 0.29, 0.7
_SLOWER, _FASTER = 0.9, 1.05


class TunedRate(NamedTuple):
  """A rate of Adam that looks after itself.

  Attributes:
    rate: `[]`.
    growing: `[]` bool, whether no step has been too long for it yet.
    failed: `[]` int32, uses that ended above their first value.
    smooth: `[]` int32, uses that fell at every step.
    uses: `[]` int32, since the counts were cleared.
  """

  rate: Array
  growing: Array
  failed: Array
  smooth: Array
  uses: Array


def first_rate(rate: float) -> TunedRate:
  """A rate that grows."""
  none = jnp.zeros((), jnp.int32)
  return TunedRate(jnp.float32(rate), jnp.array(True), none, none, none)


def looked_after(state: TunedRate, values: Array) -> TunedRate:
  """The rate of the next use, by what this use's steps came to."""
  smooth = jnp.all(values[1:] < values[:-1])
  failed = ~(values[-1] <= values[0])
  growing = state.growing & smooth
  uses = state.uses + ~state.growing
  failures = state.failed + (failed & ~state.growing)
  falls = state.smooth + (smooth & ~state.growing)
  counted = uses >= _EVERY
  factor = jnp.where(
    failures >= _OFTEN_FAILED * _EVERY,
    _SLOWER,
    jnp.where(falls >= _OFTEN_SMOOTH * _EVERY, _FASTER, 1.0),
  )
  factor = jnp.where(counted, factor, 1.0)
  early = jnp.where(growing, _GROWTH, _RETREAT)
  rate = state.rate * jnp.where(state.growing, early, factor)
  kept = jnp.where(counted, 0, 1)
  return TunedRate(rate, growing, failures * kept, falls * kept, uses * kept)
