"""Selection baselines: which real images to keep, as pure functions."""

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import initialisation, training
from dcjax.base import Array, Augment, Key, Network, Variables
from dcjax.data import _sampling as sampling


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
    features: `[M, F]`.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class, in data-set order of the
    class, listed in the order of choice.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if
      features are not `[M, F]`.

  Example:
    >>> chosen = herding(embeddings, labels, 10)
    >>> indices = coresets.to_dataset_indices(chosen, labels)
  """
  return _select_by_class(_herd, features, labels, ipc)


def k_center(features: Array, labels: np.ndarray, ipc: int) -> Array:
  """Images that leave no image of their class far from a chosen one.

  Greedy farthest-first traversal (Gonzalez, 1985), a 2-approximation of the
  smallest covering radius, as Sener & Savarese (2018) and DC's baseline use it:
  first the image nearest to the class mean, then always the one farthest
  (Euclidean) from its nearest chosen image.

  Args:
    features: `[M, F]`.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class, in the order of choice.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if
      features are not `[M, F]`.
  """
  return _select_by_class(_cover, features, labels, ipc)


def _select_by_class(select, features, labels, ipc):
  """Maps `select(features [n, F], valid [n], ipc)` over padded classes."""
  labels = np.asarray(labels)
  if features.ndim != 2 or features.shape[0] != labels.shape[0]:
    raise ValueError(
      f'features {features.shape}: must be [M, F] with M = {labels.shape[0]}'
    )
  order, starts, counts = _class_index(labels)
  for label, count in enumerate(counts):
    if count < ipc:
      raise ValueError(f'ipc {ipc}: class {label} holds only {count} images')
  places = starts[:, None] + np.minimum(
    np.arange(counts.max()), counts[:, None] - 1
  )
  members = jnp.asarray(order[places])
  valid = jnp.arange(counts.max()) < jnp.asarray(counts)[:, None]

  @jax.jit
  def over_classes(features, members, valid):
    return jax.lax.map(
      lambda xs: select(features[xs[0]], xs[1], ipc), (members, valid)
    )

  return over_classes(jnp.asarray(features, jnp.float32), members, valid)


def _cover(features, valid, ipc):
  mean = jnp.sum(features * valid[:, None], axis=0) / jnp.sum(valid)
  centred = features - mean
  norms = jnp.sum(jnp.square(centred), axis=1)

  def choose(carry, _):
    nearest, best = carry
    # Squared distances to the image just chosen.
    distances = norms + norms[best] - 2 * centred @ centred[best]
    nearest = jnp.minimum(nearest, distances)
    # A chosen image is at distance zero and never the farthest again, unless
    # all are copies of it: then its mark keeps it out.
    nearest = nearest.at[best].set(-jnp.inf)
    farthest = jnp.argmax(jnp.where(valid, nearest, -jnp.inf))
    return (nearest, farthest), best

  first = jnp.argmin(jnp.where(valid, norms, jnp.inf))
  start = (jnp.full(norms.shape, jnp.inf), first)
  _, chosen = jax.lax.scan(choose, start, length=ipc)
  return chosen.astype(jnp.int32)


def _herd(features, valid, ipc):
  mean = jnp.sum(features * valid[:, None], axis=0) / jnp.sum(valid)
  # Distances are compared after centring, which keeps them exact: the target
  # becomes minus the sum of the chosen, and squared norms stay small.
  centred = features - mean
  norms = jnp.sum(jnp.square(centred), axis=1)

  def choose(carry, step):
    total, free = carry
    target = -total
    distances = norms - 2 * centred @ target
    best = jnp.argmin(jnp.where(free, distances, jnp.inf))
    total = total + centred[best]
    return (total, free.at[best].set(False)), best

  start = (jnp.zeros_like(mean), valid)
  _, chosen = jax.lax.scan(choose, start, jnp.arange(ipc))
  return chosen.astype(jnp.int32)


def to_dataset_indices(chosen: Array, labels: np.ndarray) -> np.ndarray:
  """Turns positions within classes into positions in the data set.

  Args:
    chosen: `[C, ipc]` positions within each class.
    labels: `[M]` integers.

  Returns:
    `[C, ipc]` indices into the data set.
  """
  order, starts, _ = _class_index(np.asarray(labels))
  return order[starts[:, None] + np.asarray(chosen)]


def _class_index(labels):
  """Images sorted by class, where each class starts, how many it has."""
  counts = np.bincount(labels)
  starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
  return np.argsort(labels, kind='stable'), starts, counts


def embed(
  network: Network,
  variables: Variables,
  data: sampling.DeviceData,
  normalise: Augment,
  batch_size: int = 100,
) -> Array:
  """Returns the network's embeddings `[M, F]` of a set, in its order.

  Args:
    network: must expose an embedding.
    variables: the network's numbers, usually trained on the whole set.
    data: the set.
    normalise: applied to the images.
    batch_size: images at a time.

  Raises:
    ValueError: if the network exposes no embedding.
  """

  def one_batch(images):
    images = normalise(
      jax.random.key(0), images.astype(jnp.float32) / data.scale
    )
    embedding = network.apply(variables, images, False)[0].embedding
    if embedding is None:
      raise ValueError(f'network {network.name!r} exposes no embedding')
    return embedding.reshape(embedding.shape[0], -1)

  return training.in_batches(one_batch, data.images, batch_size)
