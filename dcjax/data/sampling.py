"""Drawing batches inside compiled programs from data held on the device."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array, Batch, Key

Tree = TypeVar('Tree')


class DeviceData(NamedTuple):
  """A labelled set on the device, grouped by class.

  Attributes:
    images: `[M, H, W, D]`, uint8 or float32, class after class; on several
      devices `[C', L, H, W, D]`, every class padded to the longest and more
      empty classes than there are (see `dcjax.sharding`).
    labels: `[M]` int32, ascending.
    starts: `[C]` index of each class's first image.
    counts: `[C]` images of each class.
    scale: `[]`; images divided by it are in [0, 1] (spectrograms: 1).
  """

  images: Array
  labels: Array
  starts: Array
  counts: Array
  scale: Array


def to_device(
  images: np.ndarray, labels: np.ndarray, scale: float
) -> DeviceData:
  """Groups images by class, in data-set order, and moves them to the device.

  Args:
    images: `[M, H, W, D]` uint8 or float32.
    labels: `[M]` integers, every class of `0..C-1` present.
    scale: 255 for uint8 images, 1 for float images.
  """
  order = np.argsort(labels, kind='stable')
  counts = np.bincount(labels)
  starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
  return DeviceData(
    jnp.asarray(images[order]),
    jnp.asarray(labels[order], jnp.int32),
    jnp.asarray(starts, jnp.int32),
    jnp.asarray(counts, jnp.int32),
    jnp.asarray(scale, jnp.float32),
  )


def fetch(data: DeviceData, indices: Array) -> Array:
  """Returns images `[..., H, W, D]` float32 at `indices [...]`, scaled."""
  if data.images.ndim == 5:
    c = data.labels[indices]
    images = data.images[c, indices - data.starts[c]]
  else:
    images = data.images[indices]
  return images.astype(jnp.float32) / data.scale


class Drawn(NamedTuple):
  """A batch of every class that is drawn, but not gathered yet.

  On several devices each gathers the images of its own classes only.

  Attributes:
    images: `[C, L, H, W, D]`, all images of each class.
    positions: `[C, N]` within each class.
    labels: `[C, N, K]` one-hot.
    weights: `[C, N]` or None.
    scale: `[C]`, the same number for every class.
  """

  images: Array
  positions: Array
  labels: Array
  weights: Array | None
  scale: Array

  def batch(self) -> Batch:
    """Gathers the images `[C, N, H, W, D]`, float32 and scaled."""
    num_classes = self.positions.shape[0]
    images = jax.vmap(lambda of_class, at: of_class[at])(
      self.images[:num_classes], self.positions
    )
    images = images.astype(jnp.float32) / self.scale[:, None, None, None, None]
    return Batch(images, self.labels, self.weights)


def gathered(tree: Tree) -> Tree:
  """Replaces every `Drawn` in a pytree by its batch."""
  return jax.tree.map(
    lambda leaf: leaf.batch() if isinstance(leaf, Drawn) else leaf,
    tree,
    is_leaf=lambda leaf: isinstance(leaf, Drawn),
  )


class ShuffleState(NamedTuple):
  """Where each group's walk through its own permutation stands.

  Attributes:
    order: `[G, n]` a permutation of each group's positions, padding last.
    cursor: `[G]` positions already handed out.
  """

  order: Array
  cursor: Array


class Shuffler(NamedTuple):
  """Batches without replacement, reshuffled when a group is exhausted.

  Attributes:
    init: `(key, counts [G]) -> ShuffleState`.
    next: `(key, counts [G], state) -> (state, positions [G, B], weights [G,
      B])`; weight 0 marks padding, which repeats members of the group.
  """

  init: Callable[[Key, Array], ShuffleState]
  next: Callable[..., tuple[ShuffleState, Array, Array]]


def shuffler(
  longest: int, batch_size: int, *, keep_last: bool = False
) -> Shuffler:
  """Makes a `Shuffler` for groups of at most `longest` members.

  A group with fewer members than `batch_size` gives batches of all its
  members. An incomplete last batch is dropped, as the references do for real
  data, unless `keep_last`, as they do for training on a condensed set.

  The references' short batches are really shorter. Here they are filled up to
  `B` with weight 0, over and over from the start of the same permutation: loss
  and gradient do not see that, and what looks at the whole batch regardless of
  weights (BatchNorm in train mode) sees members of the group only, each about
  as often as any other.

  Args:
    longest: size of the largest group; the counts themselves may be traced.
    batch_size: `B`, or `longest` if that is less.
    keep_last: whether the remainder of a pass is handed out as short batch.
  """
  batch_size = min(batch_size, longest)

  def shuffle(key, counts):
    keys = jax.random.uniform(key, (counts.shape[0], longest))
    padding = jnp.arange(longest) >= counts[:, None]
    order = jnp.argsort(jnp.where(padding, 2.0, keys), axis=1)
    return order.astype(jnp.int32)

  def init(key, counts):
    zeros = jnp.zeros(counts.shape, jnp.int32)
    return ShuffleState(shuffle(key, counts), zeros)

  def next_fn(key, counts, state):
    size = jnp.minimum(counts, batch_size)
    needed = 1 if keep_last else size
    exhausted = state.cursor + needed > counts
    order = jax.lax.cond(
      jnp.any(exhausted),
      lambda: jnp.where(exhausted[:, None], shuffle(key, counts), state.order),
      lambda: state.order,
    )
    cursor = jnp.where(exhausted, 0, state.cursor)
    places = cursor[:, None] + jnp.arange(batch_size)
    positions = jnp.take_along_axis(order, places % counts[:, None], axis=1)
    valid = places < counts[:, None]
    state = ShuffleState(order, cursor + size)
    return state, positions, valid.astype(jnp.float32)

  return Shuffler(init, next_fn)


def class_batch(
  data: DeviceData, positions: Array, weights: Array | None, num_classes: int
) -> Batch | Drawn:
  """Gathers a batch of every class; on several devices, `match` will do it.

  Args:
    data: the set.
    positions: `[C, N]` positions within each class.
    weights: `[C, N]` or None.
    num_classes: `K`.

  Returns:
    Images `[C, N, H, W, D]`, one-hot labels `[C, N, K]`.
  """
  labels = jnp.broadcast_to(
    jnp.eye(num_classes)[:, None, :], (*positions.shape, num_classes)
  )
  if data.images.ndim == 5:
    scale = jnp.broadcast_to(data.scale, positions.shape[:1])
    return Drawn(data.images, positions, labels, weights, scale)
  images = fetch(data, data.starts[:, None] + positions)
  return Batch(images, labels, weights)


def mixed_batch(
  data: DeviceData, positions: Array, weights: Array | None, num_classes: int
) -> Batch:
  """Gathers images of any class: `[B, H, W, D]`, labels `[B, K]`.

  Args:
    data: the set.
    positions: `[B]` positions in the whole set.
    weights: `[B]` or None.
    num_classes: `K`.
  """
  labels = jax.nn.one_hot(data.labels[positions], num_classes)
  return Batch(fetch(data, positions), labels, weights)
