"""Matching of mean features: IDC's `--match feat`."""

import jax.numpy as jnp
from jax import lax

from dcjax.base import (
  Array,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  Outputs,
  Variables,
)
from dcjax.objectives._distances import squared


def mean_feature(features: Array, weights: Array | None) -> Array:
  """Mean over the images that count.

  Args:
    features: `[N, ...]`.
    weights: `[N]` or None.

  Returns:
    `[...]`.
  """
  if weights is None:
    return features.mean(axis=0)
  weights = weights.reshape(-1, *(1,) * (features.ndim - 1))
  return (features * weights).sum(axis=0) / weights.sum()


def feature_matching(
  blocks: tuple[int, ...] = (-1,), *, constant_target: bool = True
) -> Objective:
  """Makes class means of block outputs agree, squared and summed.

  Kim et al. (2022), section 5.4 ("feature matching"): the sum over the chosen
  blocks of `||mean f(real) - mean f(synthetic)||^2`; nothing divides it.

  Args:
    blocks: indices into `Outputs.taps`; the last block by default.
    constant_target: whether the real features are constants; False for
      derivatives in real images and the network's variables.

  Raises:
    ValueError: when called with a network that has no such block.
  """

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    real, _ = network.apply(variables, target.images, True)
    if constant_target:
      real = lax.stop_gradient(real)
    fake, _ = network.apply(variables, synthetic.images, True)
    distances = [
      squared(
        mean_feature(_tap(real, block), target.weights),
        mean_feature(_tap(fake, block), synthetic.weights),
      )
      for block in blocks
    ]
    value = sum(distances, start=jnp.zeros(()))
    return value, {'loss': value}

  return Objective(loss)


def _tap(outputs: Outputs, block: int) -> Array:
  count = len(outputs.taps)
  if not -count <= block < count:
    raise ValueError(
      f'blocks {block}: the network exposes {count} block outputs'
    )
  return outputs.taps[block]
