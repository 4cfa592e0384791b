"""Images of a set that a step compares."""

import jax
import jax.numpy as jnp

from dcjax.base import Array, Batch, Formation, Key, Params


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
  shape = batch.images.shape[:2]
  if shape[1] <= most:
    return batch
  chosen = jnp.argsort(jax.random.uniform(key, shape), axis=1)[:, :most]
  # Class by class, so that no device asks another where its classes are.
  of_class = jax.vmap(lambda values, at: values[at])
  images, labels, weights = (
    None if values is None else of_class(values, chosen)
    for values in (batch.images, batch.labels, batch.weights)
  )
  return batch._replace(images=images, labels=labels, weights=weights)
