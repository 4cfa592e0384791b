"""The real images of a run with observers, on one device or on all."""

from collections.abc import Callable
from typing import Any

import devices
import jax.numpy as jnp
import small_sets
from statistics_parts import Parts

from dcjax import sharding
from dcjax.data._sampling import DeviceData
from dcjax.inner import InnerData


def passes(parts: Parts, images_per_class: int) -> Callable[[int], InnerData]:
  """Returns the real images by the number of the pass, or window.

  Args:
    parts: of the run.
    images_per_class: the first ones of every class; 0: all.
  """
  if parts.dataset.stream is not None:
    return lambda number: InnerData(
      parts.real._replace(images=_window(parts, number))
    )
  data = parts.real
  if images_per_class:
    few = small_sets.at_most(parts.dataset, images_per_class)
    data = devices.real_data(few, parts.mesh)
  return lambda number: InnerData(data)


def _window(parts, number):
  stream = parts.dataset.stream
  if parts.mesh is None:
    return jnp.asarray(stream.window(number))
  return sharding.place_images(
    parts.mesh, parts.dataset, lambda classes: stream.window(number, classes)
  )


def local_real(parts: Parts) -> DeviceData:
  """The training images on one device, for what each process does alone."""
  if parts.mesh is None:
    return parts.real
  return devices.real_data(parts.dataset, None)


def everywhere(parts: Parts, tree: Any) -> Any:
  """Puts arrays, the same in every process, on all devices there are."""
  if parts.mesh is None:
    return tree
  return sharding.place(tree, sharding.replicated(parts.mesh))


def windows(parts: Parts) -> int:
  """How many windows show every image; 1 where all are in memory."""
  stream = parts.dataset.stream
  return 1 if stream is None else stream.windows_per_pass
