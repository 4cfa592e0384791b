"""Networks with fewer outputs than they have numbers for."""

import jax.numpy as jnp

from dcjax.base import Array, Network

# Far below any logit: its probability and its gradient are exactly 0.
_ABSENT = -1e9


def mask_logits(logits: Array, present: Array) -> Array:
  """Lowers absent outputs so far that their probability is zero.

  Args:
    logits: `[..., K]`.
    present: `[K]` bool.
  """
  return jnp.where(present, logits, _ABSENT)


def with_outputs(network: Network, present: Array | None) -> Network:
  """A network whose absent outputs can neither win nor learn.

  Equal in value and gradient to a network with the present outputs alone, but
  one compiled program serves every number of classes.

  Args:
    network: with `K` outputs.
    present: `[K]` bool, may be traced; None: all.

  Returns:
    The same network with logits of absent classes so low that their
    probability is exactly 0.
  """
  if present is None:
    return network

  def apply(variables, images, train):
    outputs, state = network.apply(variables, images, train)
    return outputs._replace(logits=mask_logits(outputs.logits, present)), state

  return network._replace(apply=apply)
