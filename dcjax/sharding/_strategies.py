"""How classes, networks and batches are mapped over a mesh."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dcjax import mapping
from dcjax.base import Array, Augment, PyTree
from dcjax.data.sampling import Drawn
from dcjax.sharding._mesh import CLASS_AXIS, DATA_AXIS, by, replicated


def class_strategy(
  mesh: Mesh, inner: mapping.Strategy = 'auto'
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
  """Makes a strategy for `over_classes`: each device maps its own classes.

  Where the classes do not divide evenly, the last one is computed again in
  the places left over, and these results are dropped. The second axis of the
  mesh, if there is one, works on each class together: see `spread_class`.

  Args:
    mesh: see `make_mesh`.
    inner: how a device maps its classes; see `mapping.over_classes`. `'auto'`
      is `'scan'` where devices share the images of a class: `vmap` lays the
      images of all classes in one axis, which cannot be split as each class
      is, so that every convolution would gather its input.

  Raises:
    ValueError: if `inner` is unknown.
  """
  if inner == 'auto' and mesh.shape[DATA_AXIS] > 1:
    inner = 'scan'
  return _mapped(
    mesh,
    CLASS_AXIS,
    lambda function: mapping.over_classes(function, inner),
  )


def seed_strategy(
  mesh: Mesh, inner: str = 'auto'
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
  """Makes a strategy for `evaluation.evaluator`: networks over all devices.

  Args:
    mesh: see `make_mesh`.
    inner: how a device maps its networks: `'scan'`, `'vmap'` or `'auto'`.
  """
  mapped = _mapped(
    mesh,
    (CLASS_AXIS, DATA_AXIS),
    lambda function: mapping.over_networks(function, inner),
  )

  def strategy(function):
    def run(*args):
      # One number of each network: every process wants to read them all.
      return jax.tree.map(
        lambda leaf: (
          jax.lax.with_sharding_constraint(leaf, replicated(mesh))
          if leaf.ndim == 1
          else leaf
        ),
        mapped(function)(*args),
      )

    return run

  return strategy


def _mapped(mesh, axes, over):
  """Splits the leading axis of all arguments over mesh axes, padded."""
  names = (axes,) if isinstance(axes, str) else axes
  places = math.prod(mesh.shape[name] for name in names)

  def strategy(function):
    mapped = over(function)

    def run(*args):
      # Real data come padded already; what is least is the true number.
      count = min(leaf.shape[0] for leaf in jax.tree.leaves(args))
      padded = -(-count // places) * places
      whole = padded != count

      def split(leaf, drawn):
        if leaf.shape[0] > count:
          return leaf
        # Otherwise the partitioner would split what comes before, too, and
        # send it around.
        if whole or drawn:
          leaf = jax.lax.with_sharding_constraint(leaf, replicated(mesh))
        return _padded(leaf, padded)

      result = jax.shard_map(
        lambda *local: mapped(*local),
        mesh=mesh,
        in_specs=PartitionSpec(axes),
        out_specs=PartitionSpec(axes),
        axis_names=set(names),
        # Gradients are those of one class: no sums over the mesh.
        check_vma=False,
      )(*jax.tree.map(split, args, _draws(args)))
      if not whole:
        return result
      return jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(
          leaf[:count], replicated(mesh)
        ),
        result,
      )

    return run

  return strategy


def _draws(args: PyTree) -> PyTree:
  """True for arrays of random draws, which every device makes itself.

  These are keys, and the positions of what is drawn but not gathered yet.
  """

  def mark(node):
    if not isinstance(node, Drawn):
      return jax.dtypes.issubdtype(node.dtype, jax.dtypes.prng_key)
    marks = jax.tree.map(lambda leaf: False, node)
    return marks._replace(positions=True)

  return jax.tree.map(mark, args, is_leaf=lambda node: isinstance(node, Drawn))


def _padded(leaf: Array, size: int) -> Array:
  """Repeats the last entry of the leading axis up to `size`."""
  count = leaf.shape[0]
  if count >= size:
    return leaf
  return leaf[jnp.minimum(jnp.arange(size), count - 1)]


def spread(mesh: Mesh) -> Augment:
  """Makes an augmentation that changes nothing but where the images are.

  In front of the augmentation of a network's training images it spreads every
  batch over all devices; what follows is then computed where the images are,
  and the gradients are summed.

  Args:
    mesh: see `make_mesh`.
  """
  return _placed(by(mesh, (CLASS_AXIS, DATA_AXIS)))


def spread_class(mesh: Mesh) -> Augment:
  """Like `spread`, for images of one class under `class_strategy`.

  They are split over the second axis of the mesh. With one device there it
  does nothing.

  Args:
    mesh: see `make_mesh`.
  """
  if mesh.shape[DATA_AXIS] == 1:
    return lambda key, images: images
  return _placed(by(mesh, DATA_AXIS))


def _placed(sharding):
  names = jax.tree.leaves(tuple(sharding.spec))
  count = math.prod(sharding.mesh.shape[name] for name in names)

  def place(key, images):
    del key
    if images.shape[0] < count:  # Too few to give every device one.
      return images
    return jax.lax.with_sharding_constraint(images, sharding)

  return place
