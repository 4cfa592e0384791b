"""Condensation into a codebook and a generator that all classes share."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from dcjax import formations, objectives, optimizers
from dcjax.base import Array, Augment, Formation, Network
from dcjax.condensing import Condenser
from dcjax.data import _sampling as sampling
from dcjax.inner import train_on_real
from dcjax.methods._class_embeddings import feature_sizes
from dcjax.methods._generative_step import Method, init_of, period_of
from dcjax.networks import feature_discriminator
from dcjax.objectives import GenerativeTerms
from dcjax.utils import check_at_least, check_choice

CONDITIONS = ('class', 'one_hot', 'online')
CODES = ('learned', *formations.CODES)
OPTIMIZERS = ('sgd', 'adam')
# Loss of a discriminator that says nothing is 2 log 2, about 1.4.
_LARGEST_LOSS = 20.0
_STUCK = 0.005


def generative(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  steps: int,
  inner_steps: int = 100,
  terms: GenerativeTerms | None = None,
  condition: str = 'class',
  codes: str = 'learned',
  codes_per_step: int = 10,
  classes_per_step: int = 0,
  batch_real: int = 256,
  soft_labels: Array | None = None,
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
  codes_learning_rate: float = 0.01,
  generator_learning_rate: float = 0.001,
  momentum: float = 0.5,
  optimizer: str = 'sgd',
  largest_gradient: float = 1.0,
  discriminator_learning_rate: float = 1e-4,
  discriminator_widths: tuple[int, ...] = (512, 256),
  network_batches: int = 1,
  network_batch_size: int = 256,
  network_learning_rate: float = 0.01,
  network_momentum: float = 0.9,
  early_batches: int = 0,
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
    terms: see `objectives.generative_terms`.
    condition: what tells the classes apart: `'class'` and `'one_hot'` leave the
      stored embeddings as they are; `'online'` replaces them in every step by
      the mean features of the associations under the current network, each
      with mean 0 and variance 1 over the step's classes. The intra-class loss
      pulls to the embeddings if `'class'`, else to these means.
    codes: `'learned'`, or how `formations.draw_codes` draws new ones in every
      step; the stored codes then stay as they start.
    codes_per_step: codes of a step, at most; the intra-class loss needs 2.
    classes_per_step: classes of a step, at random; 0 for all.
    batch_real: real images of a class's association.
    soft_labels: `[C, K]` of the classification loss; None for one-hot ones.
    match_augment: normalisation, and siamese augmentation if any.
    train_augment: normalisation and per-sample augmentation of the network's
      training.
    codes_learning_rate: of the codes.
    generator_learning_rate: of generator and projection.
    momentum: of both.
    optimizer: of both, see `codebook_optimizer`.
    largest_gradient: see `codebook_optimizer`.
    discriminator_learning_rate: of the discriminator.
    discriminator_widths: see `networks.feature_discriminator`.
    network_batches: network updates after every step.
    network_batch_size: real images of a network update.
    network_learning_rate: of the network.
    network_momentum: of the network.
    early_batches: network updates before a period's first step.

  Returns:
    A condenser whose `CondenseState.inner` is a `GenerativeState`. Metrics are
    the loss, its terms, and the discriminator's loss and accuracy.

  Raises:
    ValueError: if an option is unknown or out of range, the formation is no
      codebook, or its embeddings cannot be what `condition` says.

  Example:
    >>> formation = formations.codebook(10, image_shape, embedding_dim=2)
    >>> method = generative(network, formation, dataset.counts, steps=10000)
  """
  check_choice('condition', condition, CONDITIONS)
  check_choice('codes', codes, CODES)
  for name, value in (
    ('steps', steps),
    ('inner_steps', inner_steps),
    ('codes_per_step', codes_per_step),
    ('batch_real', batch_real),
  ):
    check_at_least(name, value, 1)
  check_at_least('classes_per_step', classes_per_step, 0)
  _check_codebook(network, formation, condition)
  num_classes = len(counts)
  features, _ = feature_sizes(network, formation.spec['image_shape'])
  method = Method(
    network,
    formation,
    terms or objectives.generative_terms(),
    codebook_optimizer(
      codes_learning_rate,
      generator_learning_rate,
      steps,
      momentum,
      largest_gradient,
      optimizer,
    ),
    feature_discriminator(
      features, formation.spec['embedding_dim'], discriminator_widths
    ),
    optax.adam(discriminator_learning_rate, b1=0.0, b2=0.9),
    train_on_real(
      network,
      optimizers.sgd(network_learning_rate, momentum=network_momentum),
      num_images=int(np.sum(counts)),
      num_classes=num_classes,
      batch_size=network_batch_size,
      num_batches=network_batches,
      early_batches=early_batches,
      augment=train_augment,
    ),
    sampling.shuffler(int(np.max(counts)), batch_real),
    match_augment,
    np.asarray(counts),
    jnp.eye(num_classes) if soft_labels is None else jnp.asarray(soft_labels),
    condition,
    codes,
    codes_per_step,
    min(classes_per_step or num_classes, num_classes),
  )
  made = Condenser(init_of(method), period_of(method, inner_steps))
  return calibrated(made, formation)


