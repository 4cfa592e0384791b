"""The mesh of devices, and what lies on all of them."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

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
    >>> make_mesh(10, devices=jax.devices()[:8]).shape  # doctest: +SKIP
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


def by(mesh: Mesh, *axes: Any) -> NamedSharding:
  """The sharding that splits leading axes over axes of the mesh."""
  return NamedSharding(mesh, PartitionSpec(*axes))


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return by(mesh)
