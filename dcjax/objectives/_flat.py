"""Networks whose parameters are one flat vector, for long unrolls."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from dcjax.base import Array, Batch, Network, Params, PyTree, Variables
from dcjax.losses import cross_entropy


class FlatNetwork(NamedTuple):
  """How a network's parameters become a vector and back.

  Attributes:
    size: `P`, numbers in the vector.
    flatten: `params -> [P]`.
    restore: `[P] -> params`.
  """

  size: int
  flatten: Callable[[Params], Array]
  restore: Callable[[Array], Params]


def flat_network(network: Network) -> FlatNetwork:
  """Returns how a network's parameters are laid out in one vector.

  Nothing of the network is computed. The order is that of the leaves of
  `Variables.params`; every leaf has the vector's type.

  Args:
    network: any.
  """
  shapes = jax.eval_shape(network.init, jax.random.key(0)).params
  leaves, treedef = jax.tree.flatten(shapes)
  ends = [0]
  for leaf in leaves:
    ends.append(ends[-1] + leaf.size)

  def restore(vector):
    parts = [
      vector[..., start:end].reshape(*vector.shape[:-1], *leaf.shape)
      for start, end, leaf in zip(ends, ends[1:], leaves, strict=False)
    ]
    return jax.tree.unflatten(treedef, parts)

  return FlatNetwork(ends[-1], lambda params: ravel_pytree(params)[0], restore)


def flat_gradient(
  network: Network, restore: Callable[[Array], Params], state: PyTree
) -> Callable[[Array, Batch], Array]:
  """Returns the gradient of the mean cross-entropy at a flat vector.

  Args:
    network: applied in train mode; running statistics stay as they are.
    restore: see `FlatNetwork`.
    state: of the network.

  Returns:
    `(vector [P], batch of images [B, H, W, D]) -> [P]`, differentiable in
    both.
  """

  def loss(vector, batch):
    variables = Variables(restore(vector), state)
    outputs, _ = network.apply(variables, batch.images, True)
    return cross_entropy(outputs.logits, batch)

  return jax.grad(loss)


def batch_orders(
  key: Array, count: int, batch_size: int | None, steps: int
) -> tuple[Array, Array | None]:
  """Draws the mini-batches of a training: passes in random order.

  Args:
    key: consumed.
    count: images in the set.
    batch_size: `B`; the last batch of a pass is filled up with images of
      weight 0. None, or one that is not below `count`: the whole set.
    steps: `T`.

  Returns:
    Indices `[T, B]` and weights `[T, B]`, None if every image counts.
  """
  size = count if batch_size is None else min(batch_size, count)
  if size == count:
    return jnp.broadcast_to(jnp.arange(count), (steps, count)), None
  batches = -(-count // size)
  keys = jax.random.split(key, -(-steps // batches))
  orders = jax.vmap(lambda k: jax.random.permutation(k, count))(keys)
  places = jnp.arange(batches * size)
  indices = orders[:, places % count].reshape(-1, size)[:steps]
  if count % size == 0:
    return indices, None
  weights = jnp.tile(
    (places < count).astype(jnp.float32).reshape(-1, size), (len(keys), 1)
  )
  return indices, weights[:steps]
