"""The losses of condensation into a generative model, term by term.

"Dataset Condensation via Generative Model" (2023), section 3.3. Features keep
the class axis: `[c, n, ...]`, of `c` classes and `n` images of each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax.base import Array, Batch, Metrics, Network, Outputs, Variables, mixed
from dcjax.objectives._cafe import _aligned, _layers
from dcjax.objectives._gradient import cross_entropy
from dcjax.objectives._joint import class_means, outputs_of
from dcjax.utils import check_at_least, check_choice

REDUCTIONS = ('sum', 'mean')
COMPARED = ('image', 'class')
_EPSILON = 1e-8
_WEIGHTS = ('adversarial', 'classification', 'feature', 'intra', 'inter')


class GenerativeTerms(NamedTuple):
  """Weights and options of the loss.

  Attributes:
    adversarial: weight, as the next four: 1 as printed, 0 for none.
    classification: of the cross-entropy of the network's own classifier.
    feature: of `association_loss`.
    intra: of `intra_loss`.
    inter: of `inter_loss`.
    saturating: see `adversarial_loss`.
    layer_weights: as in `cafe_matching`.
    reduction: see `association_loss`.
    compared: see `association_loss`.
    temperature: see `intra_loss`.
    margin: see `inter_loss`.
    standardised: whether the pooled features of both relation losses and of the
      discriminator are those of `standardised`.
    normalised: of both relation losses.
  """

  adversarial: float = 1.0
  classification: float = 1.0
  feature: float = 1.0
  intra: float = 1.0
  inter: float = 1.0
  saturating: bool = False
  layer_weights: tuple[float, ...] = (0.1, 0.1, 1.0, 1.0)
  reduction: str = 'sum'
  compared: str = 'image'
  temperature: float = 0.1
  margin: float = 1.0
  standardised: bool = False
  normalised: bool = True


class Judged(NamedTuple):
  """What a network says about images of `c` classes.

  Attributes:
    layers: block outputs and embedding, `[c * n, ...]`.
    logits: `[c * n, K]`.
    pooled: `[c * n, F]`, see `pooled_features`.
    batch: the images, `[c, n, ...]`.
  """

  layers: tuple[Array, ...]
  logits: Array
  pooled: Array
  batch: Batch


def check_generative_terms(terms: GenerativeTerms) -> None:
  """Checks weights and options of the loss.

  Raises:
    ValueError: if one is out of range.
  """
  for name in (*_WEIGHTS, 'margin'):
    check_at_least(name, getattr(terms, name), 0)
  if not terms.layer_weights:
    raise ValueError('layer_weights (): must hold at least one weight')
  for weight in terms.layer_weights:
    check_at_least('layer_weights', weight, 0)
  check_choice('reduction', terms.reduction, REDUCTIONS)
  check_choice('compared', terms.compared, COMPARED)
  if not terms.temperature > 0:
    raise ValueError(f'temperature {terms.temperature!r}: must be positive')


def pooled_features(outputs: Outputs) -> Array:
  """The last block's output, averaged over rows and columns: `[B, F]`.

  Networks without block outputs give their embedding.

  Raises:
    ValueError: if the network exposes neither.
  """
  if outputs.taps and outputs.taps[-1].ndim == 4:
    return jnp.mean(outputs.taps[-1], axis=(1, 2))
  if outputs.embedding is None:
    raise ValueError('the network exposes neither blocks nor an embedding')
  return outputs.embedding.reshape(outputs.embedding.shape[0], -1)


def judge(network: Network, variables: Variables, batch: Batch) -> Judged:
  """Looks at images `[c, n, H, W, D]`, normalised, all in one batch.

  Raises:
    ValueError: if the network exposes no embedding.
  """
  outputs = outputs_of(network, variables, batch)
  return Judged(
    _layers(outputs), outputs.logits, pooled_features(outputs), batch
  )


def class_feature_means(judged: Judged) -> Array:
  """Means of the pooled features over each class's images: `[c, F]`."""
  return class_means(judged.pooled, judged.batch)


def standardised(features: Array, like: Array) -> Array:
  """Features minus the mean of `like`, over its deviation, in each number.

  Behind instance normalisation and ReLU the mean of a channel over its pixels
  is nearly the same in every image: pooled features have a cosine of almost 1,
  and neither relation losses nor a discriminator see much of them. What differs
  from image to image does, once each number has mean 0 and variance 1 over the
  real images. Not in the paper.

  Args:
    features: `[..., F]`.
    like: `[..., F]`, with any number of axes; gets no gradient.
  """
  like = jax.lax.stop_gradient(like.reshape(-1, like.shape[-1]))
  deviation = jnp.sqrt(jnp.var(like, axis=0) + _EPSILON)
  return (features - jnp.mean(like, axis=0)) / deviation


def adversarial_loss(logits: Array, saturating: bool = False) -> Array:
  """How well synthetic images are told from real ones: minimised by them.

  Args:
    logits: `[B]` of the discriminator for synthetic images.
    saturating: `mean log(1 - D)` as printed; else `-mean log D`, whose gradient
      does not vanish when the discriminator is sure.

  Returns:
    `[]`.
  """
  if saturating:
    return -jnp.mean(jax.nn.softplus(logits))
  return jnp.mean(jax.nn.softplus(-logits))


def discriminator_loss(real: Array, fake: Array) -> Array:
  """`-mean log D(real) - mean log(1 - D(fake))` in nats, of logits `[B]`."""
  return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def discriminator_accuracy(real: Array, fake: Array) -> Array:
  """Share in [0, 1] of logits `[B]` on the right side, both kinds alike."""
  return (jnp.mean(real > 0) + jnp.mean(fake < 0)) / 2


