"""`match`: how far synthetic images are from what they must agree with."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dcjax.base import (
  Array,
  Augment,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  PyTree,
  StatefulObjective,
  Variables,
)
from dcjax.data.sampling import gathered
from dcjax.mapping import Strategy as ClassStrategy, over_classes


def match(
  network: Network | None,
  variables: Variables,
  target: PyTree,
  synthetic: Batch,
  key: Key,
  *,
  objective: Objective,
  augment: Augment | None = None,
  classes: ClassStrategy = 'auto',
) -> tuple[Array, Metrics]:
  """Compares synthetic images with their target.

  Differentiable in reverse, any number of times, in images and labels of
  `synthetic`. In `target` and `variables` by default only as condensation needs
  it: matching objectives take the target side, and what the network makes of
  it, as a constant. Made with `constant_target=False` they are differentiable
  there too; the two of label distillation always are.

  `jax.grad`, `jax.jit` and `jax.vmap` compose with it. `network`, `objective`
  and `augment` hold functions: close over them when jitting.

  Args:
    network: a `Network`; `dcjax.networks.from_linen` and `from_nnx` make one.
    variables: the network's numbers.
    target: what the objective compares with; a `Batch` of real images `[C, N,
      H, W, D]` with labels `[C, N, K]` for gradient and feature matching.
    synthetic: images `[C, M, H, W, D]`, labels `[C, M, K]`.
    key: consumed.
    objective: see `dcjax.objectives`.
    augment: applied to real and synthetic images with one key for each class
      (siamese augmentation, Zhao & Bilen, 2021); normalisation belongs here.
    classes: see `mapping.over_classes`.

  Returns:
    The loss `[]`, summed over classes, and metrics, likewise.

  Raises:
    ValueError: if the batches' shapes do not fit together.

  Example:
    >>> objective = dcjax.objectives.gradient_matching('l1')
    >>> def loss(images):
    ...   batch = synthetic._replace(images=images)
    ...   return dcjax.match(network, variables, real, batch, key,
    ...                      objective=objective)[0]
    >>> gradient = jax.jit(jax.grad(loss))(synthetic.images)

  With `gradient_matching('l1', constant_target=False)`, `jax.grad` in
  `variables` or `real.images` is right as well.
  """
  _check(target, synthetic)
  loss_fn = _augmented(network, variables, objective, augment)
  if objective.joint:
    return loss_fn(target, synthetic, key)
  losses, metrics = over_classes(loss_fn, classes)(
    target, _of_classes(synthetic), _class_keys(key, synthetic)
  )
  return jnp.sum(losses), jax.tree.map(lambda m: jnp.sum(m, 0), metrics)


def match_and_gradient(
  network: Network | None,
  variables: Variables,
  target: PyTree,
  synthetic: Batch,
  key: Key,
  *,
  objective: Objective,
  augment: Augment | None = None,
  classes: ClassStrategy = 'auto',
) -> tuple[Metrics, Batch]:
  """The metrics of `match` and the gradient of its loss in the batch.

  Equal to `jax.grad(match)`, but each class is differentiated on its own, so
  memory holds the network gradients of a class (or chunk), never of all.

  Args:
    network: see `match`, as for the other arguments.
    variables: see `match`.
    target: see `match`.
    synthetic: see `match`.
    key: see `match`; the same key draws the same augmentation.
    objective: see `match`.
    augment: see `match`.
    classes: see `match`.

  Returns:
    Metrics summed over classes, and the gradient in the synthetic batch:
    images `[C, M, H, W, D]`, labels `[C, M, K]`, no weights; a step size where
    the batch has one and the objective is joint.
  """
  _check(target, synthetic)
  loss_fn = _augmented(network, variables, objective, augment)

  def gradient(target, synthetic, key):
    def batch_loss(learned):
      return loss_fn(target, learned._replace(weights=synthetic.weights), key)

    found, metrics = jax.grad(batch_loss, has_aux=True)(
      synthetic._replace(weights=None)
    )
    return metrics, found

  if objective.joint:
    return gradient(target, synthetic, key)
  metrics, cotangent = over_classes(gradient, classes)(
    target, _of_classes(synthetic), _class_keys(key, synthetic)
  )
  return jax.tree.map(lambda m: jnp.sum(m, 0), metrics), cotangent


def match_by_class(
  network: Network | None,
  variables: Variables,
  target: PyTree,
  stored: Any,
  key: Key,
  *,
  decode: Callable[[Any], Array],
  objective: Objective,
  augment: Augment | None = None,
  classes: ClassStrategy = 'auto',
) -> tuple[Metrics, PyTree]:
  """`match_and_gradient` of images that are decoded class by class.

  Only one class is decoded at a time, and what leaves its device is the
  gradient of the stored numbers, not of the decoded images.

  Args:
    network: see `match`, as for the arguments that are not named here.
    variables: see `match`.
    target: see `match`.
    stored: a named tuple of `params`, a tree of arrays `[C, ...]`, of `labels
      [C, M, K]`, and of further arrays that `decode` reads.
    key: see `match`; the same key draws the same augmentation.
    decode: `stored` of one class -> images `[M, H, W, D]`.
    objective: see `match`; one that sees a class at a time.
    augment: see `match`.
    classes: see `match`.

  Returns:
    Metrics summed over classes, and the gradient in `stored.params`.
  """
  loss_fn = _augmented(network, variables, objective, augment)

  def gradient(target, stored, key):
    def class_loss(params):
      images = decode(stored._replace(params=params))
      return loss_fn(target, Batch(images, stored.labels), key)

    found, metrics = jax.grad(class_loss, has_aux=True)(stored.params)
    return metrics, found

  keys = jax.random.split(key, stored.labels.shape[0])
  metrics, found = over_classes(gradient, classes)(target, stored, keys)
  return jax.tree.map(lambda m: jnp.sum(m, 0), metrics), found


def match_and_remember(
  network: Network | None,
  variables: Variables,
  target: PyTree,
  synthetic: Batch,
  key: Key,
  state: PyTree,
  *,
  objective: StatefulObjective,
  augment: Augment | None = None,
) -> tuple[Metrics, Batch, PyTree]:
  """`match_and_gradient` of an objective that remembers.

  Args:
    network: see `match`, as for the other arguments.
    variables: see `match`.
    target: see `match`.
    synthetic: see `match`.
    key: the objective's own, if nothing is augmented here.
    state: of the objective.
    objective: sees all classes at once.
    augment: see `match`.

  Returns:
    Metrics, the gradient in the synthetic batch, and the next state.
  """
  _check(target, synthetic)
  target = gathered(target)
  draw, rest = (None, key) if augment is None else jax.random.split(key)

  def batch_loss(learned):
    seen = learned._replace(weights=synthetic.weights)
    both = _augment_both(augment, draw, target, seen, joint=True)
    return objective.loss(network, variables, *both, rest, state)

  found, (metrics, following) = jax.grad(batch_loss, has_aux=True)(
    synthetic._replace(weights=None)
  )
  return metrics, found, following


def _of_classes(synthetic):
  """What is mapped over classes: the step size belongs to none of them."""
  return synthetic._replace(step_size=None)


def _class_keys(key, synthetic):
  return jax.random.split(key, synthetic.images.shape[0])


def _augmented(network, variables, objective, augment):
  """The objective behind one augmentation draw for both sides."""

  def loss_fn(target, synthetic, key):
    target = gathered(target)
    draw, rest = jax.random.split(key)
    both = _augment_both(augment, draw, target, synthetic, objective.joint)
    return objective.loss(network, variables, *both, rest)

  return loss_fn


def _augment_both(augment, key, target, synthetic, joint):
  if augment is None:
    return target, synthetic
  if isinstance(target, Batch):
    target = _augment_batch(augment, key, target, joint)
  return target, _augment_batch(augment, key, synthetic, joint)


def _augment_batch(augment, key, batch, joint):
  if not joint:
    return batch._replace(images=augment(key, batch.images))
  flat = batch.images.reshape(-1, *batch.images.shape[2:])
  return batch._replace(images=augment(key, flat).reshape(batch.images.shape))


def _check(target, synthetic):
  if synthetic.images.ndim != 5:
    raise ValueError(
      f'synthetic.images has shape {synthetic.images.shape}: must be '
      '[C, M, H, W, D]'
    )
  if synthetic.labels.shape[:2] != synthetic.images.shape[:2]:
    raise ValueError(
      f'synthetic.labels has shape {synthetic.labels.shape}: must be '
      f'[C, M, K] with C, M = {synthetic.images.shape[:2]}'
    )
  if not isinstance(target, Batch):
    return
  real, fake = target.images.shape, synthetic.images.shape
  if len(real) != 5 or real[:1] + real[2:] != fake[:1] + fake[2:]:
    raise ValueError(
      f'target.images has shape {real}: must be [C, N, H, W, D] with the '
      f'classes and image size of the synthetic images {fake}'
    )
  if target.labels.shape[:2] != real[:2]:
    raise ValueError(
      f'target.labels has shape {target.labels.shape}: must be [C, N, K] '
      f'with C, N = {real[:2]}'
    )
