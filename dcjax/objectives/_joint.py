"""What objectives that see all classes at once share."""

import jax

from dcjax.base import Array, Batch, Network, Outputs, Variables, mixed
from dcjax.objectives._feature import mean_feature


def outputs_of(network: Network, variables: Variables, batch: Batch) -> Outputs:
  """Outputs `[C * N, ...]` of all images of all classes, in train mode.

  Args:
    network: applied to one batch, so that BatchNorm sees every class.
    variables: its numbers.
    batch: `[C, N, ...]`.

  Raises:
    ValueError: if the network exposes no embedding.
  """
  outputs, _ = network.apply(variables, mixed(batch).images, True)
  if outputs.embedding is None:
    raise ValueError(f'network {network.name!r} exposes no embedding')
  return outputs


def class_means(features: Array, batch: Batch) -> Array:
  """Means over each class's images that count.

  Args:
    features: `[C * N, ...]`.
    batch: `[C, N, ...]`, whose images the features are of.

  Returns:
    `[C, ...]`.
  """
  shape = batch.images.shape[:2]
  grouped = features.reshape(*shape, *features.shape[1:])
  return jax.vmap(mean_feature)(grouped, batch.weights)
