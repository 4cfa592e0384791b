"""Condensation into a codebook and a generator that all classes share."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax

from dcjax import formations, objectives, optimizers
from dcjax.base import Array, Augment, Formation, Network, StatefulObjective
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.data import sampling
from dcjax.inner import train_on_real
from dcjax.methods._class_embeddings import feature_sizes
from dcjax.methods._generative_options import (
  CodebookDraws,
  CodebookSteps,
  DiscriminatorTraining,
  FeatureTraining,
  codebook_optimizer,
)
from dcjax.networks import feature_discriminator
from dcjax.objectives import GenerativeTerms
from dcjax.utils import check_at_least, check_choice

CONDITIONS = ('class', 'one_hot', 'online')
CODES = ('learned', *formations.CODES)
# Loss of a discriminator that says nothing is 2 log 2, about 1.4.
_LARGEST_LOSS = 20.0
_STUCK = 0.005
_TERMS = GenerativeTerms()


_DRAWS, _STEPS = CodebookDraws(), CodebookSteps()
_DISCRIMINATOR, _FEATURES = DiscriminatorTraining(), FeatureTraining()


def generative(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  steps: int,
  inner_steps: int = 100,
  terms: GenerativeTerms = _TERMS,
  draws: CodebookDraws = _DRAWS,
  stepping: CodebookSteps = _STEPS,
  judging: DiscriminatorTraining = _DISCRIMINATOR,
  learning: FeatureTraining = _FEATURES,
  soft_labels: Array | None = None,
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
) -> Condenser:
  """Trains codes, projection and generator on features of real images.

  "Dataset Condensation via Generative Model" (2023), Algorithm 1. A period
  takes a new feature network and makes `inner_steps` times: one step of codes
  and generator on the loss of `objectives.generative_loss`, one step of the
  discriminator, `network_batches` updates of the network on real images. A
  step generates some codes of some classes only, and draws an association of
  real images for each class: what it costs depends on neither ipc nor `C`.

  What the paper leaves open, and what is taken here: momentum 0.5 of codes and
  generator, as DC's images have, and 0.9 of the network; a discriminator of two
  hidden layers on pooled feature and class embedding, by Adam with betas 0 and
  0.9, one step a step; the classifier of the classification loss is the feature
  network's own, so that only images are moved by it; 100 network updates in a
  period. The discriminator sees features without a gradient into the network.

  Args:
    network: judges the images; exposes an embedding, and block outputs.
    formation: a `formations.codebook`.
    counts: `[C]` real images of each class.
    steps: of the whole run; the rates fall linearly to 0.
    inner_steps: of a period.
    terms: of the loss.
    draws: codes, classes and real images of a step.
    stepping: of codes and generator.
    judging: of the discriminator.
    learning: of the feature network.
    soft_labels: `[C, K]` of the classification loss; None for one-hot ones.
    match_augment: normalisation, and siamese augmentation if any.
    train_augment: normalisation and per-sample augmentation of the network's
      training.

  Returns:
    A condenser; metrics are those of `objectives.generative_matching`.

  Raises:
    ValueError: if an option is unknown or out of range, the formation is no
      codebook, or its embeddings cannot be what `condition` says.

  Example:
    >>> formation = formations.codebook(10, image_shape, embedding_dim=2)
    >>> method = generative(network, formation, dataset.counts, steps=10000)
  """
  check_choice('condition', draws.condition, CONDITIONS)
  check_choice('codes', draws.codes, CODES)
  for name, value in (
    ('steps', steps),
    ('inner_steps', inner_steps),
    ('codes_per_step', draws.codes_per_step),
    ('batch_real', draws.batch_real),
  ):
    check_at_least(name, value, 1)
  _check_codebook(network, formation, draws.condition)
  return condenser(
    network,
    formation=formations.with_drawn_codes(formation, draws.codes),
    objective=generative_objective(
      network,
      formation.spec['image_shape'],
      terms=terms,
      judging=judging,
      condition_dim=formation.spec['embedding_dim'],
      anchors='embeddings' if draws.condition == 'class' else 'means',
      soft_labels=soft_labels,
    ),
    source=real_batches(counts, draws.batch_real, draws.classes_per_step),
    inner=train_on_real(
      network,
      optimizers.sgd(
        learning.network_learning_rate, momentum=learning.network_momentum
      ),
      num_images=int(np.sum(counts)),
      num_classes=len(counts),
      batch_size=learning.network_batch_size,
      num_batches=learning.network_batches,
      early_batches=learning.early_batches,
      augment=train_augment,
    ),
    optimizer=codebook_optimizer(stepping, steps),
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=draws.codes_per_step,
    project='never',
    measure=_online(network, match_augment)
    if draws.condition == 'online'
    else None,
  )


def generative_objective(
  network: Network,
  image_shape: tuple[int, ...],
  *,
  terms: GenerativeTerms = _TERMS,
  judging: DiscriminatorTraining = _DISCRIMINATOR,
  condition_dim: int | None = None,
  anchors: str = 'means',
  soft_labels: Array | None = None,
) -> StatefulObjective:
  """`objectives.generative_matching` with a discriminator of the right size.

  Args:
    network: judges the images.
    image_shape: `(H, W, D)`.
    terms: of the loss.
    judging: of the discriminator.
    condition_dim: numbers of the embeddings that images bring; None for images
      that bring none.
    anchors: see `objectives.generative_matching`.
    soft_labels: see `objectives.generative_matching`.

  Example:
    >>> objective = generative_objective(network, image_shape)
    >>> method = dm(network, formations.identity(), counts, std,
    ...             instead=Instead(objective=objective))
  """
  features, _ = feature_sizes(network, image_shape)
  return objectives.generative_matching(
    terms,
    feature_discriminator(
      features, condition_dim or features, judging.discriminator_widths
    ),
    optax.adam(judging.discriminator_learning_rate, b1=0.0, b2=0.9),
    anchors=anchors,
    soft_labels=soft_labels,
  )


def _online(network, augment):
  """Embeddings that are the mean features of a step's real images."""

  def measure(key, params, target, variables):
    real = sampling.gathered(target)
    if augment is not None:
      flat = real.images.reshape(-1, *real.images.shape[2:])
      seen = augment(key, flat).reshape(real.images.shape)
      real = real._replace(images=seen)
    judged = objectives.judge(network, variables, real)
    means = jax.lax.stop_gradient(objectives.class_feature_means(judged))
    # Means of features are nearly the same vector for all classes.
    apart = objectives.standardised(means, like=means)
    if real.classes is not None:
      apart = params['embeddings'].at[real.classes].set(apart)
    return {**params, 'embeddings': apart}

  return measure


