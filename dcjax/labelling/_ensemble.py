"""What an ensemble of observers says about images, and learning from it."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax import training
from dcjax.base import Array, Augment, Network, Variables
from dcjax.feeds import Feed, TrainingSet, shuffled
from dcjax.losses import Loss, cross_entropy, mean
from dcjax.training import Mix, augmented
from dcjax.utils import check_at_least, check_choice

LOSSES = ('mse', 'kl')


class LabelledBatch(NamedTuple):
  """A `Batch` with the teachers' logits.

  Attributes:
    images: `[B, H, W, D]`, normalised and augmented.
    labels: `[B, K]` of the images before mixing.
    weights: `[B]`, or None for all alike.
    logits: `[B, K]`.
  """

  images: Array
  labels: Array
  weights: Array | None
  logits: Array


class TaughtSet(NamedTuple):
  """Images and who labels them while students train; see `online`.

  Attributes:
    images: see `evaluation.training_set`.
    teachers: variables of each of the teachers.
  """

  images: TrainingSet
  teachers: Sequence[Variables]


def ensemble_logits(
  networks: Sequence[Network], variables: Sequence[Variables], images: Array
) -> Array:
  """Mean logits of several networks, in eval mode.

  Args:
    networks: may be of different kinds.
    variables: of each network.
    images: `[B, H, W, D]`, normalised.

  Returns:
    `[B, K]`.

  Raises:
    ValueError: if there is no network, or not as many variables.
  """
  if not networks or len(networks) != len(variables):
    raise ValueError(
      f'teachers: {len(networks)} networks and {len(variables)} weights; must '
      'be as many of both, one at least'
    )
  logits = [
    network.apply(numbers, images, False)[0].logits
    for network, numbers in zip(networks, variables, strict=True)
  ]
  return sum(logits) / len(logits)


def soft_labels(
  networks: Sequence[Network],
  variables: Sequence[Variables],
  images: Array,
  *,
  normalise: Augment,
  temperature: float = 1.0,
  batch_size: int = 100,
) -> Array:
  """One soft label per image: the cheapest relabelling.

  Args:
    networks: the teachers.
    variables: of each network.
    images: `[C, N, H, W, D]` in [0, 1].
    normalise: applied to the images.
    temperature: of the softmax, positive.
    batch_size: images at a time.

  Returns:
    `[C, N, K]` probabilities: an artefact's labels with the label regime 'one
    soft label per image'.

  Raises:
    ValueError: if the temperature is not positive, or see `ensemble_logits`.
  """
  _check_temperature(temperature)

  @jax.jit
  def label(variables, images):
    def predict(batch):
      batch = normalise(jax.random.key(0), batch)
      return ensemble_logits(networks, variables, batch)

    flat = images.reshape(-1, *images.shape[2:])
    logits = training.in_batches(predict, flat, batch_size)
    return jax.nn.softmax(logits / temperature)

  return label(tuple(variables), images).reshape(*images.shape[:2], -1)


def student_loss(
  kind: str = 'mse', *, hard_weight: float = 0.025, temperature: float = 20.0
) -> Loss:
  """Makes the loss of a student that learns from a teacher's logits.

  `'mse'` is that of G-VBSM and EDC: the mean squared difference of the logits
  plus `hard_weight` times the cross-entropy with the label of the image that
  was not mixed. The paper does not give the weight; EDC's scripts have 0.025,
  its code's default and G-VBSM 0.1 (CIFAR 0.15). `'kl'` is that of SRe2L and
  RDED: `KL(softmax(teacher / T) || softmax(student / T))`, mean over images,
  without a factor `T^2`, and without cross-entropy unless `hard_weight` is
  given as above.

  Args:
    kind: `'mse'` or `'kl'`.
    hard_weight: of the cross-entropy, at least 0; 0 in SRe2L and RDED.
    temperature: `T` of `'kl'`, positive; 20, on CIFAR-100 in SRe2L 30.

  Returns:
    `(student [B, K], LabelledBatch) -> []`.

  Raises:
    ValueError: if an option is unknown or out of range.
  """
  check_choice('loss', kind, LOSSES)
  check_at_least('hard_weight', hard_weight, 0)
  _check_temperature(temperature)

  def distances(student, teacher):
    if kind == 'mse':
      return jnp.mean(jnp.square(student - teacher), axis=-1)
    wanted = jax.nn.log_softmax(teacher / temperature)
    given = jax.nn.log_softmax(student / temperature)
    return jnp.sum(jnp.exp(wanted) * (wanted - given), axis=-1)

  def loss(student, batch):
    value = mean(distances(student, batch.logits), batch.weights)
    if hard_weight:
      value += hard_weight * cross_entropy(student, batch)
    return value

  return loss


def online(
  networks: Sequence[Network],
  loss: Loss,
  *,
  batch_size: int,
  augment: Augment | None = None,
  mix: Mix | None = None,
  own_teachers: bool = False,
) -> Feed:
  """Images that teachers label in every batch as the student sees it.

  Args:
    networks: the teachers.
    loss: see `student_loss`.
    batch_size: of the student's training.
    augment: normalisation and augmentation.
    mix: CutMix or the like, after augmentation.
    own_teachers: whether each student has teachers of its own, along a leading
      axis of their variables.

  Returns:
    A feed on a `TaughtSet`.

  Example:
    >>> feed = online(observers, student_loss('mse'), batch_size=50)
    >>> taught = TaughtSet(data.real, [variables])  # what it draws from
  """
  plain = shuffled(batch_size)

  def next_fn(key, state, data):
    draw_key, own_key = jax.random.split(key)
    state, batch = plain.next(draw_key, state, data.images)
    seen = augmented(own_key, batch, augment, mix)
    logits = ensemble_logits(networks, data.teachers, seen.images)
    return state, LabelledBatch(
      seen.images, batch.labels, batch.weights, logits
    )

  return Feed(
    lambda key, data: plain.init(key, data.images),
    next_fn,
    lambda data: plain.steps(data.images),
    loss,
    TaughtSet(False, own_teachers),
  )


def teacher_bytes(variables: Sequence[Variables]) -> int:
  """Bytes of the teachers' numbers: what online labels cost in storage.

  Args:
    variables: of each network.
  """
  return sum(leaf.nbytes for leaf in jax.tree.leaves(tuple(variables)))


def _check_temperature(temperature):
  if not temperature > 0:
    raise ValueError(f'temperature {temperature!r}: must be positive')
