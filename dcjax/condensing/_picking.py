"""Images of a batch that a step compares."""

import jax
import jax.numpy as jnp

from dcjax.base import Array, Batch, Key


def subsample(key: Key, batch: Batch, most: int) -> Batch:
  """Keeps a random `most` images of each class, or all if there are fewer.

  Args:
    key: consumed; every class draws its own images.
    batch: `[C, M, ...]`.
    most: at least 1.

  Returns:
    The batch with `M` replaced by `min(M, most)`.
  """
  chosen = subsample_indices(key, batch.images.shape[:2], most)
  return batch if chosen is None else take(batch, chosen)


def subsample_indices(
  key: Key, shape: tuple[int, int], most: int
) -> Array | None:
  """Positions `[C, most]` that `subsample` keeps of `shape` `(C, M)`.

  Returns:
    None if everything is kept.
  """
  if shape[1] <= most:
    return None
  scores = jax.random.uniform(key, shape)
  return jnp.argsort(scores, axis=1)[:, :most]


def take(batch: Batch, chosen: Array) -> Batch:
  """Returns what belongs to the images at `chosen [C, m]` of each class."""
  of_class = jax.vmap(lambda values, at: values[at])
  images, labels, weights = (
    None if values is None else of_class(values, chosen)
    for values in (batch.images, batch.labels, batch.weights)
  )
  return Batch(images, labels, weights, batch.step_size)