def association_loss(
  fake: Judged,
  real: Judged,
  layer_weights: Sequence[float] = GenerativeTerms().layer_weights,
  reduction: str = 'sum',
  compared: str = 'image',
) -> Array:
  """Pulls synthetic images to the mean feature of their association.

  Equation 2: `sum_l w_l ||f_l - mean f_l(association)||^2`, the mean over the
  real images of the same class that were drawn. It pulls one synthetic image at
  a time, so that all of a class become alike but for the intra-class loss;
  `compared='class'` compares class means on both sides, as CAFE does. The paper
  prints a squared norm and says MSE, and gives no weights.

  Args:
    fake: of synthetic images.
    real: of their associations, the same classes; gets no gradient.
    layer_weights: aligned at the deepest layer, see `cafe_matching`.
    reduction: `'sum'`: over the numbers of a layer, averaged over images;
      `'mean'`: over both.
    compared: `'image'`: each synthetic image; `'class'`: their class means.

  Returns:
    `[]`.
  """
  weights = _aligned(layer_weights, len(fake.layers))
  shape = fake.batch.images.shape[:2]
  total = jnp.zeros(())
  for weight, f, r in zip(weights, fake.layers, real.layers, strict=True):
    centres = jax.lax.stop_gradient(class_means(r, real.batch))
    features = f.reshape(*shape, *f.shape[1:])
    if compared == 'class':
      features = jnp.mean(features, axis=1, keepdims=True)
    gap = features - centres[:, None]
    number = gap.shape[0] * gap.shape[1]
    squares, per_image = jnp.sum(gap**2) / number, gap.size // number
    total += weight * squares / (per_image if reduction == 'mean' else 1)
  return total


def intra_loss(
  features: Array,
  anchors: Array,
  temperature: float = 0.1,
  normalised: bool = True,
) -> Array:
  """Keeps a class's synthetic images near its embedding, and apart.

  Equation 4: `-log e(<f_i, c>) / (e(<f_i, c>) + sum_{j != i} e(<f_i, f_j>))`
  with `e(x) = exp(x / temperature)`, averaged over images and classes. 0 for
  one image of a class.

  Args:
    features: `[c, n, F]` of synthetic images.
    anchors: `[c, F]` class embeddings; get no gradient.
    temperature: the paper gives none.
    normalised: whether features and anchors are scaled to length 1.

  Returns:
    `[]`.
  """
  anchors = jax.lax.stop_gradient(anchors)
  if normalised:
    features, anchors = _unit(features), _unit(anchors)
  own = jnp.einsum('cnf,cf->cn', features, anchors) / temperature
  others = jnp.einsum('cnf,cmf->cnm', features, features) / temperature
  same = jnp.eye(features.shape[1], dtype=bool)
  # The place of an image's product with itself is taken by its class's.
  every = jnp.where(same, own[..., None], others)
  return jnp.mean(jax.nn.logsumexp(every, axis=-1) - own)


def inter_loss(
  features: Array, margin: float = 1.0, normalised: bool = True
) -> Array:
  """Pushes the mean features of classes apart, up to a margin.

  Equation 5: `max(margin - ||mean f_A - mean f_B||, 0)`, here averaged over the
  pairs of classes, not summed, so that its weight does not depend on their
  number. The root has a small number added, for a finite gradient between
  equal means.

  Args:
    features: `[c, n, F]` of synthetic images.
    margin: the paper gives none.
    normalised: whether features are scaled to length 1 before their mean.

  Returns:
    `[]`; 0 for one class.
  """
  count = features.shape[0]
  if count == 1:
    return jnp.zeros(())
  if normalised:
    features = _unit(features)
  means = jnp.mean(features, axis=1)
  squares = jnp.sum((means[:, None] - means[None]) ** 2, axis=-1)
  short = jax.nn.relu(margin - jnp.sqrt(squares + _EPSILON))
  apart = 1 - jnp.eye(count)
  return jnp.sum(short * apart) / (count * (count - 1))


def generative_loss(
  terms: GenerativeTerms,
  fake: Judged,
  real: Judged,
  *,
  scores: Array,
  anchors: Array,
) -> tuple[Array, Metrics]:
  """The whole loss of the images, or of what generates them.

  `L_adv + L_c + L_f + L_intra + L_inter` with the weights of `terms`.

  Args:
    terms: see `GenerativeTerms`.
    fake: of synthetic images, whose labels the classification takes.
    real: of the associations, the same classes.
    scores: `[c * n]` logits of the discriminator for synthetic images.
    anchors: `[c, F]` what the intra-class loss pulls to.

  Returns:
    The loss, and every term before its weight.
  """
  pooled = fake.pooled.reshape(*fake.batch.images.shape[:2], -1)
  parts = {
    'adversarial': adversarial_loss(scores, terms.saturating),
    'classification': cross_entropy(fake.logits, mixed(fake.batch)),
    'feature': association_loss(
      fake, real, terms.layer_weights, terms.reduction, terms.compared
    ),
    'intra': intra_loss(pooled, anchors, terms.temperature, terms.normalised),
    'inter': inter_loss(pooled, terms.margin, terms.normalised),
  }
  weighted = [getattr(terms, name) * value for name, value in parts.items()]
  loss = sum(weighted, start=jnp.zeros(()))
  return loss, {'loss': loss, **parts}


def _unit(features):
  squares = jnp.sum(features**2, axis=-1, keepdims=True)
  return features * jax.lax.rsqrt(squares + _EPSILON)
