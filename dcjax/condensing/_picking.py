"""Images of a set that a step compares."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax.base import Array, Batch, Formation, Key, Params


class Stored(NamedTuple):
  """Images of a step that are decoded where their class is matched.

  Attributes:
    params: of a formation whose classes are `by_class`.
    labels: `[C, M, K]` of the images.
    at: `[C, M]`, which of the decoded images they are; None: all, in order.
  """

  params: Params
  labels: Array
  at: Array | None


def undecoded(
  formation: Formation, params: Params, key: Key, most: int
) -> Stored:
  """What `sampled` draws, not decoded yet.

  Args:
    formation: one that is `by_class`.
    params: its numbers.
    key: consumed.
    most: at least 1.
  """
  labels = formation.decode(params).labels  # Nobody asks for the images.
  at = _positions(key, labels.shape[:2], most)
  return Stored(params, labels if at is None else _of_class(labels, at), at)


def decoded(formation: Formation, stored: Stored) -> Array:
  """Images `[M, H, W, D]` of one class.

  Args:
    formation: one that is `by_class`.
    stored: without the class axis.
  """
  alone = jax.tree.map(lambda x: x[None], stored.params)
  (images,) = formation.decode(alone).images
  return images if stored.at is None else images[stored.at]


def sampled(
  formation: Formation,
  params: Params,
  key: Key,
  most: int,
  classes: Array | None = None,
) -> Batch:
  """At most `most` images of each class, as a step of training makes them.

  Args:
    formation: decodes them, or samples if it can.
    params: its numbers.
    key: consumed.
    most: at least 1.
    classes: `[c]` int, the only ones; None for all.
  """
  if formation.sample is not None:
    return formation.sample(params, key, most, classes)
  batch = formation.decode(params)
  if classes is not None:
    images, labels = batch.images[classes], batch.labels[classes]
    batch = batch._replace(images=images, labels=labels)
  return subsample(key, batch, most)


def subsample(key: Key, batch: Batch, most: int) -> Batch:
  """Keeps a random `most` images of each class, or all if there are fewer.

  Args:
    key: consumed; every class draws its own images.
    batch: `[C, M, ...]`.
    most: at least 1.

  Returns:
    The batch with `M` replaced by `min(M, most)`.
  """
  chosen = _positions(key, batch.images.shape[:2], most)
  if chosen is None:
    return batch
  images, labels, weights = (
    None if values is None else _of_class(values, chosen)
    for values in (batch.images, batch.labels, batch.weights)
  )
  return batch._replace(images=images, labels=labels, weights=weights)


def _positions(key, shape, most) -> Array | None:
  """Which images of `shape` `(C, M)` are kept: `[C, most]`, or None for all."""
  if shape[1] <= most:
    return None
  return jnp.argsort(jax.random.uniform(key, shape), axis=1)[:, :most]


def _of_class(values, at):
  # Class by class, so that no device asks another where its classes are.
  return jax.vmap(lambda own, i: own[i])(values, at)