def calibrated(condenser: Condenser, formation: Formation) -> Condenser:
  """Measures a codebook's BatchNorm statistics at the end of every period.

  Training takes the statistics of its batches; what is decoded afterwards, for
  a file or an evaluation, takes those that are stored.

  Args:
    condenser: of any method; its formation is `formations.in_training` of the
      codebook.
    formation: the codebook itself.

  Example:
    >>> shown = formations.in_training(formation)
    >>> method = calibrated(dm(network, shown, counts, std), formation)
  """

  def period(key, state, data):
    state, metrics = condenser.period(key, state, data)
    params = formations.calibrate(formation, state.params)
    return state._replace(params=params), metrics

  return condenser._replace(period=period)


def codebook_optimizer(
  codes_learning_rate: float,
  generator_learning_rate: float,
  steps: int,
  momentum: float = 0.5,
  largest_gradient: float = 1.0,
  optimizer: str = 'sgd',
) -> optax.GradientTransformation:
  """Steps a codebook's params: two rates that fall linearly, the rest fixed.

  The feature term, a sum over layers, has gradients of a size that depends on
  network and data; at the paper's rates they can drive the generator's `tanh`
  into saturation within a few steps, from which it never returns. So gradients
  are clipped, which the paper does not mention.

  Args:
    codes_learning_rate: of the codes, at the start.
    generator_learning_rate: of generator and projection, at the start.
    steps: after which both are 0.
    momentum: of both, Adam's first beta.
    largest_gradient: norm to which the gradient of the codes, and that of
      generator and projection, is clipped; 0 for no limit.
    optimizer: one of `OPTIMIZERS`. The paper has `'sgd'`; `'adam'` gives every
      number a step of its rate's size, whatever a term's scale is.

  Raises:
    ValueError: if `largest_gradient` is negative, or the optimiser unknown.
  """
  check_choice('optimizer', optimizer, OPTIMIZERS)
  if not largest_gradient >= 0:
    raise ValueError(
      f'largest_gradient {largest_gradient}: must be at least 0; 0 is no limit'
    )

  def falling(rate):
    falling_rate = optax.linear_schedule(rate, 0.0, steps)
    if optimizer == 'adam':
      steps_of = optax.adam(falling_rate, b1=momentum)
    else:
      steps_of = optimizers.sgd(falling_rate, momentum=momentum)
    if not largest_gradient:
      return steps_of
    return optax.chain(optax.clip_by_global_norm(largest_gradient), steps_of)

  kinds = {
    'codes': falling(codes_learning_rate),
    'generator': falling(generator_learning_rate),
    'fixed': optax.set_to_zero(),
  }

  def labels(params):
    return {name: name if name in kinds else 'fixed' for name in params}

  return optax.multi_transform(kinds, labels)


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
