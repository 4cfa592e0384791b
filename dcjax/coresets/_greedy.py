"""Random images, and images that are chosen one by one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import initialisation
from dcjax.base import Array, Key, PyTree
from dcjax.coresets._classes import select_by_class
from dcjax.coresets._distances import (
  centre,
  dot,
  nearest_free,
  squared_distances,
)


def random(key: Key, counts: np.ndarray, ipc: int) -> Array:
  """Random real images of every class, without replacement.

  Args:
    key: consumed.
    counts: `[C]` images of each class.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images.
  """
  return initialisation.select(key, counts, ipc)


def herding(features: Array, labels: np.ndarray, ipc: int) -> Array:
  """Images whose running mean of features follows the class mean.

  Welling (2009), as IDC's baseline computes it: in step `k` the image nearest
  to `(k + 1) mean - sum of the chosen` (Euclidean) joins, none of them twice.

  Args:
    features: `[M, F]`, concrete.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class, in data-set order of the
    class, listed in the order of choice.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if
      features are not finite `[M, F]`.

  Example:
    >>> chosen = herding(embeddings, dataset.labels, 2)
    >>> np.shape(coresets.to_dataset_indices(chosen, dataset.labels))
    (10, 2)
  """
  return select_by_class(_herd, features, labels, ipc)


def _herd(features, valid, ipc):
  # Centring moves the target to minus the sum of the chosen.
  points, norms = centre(features, valid)

  def choose(carry, _):
    total, free = carry
    # The squared norm of the target is the same for all images.
    best = nearest_free(norms + 2 * dot(points, total), free)
    return (total + points[best], free.at[best].set(False)), best

  start = (jnp.zeros_like(points[0]), valid)
  _, chosen = jax.lax.scan(choose, start, length=ipc)
  return chosen


def nearest_mean(features: Array, labels: np.ndarray, ipc: int) -> Array:
  """Images whose features are nearest to the class mean.

  What DC's baseline "Herding" is by its text (Zhao et al., 2021, section 3.1):
  the samples closest to the cluster centre, as Castro et al. (2018) choose
  them. The first is that of `herding`, which balances the others.

  Args:
    features: `[M, F]`, concrete.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class, the nearest first.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if
      features are not finite `[M, F]`.
  """
  return select_by_class(_near, features, labels, ipc)


def _near(features, valid, ipc):
  _, norms = centre(features, valid)
  return jax.lax.top_k(jnp.where(valid, -norms, -jnp.inf), ipc)[1]


def k_center(features: Array, labels: np.ndarray, ipc: int) -> Array:
  """Images that leave no image of their class far from a chosen one.

  Greedy farthest-first traversal (Gonzalez, 1985), a 2-approximation of the
  smallest covering radius, as Sener & Savarese (2018) and DC's baseline use it:
  first the image nearest to the class mean, then always the one farthest
  (Euclidean) from its nearest chosen image.

  Args:
    features: `[M, F]`, concrete.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class, in the order of choice.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if
      features are not finite `[M, F]`.
  """
  return select_by_class(_cover, features, labels, ipc)


def _cover(features, valid, ipc):
  points, norms = centre(features, valid)

  def farthest(nearest, _):
    return jnp.argmax(jnp.where(valid, nearest, -jnp.inf))

  first = nearest_free(norms, valid)
  return traverse(points, norms, first, farthest, jnp.arange(ipc))


def traverse(
  points: Array,
  norms: Array,
  first: Array,
  pick: Callable[[Array, PyTree], Array],
  steps: PyTree,
) -> Array:
  """Chooses images one by one by how far they are from all chosen so far.

  Args:
    points: `[n, F]`.
    norms: `[n]` squared norms of the points.
    first: `[]` position of the first.
    pick: `(squared distance [n] to the nearest chosen, step) -> position []`;
      chosen images are at minus infinity, so that none is taken twice, not even
      among copies.
    steps: scanned over; leaves `[T, ...]`.

  Returns:
    `[T]` positions in the order of choice.
  """

  def choose(carry, step):
    nearest, best = carry
    distances = squared_distances(points, norms, points[best])
    nearest = jnp.minimum(nearest, distances).at[best].set(-jnp.inf)
    return (nearest, pick(nearest, step)), best

  start = (jnp.full(norms.shape, jnp.inf), first)
  _, chosen = jax.lax.scan(choose, start, steps)
  return chosen
