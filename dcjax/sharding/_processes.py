"""Processes that work together."""

import jax
import numpy as np
from jax.experimental import multihost_utils


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
