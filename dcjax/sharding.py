"""Several devices and processes: the one file that knows of meshes.

The mathematics of dcjax knows no axis names. What runs on several devices is
decided by what is handed to it from here:

- the real data, split by class (`place_data`);
- the mapping over classes (`class_strategy`): each device matches its own
  classes, and where classes are few, a second axis splits the images of each;
- images of a network's batch, or of a synthesis under frozen observers, split
  over all devices (`spread`);
- the networks of an evaluation, each on a device (`seed_strategy`);
- the stored numbers and their optimiser, split by class where that divides
  evenly (`state_shardings`), or by image (`image_batch_shardings`).

Example, on a machine with eight devices:

  >>> mesh = sharding.make_mesh(dataset.num_classes)
  >>> real = sharding.place_data(mesh, dataset)
  >>> condenser = methods.dm(
  ...   network, formation, dataset.counts, dataset.std, learning_rate=1.0,
  ...   classes=sharding.class_strategy(mesh),
  ... )
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dcjax import matching
from dcjax.base import Array, Augment, PyTree
from dcjax.data._sampling import DeviceData

if TYPE_CHECKING:
  from dcjax.data import Dataset

CLASS_AXIS, DATA_AXIS = 'class', 'data'


def make_mesh(
  num_classes: int,
  data: int = 0,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """Arranges devices as classes x images of a class.

  Args:
    num_classes: `C`; it need not be divisible by the class axis.
    data: devices that share the images of one class, a divisor of the number
      of devices; 0 takes 1 unless there are more devices than classes.
    devices: all of them by default.

  Returns:
    A mesh with axes `'class'` and `'data'`.

  Raises:
    ValueError: if `data` does not divide the number of devices.

  Example:
    >>> make_mesh(10, devices=jax.devices()[:8]).shape
    OrderedDict({'class': 8, 'data': 1})
  """
  devices = jax.devices() if devices is None else list(devices)
  if data < 0 or (data and len(devices) % data):
    raise ValueError(
      f'devices_per_class {data}: must be a divisor of {len(devices)}, the '
      'number of devices, or 0'
    )
  if not data:
    # The most devices that still have a class each.
    classes = max(
      n
      for n in range(1, len(devices) + 1)
      if len(devices) % n == 0 and n <= max(num_classes, 1)
    )
    data = len(devices) // classes
  # Explicit axes, the default of `jax.make_mesh`, make reshapes raise.
  return jax.make_mesh(
    (len(devices) // data, data),
    (CLASS_AXIS, DATA_AXIS),
    axis_types=(AxisType.Auto, AxisType.Auto),
    devices=devices,
  )


def _by(mesh: Mesh, *axes: Any) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec(*axes))


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return _by(mesh)


def class_strategy(
  mesh: Mesh, inner: matching.ClassStrategy = 'auto'
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
  """Makes a strategy for `over_classes`: each device maps its own classes.

  Where the classes do not divide evenly, the last one is computed again in
  the places left over, and these results are dropped. The second axis of the
  mesh, if there is one, works on each class together: see `spread_class`.

  Args:
    mesh: see `make_mesh`.
    inner: how a device maps its classes; see `matching.over_classes`.

  Raises:
    ValueError: if `inner` is unknown.
  """
  return _mapped(
    mesh,
    CLASS_AXIS,
    lambda function: matching.over_classes(function, inner),
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
    lambda function: matching.over_classes(function, inner),
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

      def split(leaf):
        if leaf.shape[0] > count:
          return leaf
        # Otherwise the partitioner would split what comes before, too, and
        # send it around.
        if whole or _is_draw(leaf):
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
      )(*jax.tree.map(split, args))
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


def _is_draw(leaf: Array) -> bool:
  """Whether an array holds random draws, which every device makes itself."""
  return leaf.dtype == jnp.int32 or jax.dtypes.issubdtype(
    leaf.dtype, jax.dtypes.prng_key
  )


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
  return _placed(_by(mesh, (CLASS_AXIS, DATA_AXIS)))


def spread_class(mesh: Mesh) -> Augment:
  """Like `spread`, for images of one class under `class_strategy`.

  They are split over the second axis of the mesh. With one device there it
  does nothing.

  Args:
    mesh: see `make_mesh`.
  """
  if mesh.shape[DATA_AXIS] == 1:
    return lambda key, images: images
  return _placed(_by(mesh, DATA_AXIS))


def _placed(sharding):
  names = jax.tree.leaves(tuple(sharding.spec))
  count = math.prod(sharding.mesh.shape[name] for name in names)

  def place(key, images):
    del key
    if images.shape[0] < count:  # Too few to give every device one.
      return images
    return jax.lax.with_sharding_constraint(images, sharding)

  return place


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
  places = mesh.shape[CLASS_AXIS]
  padded = -(-len(counts) // places) * places
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

  return jax.make_array_from_callback(shape, _by(mesh, CLASS_AXIS), block)


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
  return _by(mesh, CLASS_AXIS) if even else replicated(mesh)


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
    belongs = leaf.ndim > 2 and leaf.shape[:2] == tuple(lead)
    return _by(mesh, *axes) if belongs else replicated(mesh)

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


def start_processes(
  coordinator: str | None = None,
  count: int | None = None,
  index: int | None = None,
) -> None:
  """Makes this process one of several that run the same command.

  On Cloud TPU, SLURM and the like everything is found out by itself. A process
  that dies is noticed by the others within half a minute.

  Args:
    coordinator: `HOST:PORT` of process 0; None: found out.
    count: processes; None: found out.
    index: of this process, from 0; None: found out.

  Raises:
    ValueError: if only some of the arguments are given, or they contradict
      each other.
    RuntimeError: if the processes do not find each other.
  """
  given = [coordinator is not None, count is not None, index is not None]
  if any(given) and not all(given):
    raise ValueError(
      f'coordinator {coordinator!r}, processes {count!r}, process {index!r}: '
      'give all three, or none where the cluster tells them'
    )
  if all(given) and not 0 <= int(index or 0) < int(count or 0):
    raise ValueError(f'process {index}: must be in 0..{int(count or 0) - 1}')
  jax.distributed.initialize(
    coordinator, count, index, heartbeat_timeout_seconds=30
  )


def is_main() -> bool:
  """Whether this process is the one that writes: the first."""
  return jax.process_index() == 0


def is_peer_lost(error: Exception) -> bool:
  """Whether an error can mean that another process of the run is gone."""
  lost = isinstance(error, jax.errors.JaxRuntimeError)
  return lost and jax.process_count() > 1


def agree(wish: bool) -> bool:
  """Whether any process wishes something; all must ask at the same point."""
  if jax.process_count() == 1:
    return wish
  wishes = multihost_utils.process_allgather(np.asarray(wish))
  return bool(np.any(wishes))


def barrier(name: str) -> None:
  """Waits until every process is here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)