def discriminator_problem(metrics: Mapping[str, Any]) -> str | None:
  """Says what is wrong with a discriminator that was useless for a period.

  Args:
    metrics: of a period of `generative`, `[inner_steps]` each.

  Returns:
    A sentence, or None if all is well or the method has no discriminator.
  """
  if 'discriminator_loss' not in metrics:
    return None
  loss = np.asarray(metrics['discriminator_loss'])
  accuracy = np.asarray(metrics['discriminator_accuracy'])
  if not np.isfinite(loss).all():
    return 'the discriminator diverged: its loss is not finite'
  if (loss > _LARGEST_LOSS).all():
    return (
      f'the discriminator diverged: its loss stayed above {_LARGEST_LOSS:g} '
      f'(mean {loss.mean():.3g}); try a smaller discriminator.learning_rate'
    )
  if (accuracy < _STUCK).all() or (accuracy > 1 - _STUCK).all():
    return (
      f'the accuracy of the discriminator is stuck at {accuracy.mean():.0%}: '
      'its term says nothing about the images'
    )
  return None


def _check_codebook(network, formation, condition):
  spec = formation.spec
  if spec['name'] != 'codebook':
    raise ValueError(
      f'formation {spec["name"]!r}: the generative method needs a codebook'
    )
  found = spec['embedding_dim']
  wanted = feature_sizes(network, spec['image_shape'])[0]
  if condition == 'one_hot':
    wanted = spec['num_classes']
  if found != wanted:
    raise ValueError(
      f'embedding_dim {found}: must be {wanted} for condition {condition!r} '
      f'and network {network.name!r}'
    )
