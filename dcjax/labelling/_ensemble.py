"""What an ensemble of observers says about images, and learning from it."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from dcjax import training
from dcjax.base import Array, Augment, Batch, Network, PyTree, Variables
from dcjax.objectives import cross_entropy
from dcjax.utils import check_at_least, check_choice

LOSSES = ('mse', 'kl')

# (student's logits [B, K], teacher's [B, K], hard labels [B, K], weights [B] or
# None) -> [].
StudentLoss = Callable[[Array, Array, Array, Array | None], Array]


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
) -> StudentLoss:
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
    A `StudentLoss`: `(student [B, K], teacher [B, K], labels [B, K], weights
    [B] or None) -> []`.

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

  def loss(student, teacher, labels, weights=None):
    values = distances(student, jax.lax.stop_gradient(teacher))
    counts = jnp.ones_like(values) if weights is None else weights
    value = jnp.sum(values * counts) / jnp.sum(counts)
    if hard_weight:
      batch = Batch(student, labels, weights)
      value += hard_weight * cross_entropy(student, batch)
    return value

  return loss


def online(
  networks: Sequence[Network], loss: StudentLoss
) -> Callable[[PyTree, Array, Batch, Array], Array]:
  """Makes a student learn from teachers that label every batch as it sees it.

  Args:
    networks: the teachers.
    loss: see `student_loss`.

  Returns:
    `(variables of each teacher, student's logits [B, K], batch as the student
    saw it, labels [B, K] before mixing) -> []`: the `loss` of
    `evaluation.evaluator`, whose set then holds the variables as `teacher`;
    with the variables filled in, the `loss` of `training.train_step`.

  Example:
    >>> loss = online(networks, student_loss('mse'))
    >>> test = evaluation.evaluator(student, ..., loss=loss)
    >>> data = evaluation.training_set(images, labels, 10)
    >>> evaluation.evaluate(test, data._replace(teacher=variables), key, ...)
  """

  def learn(variables, logits, batch, labels):
    teacher = ensemble_logits(networks, variables, batch.images)
    return loss(logits, teacher, labels, batch.weights)

  return learn


def teacher_bytes(variables: Sequence[Variables]) -> int:
  """Bytes of the teachers' numbers: what online labels cost in storage.

  Args:
    variables: of each network.
  """
  return sum(leaf.nbytes for leaf in jax.tree.leaves(tuple(variables)))


def _check_temperature(temperature):
  if not temperature > 0:
    raise ValueError(f'temperature {temperature!r}: must be positive')
