"""The losses of condensation into a generative model, as one objective."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dcjax.base import (
  Array,
  Batch,
  Key,
  Metrics,
  Network,
  Params,
  PyTree,
  StatefulObjective,
  Variables,
)
from dcjax.networks import Discriminator
from dcjax.objectives._generative import (
  GenerativeTerms,
  Judged,
  check_generative_terms,
  class_feature_means,
  discriminator_accuracy,
  discriminator_loss,
  generative_loss,
  judge,
  standardised,
)
from dcjax.utils import check_choice

ANCHORS = ('embeddings', 'means')


class DiscriminatorState(NamedTuple):
  """A discriminator in training.

  Attributes:
    weights: its own.
    opt_state: of its optimiser.
  """

  weights: Params
  opt_state: PyTree


def generative_matching(
  terms: GenerativeTerms,
  discriminator: Discriminator,
  optimizer: optax.GradientTransformation,
  *,
  anchors: str = 'means',
  soft_labels: Array | None = None,
) -> StatefulObjective:
  """Makes real and synthetic images alike for a discriminator, and in features.

  "Dataset Condensation via Generative Model" (2023), section 3.3; see
  `generative_loss`. In every step the images are judged by the discriminator as
  it is, and then the discriminator makes one step on the same features, without
  a gradient into images or network. Any images will do, not only those of a
  generator: where a batch brings no embeddings of its classes, the
  discriminator is told the mean features of the real images, each number with
  mean 0 and variance 1 over the classes.

  Args:
    terms: weights and options.
    discriminator: see `networks.feature_discriminator`.
    optimizer: of the discriminator.
    anchors: what the intra-class loss pulls to: the batch's `'embeddings'`, if
      it brings any, or the `'means'` of the real images' features.
    soft_labels: `[C, K]` of the classification loss, by class; None for the
      labels of the images.

  Returns:
    An objective for a `Batch` of real images. Metrics are the loss, every term
    before its weight, and the discriminator's loss and accuracy.

  Raises:
    ValueError: if an option is unknown or out of range.
  """
  check_generative_terms(terms)
  check_choice('anchors', anchors, ANCHORS)

  def init(key: Key, synthetic: Batch, data: PyTree) -> DiscriminatorState:
    del synthetic, data
    weights = discriminator.init(key)
    return DiscriminatorState(weights, optimizer.init(weights))

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
    state: DiscriminatorState,
  ) -> tuple[Array, tuple[Metrics, DiscriminatorState]]:
    del key  # nothing is drawn here
    if soft_labels is not None:
      synthetic = _relabelled(synthetic, soft_labels, target.classes)
    real = jax.lax.stop_gradient(judge(network, variables, target))
    fake = judge(network, variables, synthetic)
    real, fake, conditions, means = _compared(real, fake, terms.standardised)
    pull = conditions
    if anchors == 'means' or synthetic.embeddings is None:
      pull = means
    scores = _scores(discriminator, state.weights, fake, conditions)
    value, metrics = generative_loss(
      terms, fake, real, scores=scores, anchors=pull
    )
    following, found = _step(
      discriminator, optimizer, state, real, fake, conditions
    )
    return value, (metrics | found, following)

  return StatefulObjective(init, loss)


def _relabelled(synthetic, soft_labels, classes):
  soft = soft_labels if classes is None else soft_labels[classes]
  shape = (*synthetic.images.shape[:2], soft.shape[-1])
  return synthetic._replace(labels=jnp.broadcast_to(soft[:, None], shape))


def _compared(real, fake, apart):
  """Both sides, conditions and mean features, as the terms look at them."""
  means = class_feature_means(real)
  embeddings = fake.batch.embeddings
  if embeddings is None:
    conditions = standardised(means, like=means)
  else:
    conditions = jax.lax.stop_gradient(embeddings)
  if not apart:
    return real, fake, conditions, means
  see = functools.partial(standardised, like=real.pooled)
  return (
    real._replace(pooled=see(real.pooled)),
    fake._replace(pooled=see(fake.pooled)),
    standardised(conditions, like=conditions),
    see(means),
  )


def _scores(discriminator, weights, judged: Judged, conditions):
  """The discriminator's logits `[c * n]`."""
  per_class = judged.batch.images.shape[1]
  repeated = jnp.repeat(conditions, per_class, axis=0)
  return discriminator.apply(weights, judged.pooled, repeated)


def _step(discriminator, optimizer, state, real, fake, conditions):
  """One step of the discriminator, on features that are constants."""
  real, fake = jax.lax.stop_gradient((real, fake))

  def loss_fn(weights):
    logits = tuple(
      _scores(discriminator, weights, judged, conditions)
      for judged in (real, fake)
    )
    return discriminator_loss(*logits), logits

  (loss, logits), gradient = jax.value_and_grad(loss_fn, has_aux=True)(
    state.weights
  )
  updates, opt_state = optimizer.update(
    gradient, state.opt_state, state.weights
  )
  weights = optax.apply_updates(state.weights, updates)
  return DiscriminatorState(weights, opt_state), {
    'discriminator_loss': loss,
    'discriminator_accuracy': discriminator_accuracy(*logits),
  }
