"""Where real images, stored numbers and their optimiser lie."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.experimental.layout import Format, Layout
from jax.sharding import Mesh, NamedSharding

from dcjax.base import Array, PyTree
from dcjax.data.sampling import DeviceData
from dcjax.sharding._mesh import CLASS_AXIS, DATA_AXIS, by, replicated

if TYPE_CHECKING:
  from dcjax.data import Dataset

# Platforms whose default layout scatters the pixels of an image.
_IN_PIECES = ('tpu',)


def place_data(
  mesh: Mesh,
  dataset: 'Dataset',
  images_of: Callable[[range], np.ndarray] | None = None,
) -> DeviceData:
  """Splits a data set over the class axis of a mesh.

  A process reads and holds only the classes of its own devices.

  Args:
    mesh: see `make_mesh`.
    dataset: the real data, in host memory.
    images_of: `classes -> images [m, H, W, D]` of these classes, one after
      another; by default those of the data set. See `place_images`.

  Returns:
    `DeviceData` with images `[C', L, H, W, D]`: `L` is the largest class,
    `C'` the classes padded to a multiple of the class axis.
  """
  counts = dataset.counts
  labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  starts = np.cumsum(counts) - counts
  everywhere = replicated(mesh)

  def whole(array):
    return place(np.asarray(array), everywhere)

  return DeviceData(
    place_images(mesh, dataset, images_of),
    whole(labels),
    whole(starts.astype(np.int32)),
    whole(counts.astype(np.int32)),
    whole(np.float32(dataset.scale)),
  )


def _images_of_classes(mesh) -> NamedSharding | Format:
  """Where real images `[C, L, H, W, D]` lie: split by class.

  On TPUs also how: each image in one piece, channel by channel. By default a
  pixel of all images would lie side by side, and a program that draws batches
  would first turn the whole set round, in every call, into a second copy.
  """
  split = by(mesh, CLASS_AXIS)
  if mesh.devices.flat[0].platform not in _IN_PIECES:
    return split
  return Format(Layout((0, 1, 4, 2, 3)), split)


def index_shapes(counts: np.ndarray) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Shapes of the fields of `DeviceData` after its images."""
  of_classes = jax.ShapeDtypeStruct((len(counts),), np.int32)
  labels = jax.ShapeDtypeStruct((int(counts.sum()),), np.int32)
  return labels, of_classes, of_classes, jax.ShapeDtypeStruct((), np.float32)


def data_shapes(mesh: Mesh, dataset: 'Dataset') -> DeviceData:
  """Shapes of what `place_data` returns, with their devices."""
  images, counts = dataset.images, dataset.counts
  shape = (_padded(mesh, counts), int(counts.max()), *images.shape[1:])
  whole = replicated(mesh)
  return DeviceData(
    jax.ShapeDtypeStruct(
      shape, images.dtype, sharding=_images_of_classes(mesh)
    ),
    *(
      jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=whole)
      for s in index_shapes(counts)
    ),
  )


