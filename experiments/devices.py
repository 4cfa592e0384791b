"""The devices of a run, and its real data on them."""

import jax

from dcjax import sharding
from dcjax.data import Dataset, to_device
from dcjax.data._sampling import DeviceData


def mesh_of(
  dataset: Dataset, devices_per_class: int = 0
) -> jax.sharding.Mesh | None:
  """All devices, or None where there is only one.

  Args:
    dataset: whose classes they share.
    devices_per_class: see `sharding.make_mesh`.

  Raises:
    ValueError: see `sharding.make_mesh`.
  """
  mesh = sharding.make_mesh(dataset.num_classes, devices_per_class)
  return mesh if mesh.size > 1 else None


def real_data(dataset: Dataset, mesh: jax.sharding.Mesh | None) -> DeviceData:
  """The training images on a mesh, or on one device where it is None."""
  if mesh is not None:
    return sharding.place_data(mesh, dataset)
  return to_device(dataset.images, dataset.labels, dataset.scale)
