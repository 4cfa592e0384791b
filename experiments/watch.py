"""What a run makes of its device: memory, utilisation, a profile."""

import contextlib
import functools
import pathlib
import resource
import sys
from collections.abc import Iterator

import builder
import jax
import plan


def memory_bytes() -> int:
  """Peak memory of this process's first device, or of the process on a CPU."""
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    return int(stats['peak_bytes_in_use'])
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == 'darwin' else 1024 * peak


def utilisation(parts: builder.Run, seconds: float) -> float | None:
  """Share of the speed of a large matrix product that an iteration reached.

  Operations are counted from shapes and traced programs (`plan.py`), not
  measured. None where JAX cannot count them.

  Args:
    parts: the run.
    seconds: of one outer iteration.
  """
  operations = plan.outer_operations(parts)
  if operations is None:
    return None
  speed = _speed() * jax.device_count()
  return round(operations / seconds / speed, 4)


@functools.cache
def _speed():
  return plan.matmul_speed()


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