def _padded(mesh, counts):
  """Classes of all devices, empty ones among them."""
  places = mesh.shape[CLASS_AXIS]
  return -(-len(counts) // places) * places


def place_images(
  mesh: Mesh,
  dataset: 'Dataset',
  images_of: Callable[[range], np.ndarray] | None = None,
) -> Array:
  """The images of `place_data`, alone: of another window of a stream, say.

  Args:
    mesh: see `make_mesh`.
    dataset: gives counts, shape and type.
    images_of: see `place_data`.
  """
  counts = dataset.counts
  if images_of is None:
    images_of = _reader(dataset)
  padded = _padded(mesh, counts)
  shape = (padded, int(counts.max()), *dataset.image_shape)

  def block(index):
    first, last, _ = index[0].indices(padded)
    held = np.zeros((last - first, *shape[1:]), dataset.images.dtype)
    classes = range(min(first, len(counts)), min(last, len(counts)))
    if len(classes):
      own = counts[classes.start : classes.stop]
      pieces = np.split(images_of(classes), np.cumsum(own)[:-1])
      for row, piece in enumerate(pieces):
        held[row, : len(piece)] = piece
    return held

  return jax.make_array_from_callback(shape, _images_of_classes(mesh), block)


def _reader(dataset):
  order, offsets, counts = dataset.class_index()
  ends = offsets + counts

  def images_of(classes):
    return dataset.images[
      order[offsets[classes.start] : ends[classes.stop - 1]]
    ]

  return images_of


def class_sharding(mesh: Mesh, num_classes: int) -> NamedSharding:
  """Splits a leading class axis if that divides evenly, else nothing.

  Args:
    mesh: see `make_mesh`.
    num_classes: `C`.
  """
  even = num_classes % mesh.shape[CLASS_AXIS] == 0
  return by(mesh, CLASS_AXIS) if even else replicated(mesh)


def state_shardings(mesh: Mesh, state: PyTree, num_classes: int) -> PyTree:
  """How a `CondenseState` lies on a mesh.

  Stored numbers and their optimiser's are split by class if the classes divide
  evenly; everything else, networks above all, is on every device.

  Args:
    mesh: see `make_mesh`.
    state: the state, or its shapes.
    num_classes: `C`.

  Returns:
    A `CondenseState` of shardings.
  """
  by_class = class_sharding(mesh, num_classes)

  def of(leaf):
    belongs = leaf.ndim > 0 and leaf.shape[0] == num_classes
    return by_class if belongs else replicated(mesh)

  shardings = jax.tree.map(lambda _: replicated(mesh), state)
  return shardings._replace(
    params=jax.tree.map(of, state.params),
    opt_state=jax.tree.map(of, state.opt_state),
  )


def image_batch_shardings(
  mesh: Mesh, state: PyTree, lead: tuple[int, int]
) -> PyTree:
  """How the state of an image batch of a synthesis lies on a mesh.

  Its images, their average and their optimiser's are split like `spread`
  splits the flat list of them, so that nothing travels between the two. Where
  the devices do not divide the batch along its axes, every device holds it
  whole. Everything else is on every device.

  Args:
    mesh: see `make_mesh`.
    state: a `CondenseState` of `methods.edc` and its like, or its shapes.
    lead: `(G, n)`, the first axes of the image batch; see
      `methods.image_batches`.

  Returns:
    A tree of shardings with the structure of the state.
  """
  axes = _batch_axes(mesh, *lead)

  def of(leaf):
    # Decoded images are as many as stored ones, or some for each of them.
    belongs = leaf.ndim > 2 and leaf.shape[0] == lead[0]
    belongs = belongs and leaf.shape[1] % lead[1] == 0
    return by(mesh, *axes) if belongs else replicated(mesh)

  return jax.tree.map(of, state)


def _batch_axes(mesh, groups, images):
  """Mesh axes of `[G, n]` that make equal pieces of the flat `G * n`."""
  both, classes = (CLASS_AXIS, DATA_AXIS), mesh.shape[CLASS_AXIS]
  if groups % mesh.size == 0:
    return (both,)
  if groups == 1 and images % mesh.size == 0:
    return None, both
  if groups == classes and images % mesh.shape[DATA_AXIS] == 0:
    return both
  return ()


def place(tree: PyTree, shardings: PyTree) -> PyTree:
  """Puts equal values of all processes onto the devices of a mesh.

  Args:
    tree: arrays, the same in every process.
    shardings: a sharding for each leaf, or one for all.
  """
  if isinstance(shardings, NamedSharding):
    one = shardings
    shardings = jax.tree.map(lambda _: one, tree)
  return jax.tree.map(_place_leaf, tree, shardings)


def _place_leaf(leaf, sharding):
  if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    data = _place_leaf(jax.random.key_data(leaf), sharding)
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
  host = np.asarray(leaf)
  return jax.make_array_from_callback(
    host.shape, sharding, lambda index: host[index]
  )


def to_host(tree: PyTree) -> PyTree:
  """Reads arrays into host memory, whole, in every process.

  All processes must call it, since each may hold a part only.
  """

  def read(leaf):
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
      return np.asarray(leaf)
    if leaf.is_fully_replicated:
      return np.asarray(leaf.addressable_data(0))
    return multihost_utils.process_allgather(leaf, tiled=True)

  return jax.tree.map(read, tree)
