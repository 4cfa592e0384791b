"""Where everything lies: on one device, or on a mesh of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, SingleDeviceSharding

from dcjax.base import Array, Augment, PyTree
from dcjax.data import DeviceData, to_device
from dcjax.sharding import _layouts, _mesh, _strategies

if TYPE_CHECKING:
  from dcjax.data import Dataset


class Placement(NamedTuple):
  """Decides where arrays lie; on one device it changes nothing.

  Attributes:
    mesh: the devices, or None for one.
    device: the one; JAX's first by default.
  """

  mesh: Mesh | None = None
  device: jax.Device | None = None

  @property
  def size(self) -> int:
    """Number of devices."""
    return 1 if self.mesh is None else self.mesh.size

  @property
  def _whole(self):
    if self.mesh is None:
      return SingleDeviceSharding(self.device or jax.devices()[0])
    return _mesh.replicated(self.mesh)

  def everywhere(self, tree: PyTree) -> PyTree:
    """Puts arrays, the same in every process, on all devices."""
    if self.mesh is None:
      return tree
    return _layouts.place(tree, self._whole)

  def put(self, tree: PyTree, shardings: PyTree) -> PyTree:
    """Puts arrays, the same in every process, where shardings say."""
    if self.mesh is None:
      return jax.device_put(tree)
    return _layouts.place(tree, shardings)

  def copies(self, shapes: PyTree) -> PyTree:
    """Shardings of what every device holds whole."""
    return jax.tree.map(lambda _: self._whole, shapes)

  def state(self, shapes: PyTree, num_classes: int) -> PyTree:
    """Shardings of a `CondenseState`; see `state_shardings`."""
    if self.mesh is None:
      return self.copies(shapes)
    return _layouts.state_shardings(self.mesh, shapes, num_classes)

  def image_batch(self, shapes: PyTree, lead: tuple[int, int]) -> PyTree:
    """Shardings of an image batch's state; see `image_batch_shardings`."""
    if self.mesh is None:
      return self.copies(shapes)
    return _layouts.image_batch_shardings(self.mesh, shapes, lead)

  def by_class(self, num_classes: int) -> Any:
    """Sharding of what is split by class where that is even."""
    if self.mesh is None:
      return self._whole
    return _layouts.class_sharding(self.mesh, num_classes)

  def data(self, dataset: 'Dataset') -> DeviceData:
    """The training images on the devices, or the first window of them."""
    if self.mesh is None:
      return to_device(dataset.images, dataset.labels, dataset.scale)
    return _layouts.place_data(self.mesh, dataset)

  def data_shapes(self, dataset: 'Dataset') -> DeviceData:
    """Shapes of what `data` returns, with their devices; nothing is moved."""
    if self.mesh is not None:
      return _layouts.data_shapes(self.mesh, dataset)
    images, counts = dataset.images, dataset.counts
    shapes = DeviceData(
      jax.ShapeDtypeStruct(images.shape, images.dtype),
      *_layouts.index_shapes(counts),
    )
    return placed(shapes, self.copies(shapes))

  def window(self, dataset: 'Dataset', number: int) -> Array:
    """The images of a window of a streamed set, on the devices."""
    stream = dataset.stream
    if self.mesh is None:
      return jnp.asarray(stream.window(number))
    return _layouts.place_images(
      self.mesh, dataset, lambda classes: stream.window(number, classes)
    )

  def spread(self) -> tuple[Augment, ...]:
    """Spreads the images of a batch, as a step of an augmentation."""
    return () if self.mesh is None else (_strategies.spread(self.mesh),)

  def spread_class(self) -> tuple[Augment, ...]:
    """Spreads the images of a class, as a step of an augmentation."""
    return () if self.mesh is None else (_strategies.spread_class(self.mesh),)

  def classes(self, strategy: Any) -> Any:
    """How classes are mapped; see `class_strategy`."""
    if self.mesh is None:
      return strategy
    return _strategies.class_strategy(self.mesh, strategy)

  def seeds(self) -> str | Callable[..., Any]:
    """How the networks of an evaluation are mapped; see `seed_strategy`."""
    return 'auto' if self.mesh is None else _strategies.seed_strategy(self.mesh)


def placement(
  num_classes: int,
  devices_per_class: int = 0,
  devices: Sequence[jax.Device] | None = None,
) -> Placement:
  """All devices there are.

  Args:
    num_classes: that share them.
    devices_per_class: see `make_mesh`; what a run computes does not depend on
      it.
    devices: instead; a program may be compiled for some that are not here.

  Raises:
    ValueError: see `make_mesh`.
  """
  mesh = _mesh.make_mesh(num_classes, devices_per_class, devices)
  if mesh.size > 1:
    return Placement(mesh)
  return Placement(None, None if devices is None else devices[0])


def placed(shapes: PyTree, shardings: PyTree) -> PyTree:
  """Shapes with the devices that arrays of them lie on.

  Args:
    shapes: arrays or their shapes.
    shardings: a tree of the same structure.
  """
  return jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(
      leaf.shape, leaf.dtype, sharding=place
    ),
    shapes,
    shardings,
  )
