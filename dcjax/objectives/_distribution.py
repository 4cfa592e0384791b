"""Matching of feature distributions: DM."""

from dcjax.base import (
  Array,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  Variables,
)
from dcjax.objectives._distances import squared
from dcjax.objectives._feature import mean_feature


def distribution_matching() -> Objective:
  """Makes class means of embeddings agree under random networks.

  `sum_c ||mean embed(real_c) - mean embed(synthetic_c)||^2`: Zhao & Bilen,
  "Dataset Condensation with Distribution Matching" (2023), equation 4, with the
  empirical mean discrepancy; summed over features, nothing divides it.

  BatchNorm networks see one class at a time here, unlike the reference, which
  pushes all classes through together: use instance norm.

  Raises:
    ValueError: when called with a network that exposes no embedding.
  """

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    value = squared(
      _mean_embedding(network, variables, target),
      _mean_embedding(network, variables, synthetic),
    )
    return value, {'loss': value}

  return Objective(loss)


def _mean_embedding(network, variables, batch):
  embedding = network.apply(variables, batch.images, True)[0].embedding
  if embedding is None:
    raise ValueError(f'network {network.name!r} exposes no embedding')
  return mean_feature(embedding, batch.weights)
