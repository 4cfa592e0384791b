"""Matching of features layer by layer, with discrimination: CAFE."""

from collections.abc import Sequence

import jax.numpy as jnp
import optax
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
from dcjax.objectives._joint import class_means, outputs_of
from dcjax.utils import check_at_least, check_choice

# Where a block's output is taken.
LAYERS = ('before_pooling', 'after_pooling')


def cafe_matching(
  layer_weights: Sequence[float] = (0.1, 0.1, 1.0, 1.0),
  *,
  last_weight: float = 1.0,
  discrimination: float = 0.01,
  layers: str = 'before_pooling',
  constant_target: bool = True,
) -> Objective:
  """Makes class means agree in every layer, and tell real images apart.

  Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features" (CVPR
  2022). With `m_l(c)` the mean of layer `l` over the images of class `c`:

    `sum_l w_l sum_c ||m_l(real_c) - m_l(synthetic_c)||^2`
    `+ last_weight sum_c ||m_L(real_c) - m_L(synthetic_c)||^2`
    `+ discrimination sum_i CE(<e_i, m_L(synthetic)>, y_i)`

  The layers are the network's block outputs and then its embedding, which is
  also `m_L`. The last sum runs over all real images (it is a sum, not a mean):
  the logits `[C]` of an image are the inner products of its embedding `e_i`
  with the embedding means of the synthetic classes.

  Reductions, weights and terms are those of the published code. As it lists
  features from the deepest to the shallowest and indexes them from the end, its
  weights 1 belong to the two deepest layers. Two differences: one augmentation
  draw serves all classes (see `match`), not one for each; and its cross-entropy
  of the network's own logits of real images is left out, because it does not
  depend on the synthetic ones.

  Args:
    layer_weights: one for each layer, shallow to deep, aligned at the deepest:
      networks with fewer layers use the last weights, with more layers repeat
      the first one. A network with three blocks has four layers.
    last_weight: of the further term in the embedding means.
    discrimination: weight of the discrimination loss; 0 for none.
    layers: where block outputs are taken: `'before_pooling'`, as published
      (behind the activation), or `'after_pooling'`, where they have a quarter
      of the numbers, and the loss about a fifth of its size. The same for
      networks that expose no `Outputs.unpooled`.
    constant_target: whether what the network says of real images is constant;
      False for derivatives in real images and the network's variables.

  Returns:
    A joint objective; its metrics are `loss`, and the parts `layers` (the first
    two sums) and `discrimination`, both weighted.

  Raises:
    ValueError: if there are no layer weights, one is below 0 or `layers` is
      unknown; when called, if the network exposes no embedding.

  Example:
    >>> loss, metrics = dcjax.match(
    ...   network, variables, real, synthetic, key, objective=cafe_matching())
  """
  if not layer_weights:
    raise ValueError('layer_weights (): must hold at least one weight')
  for weight in layer_weights:
    check_at_least('layer_weights', weight, 0)
  check_at_least('last_weight', last_weight, 0)
  check_at_least('discrimination', discrimination, 0)
  check_choice('layers', layers, LAYERS)

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    real = outputs_of(network, variables, target)
    if constant_target:
      real = lax.stop_gradient(real)
    fake = outputs_of(network, variables, synthetic)
    pairs = [
      (class_means(r, target), class_means(f, synthetic))
      for r, f in zip(_layers(real, layers), _layers(fake, layers), strict=True)
    ]
    weights = _aligned(layer_weights, len(pairs))
    weights[-1] += last_weight
    aligned = sum(
      weight * squared(*pair)
      for weight, pair in zip(weights, pairs, strict=True)
    )
    apart = discrimination * discrimination_loss(
      real.embedding, pairs[-1][1], target
    )
    value = aligned + apart
    return value, {'loss': value, 'layers': aligned, 'discrimination': apart}

  return Objective(loss, joint=True)


def discrimination_loss(
  embeddings: Array, centres: Array, target: Batch
) -> Array:
  """How badly synthetic class means classify real images (CAFE's L_D).

  Args:
    embeddings: `[C * N, F]` of the real images.
    centres: `[C, F]` embedding means of the synthetic classes.
    target: `[C, N, ...]`, the real images; padding of weight 0 does not count.

  Returns:
    `[]`, the cross-entropy in nats, summed over images.
  """
  classes, per_class = target.images.shape[:2]
  labels = jnp.repeat(jnp.arange(classes), per_class)
  losses = optax.softmax_cross_entropy_with_integer_labels(
    embeddings @ centres.T, labels
  )
  if target.weights is None:
    return jnp.sum(losses)
  return jnp.sum(losses * target.weights.reshape(-1))


def _layers(
  outputs: Outputs, place: str = 'after_pooling'
) -> tuple[Array, ...]:
  blocks = outputs.unpooled if place == 'before_pooling' else ()
  return (*(blocks or outputs.taps), outputs.embedding)


def _aligned(weights, count):
  """The weights of `count` layers, aligned at the deepest."""
  return ([weights[0]] * count + list(weights))[-count:]
