"""What a run makes of its device: memory, utilisation, a profile."""

import contextlib
import functools
import pathlib
import resource
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from dcjax.utils import platform


def memory_bytes() -> int:
  """Peak memory of this process's first device, or of the process on a CPU."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    return int(stats['peak_bytes_in_use'])
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == 'darwin' else 1024 * peak


def utilisation(operations: float | None, seconds: float) -> float | None:
  """Share of the speed of a large matrix product that was reached.

  Args:
    operations: counted from shapes and traced programs, not measured; None
      where JAX cannot count them.
    seconds: that they took.
  """
  if operations is None or not seconds:
    return None
  return round(operations / seconds / peak(), 4)


@contextlib.contextmanager
def trace(folder: pathlib.Path, wanted: bool) -> Iterator[None]:
  """Writes a profile of what happens meanwhile, for TensorBoard or Perfetto.

  Args:
    folder: where to.
    wanted: False does nothing.
  """
  if not wanted:
    yield
    return
  with jax.profiler.trace(str(folder)):
    yield


def machines() -> int:
  """Devices with a speed and a memory of their own; a CPU's share both."""
  cpu = platform() == 'cpu'
  return jax.process_count() if cpu else jax.device_count()


def peak() -> float:
  """`matmul_speed` of all devices together."""
  return matmul_speed() * machines()


@functools.cache
def matmul_speed() -> float:
  """Floating-point operations a second of a matrix product on this device."""
  n = 1024
  product = jax.jit(lambda a: a @ a)
  a = jnp.ones((n, n))
  product(a).block_until_ready()
  began = time.perf_counter()
  repeats = 5
  for _ in range(repeats):
    result = product(a)
  result.block_until_ready()
  return repeats * 2 * n**3 / (time.perf_counter() - began)
