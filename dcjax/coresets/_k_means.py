"""The images nearest to the centres of k-means."""

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array, Key
from dcjax.coresets._classes import select_by_class
from dcjax.coresets._distances import (
  centre,
  dot,
  nearest_free,
  squared_distances_to_all,
)
from dcjax.coresets._greedy import traverse
from dcjax.utils import check_count


def k_means(
  features: Array,
  labels: np.ndarray,
  ipc: int,
  key: Key,
  num_steps: int = 50,
) -> Array:
  """Images nearest to the centres of `ipc` clusters of each class.

  Lloyd's algorithm (1982) on embeddings, as DC-BENCH's baseline (Cui et al.,
  2022) uses it, from the start of k-means++ (Arthur & Vassilvitskii, 2007). A
  cluster without images keeps its centre. Centre after centre then takes the
  nearest image (Euclidean) that no centre before it has taken.

  Args:
    features: `[M, F]`, concrete.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class, one for each cluster.
    key: decides the start.
    num_steps: iterations of Lloyd's algorithm; fewer where centres come to
      rest before.

  Returns:
    `[C, ipc]` int32 positions within each class, in data-set order of the
    class, in the order in which k-means++ drew the clusters.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if
      features are not finite `[M, F]`, or `num_steps` is below 1.

  Example:
    >>> np.shape(k_means(embeddings, dataset.labels, 2, key))
    (10, 2)
  """
  num_steps = check_count('num_steps', num_steps)
  return select_by_class(_cluster, features, labels, ipc, num_steps, key=key)


def _cluster(features, valid, key, ipc, num_steps):
  points, norms = centre(features, valid)
  start = spread(key, points, norms, valid, ipc)
  centres = lloyd(points, norms, valid, points[start], num_steps)
  return nearest_images(points, valid, centres)


def spread(
  key: Key, points: Array, norms: Array, valid: Array, count: int
) -> Array:
  """The start of k-means++: far from each other with high probability.

  Arthur & Vassilvitskii (2007), section 2.2: the first image is uniform, each
  further one is drawn in proportion to its squared distance to the nearest
  chosen.

  Args:
    key: consumed.
    points: `[n, F]`.
    norms: `[n]` squared norms of the points.
    valid: `[n]` bool, False marks padding.
    count: number of images to draw.

  Returns:
    `[count]` positions.
  """
  first_key, key = jax.random.split(key)

  def draw(nearest, key):
    chances = jnp.where(valid, jnp.maximum(nearest, 0.0), 0.0)
    return jax.random.categorical(key, jnp.log(chances))

  first = jax.random.categorical(first_key, jnp.where(valid, 0.0, -jnp.inf))
  return traverse(points, norms, first, draw, jax.random.split(key, count))


def lloyd(
  points: Array, norms: Array, valid: Array, centres: Array, num_steps: int
) -> Array:
  """Moves centres to the mean of the images nearest to them, repeatedly.

  Args:
    points: `[n, F]`.
    norms: `[n]` squared norms of the points.
    valid: `[n]` bool, False marks padding.
    centres: `[k, F]` to start from.
    num_steps: iterations, fewer if the centres come to rest before.

  Returns:
    `[k, F]`; a centre that is nearest to no image stays where it is.
  """

  def unsettled(carry):
    step, _, moved = carry
    return (step < num_steps) & moved

  def move(carry):
    step, centres, _ = carry
    distances = squared_distances_to_all(points, norms, centres)
    cluster = jnp.argmin(distances, axis=1)
    member = jax.nn.one_hot(cluster, centres.shape[0]) * valid[:, None]
    sizes = jnp.sum(member, axis=0)[:, None]
    means = dot(member.T, points) / jnp.maximum(sizes, 1)
    means = jnp.where(sizes > 0, means, centres)
    return step + 1, means, jnp.any(means != centres)

  # Centres that did not move never will: to stop there changes nothing.
  start = (0, centres, jnp.asarray(True))
  return jax.lax.while_loop(unsettled, move, start)[1]


def nearest_images(points: Array, valid: Array, centres: Array) -> Array:
  """The image nearest to each centre, the next nearest if it is taken.

  Args:
    points: `[n, F]`.
    valid: `[n]` bool, False marks padding.
    centres: `[k, F]`, served in this order.

  Returns:
    `[k]` positions, none twice.
  """

  def choose(free, place):
    # Differences stay exact in small clusters far from the class mean.
    distances = jnp.sum(jnp.square(points - place), axis=1)
    best = nearest_free(distances, free)
    return free.at[best].set(False), best

  _, chosen = jax.lax.scan(choose, valid, centres)
  return chosen
