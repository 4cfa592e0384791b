"""Processes that work together."""

import hashlib
from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from dcjax import files
from dcjax.sharding import _meeting

_MOST = 2**16  # processes that wait for one another


def start_processes(
  coordinator: str | None = None,
  count: int | None = None,
  index: int | None = None,
  *,
  wait_seconds: float = 300.0,
  say: Callable[[str], None] = _meeting.say_to_stderr,
) -> None:
  """Makes this process one of several that run the same command.

  On Cloud TPU, SLURM and the like everything is found out by itself. Elsewhere
  process 0 listens on the host of `coordinator`, and on no other address of its
  machine; whoever reaches that port can join or stop the run. A process that
  dies is noticed by the others within half a minute.

  Args:
    coordinator: `HOST:PORT` of process 0; None: found out.
    count: processes; None: found out.
    index: of this process, from 0; None: found out.
    wait_seconds: that the processes wait for each other.
    say: told after a few seconds whom this process waits for.

  Raises:
    ValueError: if only some of the arguments are given, or they contradict
      each other or those of other processes; if the address cannot be listened
      on, or is not known; if a process does not come, or no cluster is found.
      One sentence.
  """
  given = [coordinator is not None, count is not None, index is not None]
  if any(given) and not all(given):
    raise ValueError(
      f'coordinator {coordinator!r}, processes {count!r}, process {index!r}: '
      'give all three, or none where the cluster tells them'
    )
  if coordinator is None or count is None or index is None:
    _start_in_cluster()
    return
  if not 1 <= count <= _MOST:
    raise ValueError(f'processes {count}: must be in 1..{_MOST}')
  if not 0 <= index < count:
    raise ValueError(f'process {index}: must be in 0..{count - 1}')
  address = _meeting.meet(coordinator, count, index, wait_seconds, say)
  try:
    jax.distributed.initialize(
      coordinator,
      count,
      index,
      initialization_timeout=60,
      heartbeat_timeout_seconds=30,
      coordinator_bind_address=address,
    )
  except (RuntimeError, ValueError) as error:
    raise ValueError(
      f'coordinator {coordinator!r}: process {index} of {count} could not '
      f'start ({files.one_line(error)})'
    ) from error


def _start_in_cluster() -> None:
  """Starts where the cluster tells everything."""
  try:
    jax.distributed.initialize(heartbeat_timeout_seconds=30)
  except (RuntimeError, ValueError) as error:
    raise ValueError(
      'no cluster tells the processes of each other '
      f'({files.one_line(error)}): give --coordinator=HOST:PORT, --processes '
      'and --process'
    ) from error


def agree_on(digest: str, what: str) -> None:
  """Compares a digest between all processes; all must ask at the same point.

  Example:
    sharding.agree_on(trees.digest(dataset.images), 'data')

  Args:
    digest: a text, such as the SHA-256 of settings.
    what: of what it is, for the message.

  Raises:
    ValueError: in every process, if it is not the same in all; names the
      processes that differ from process 0.
  """
  if jax.process_count() == 1:
    return
  mine = np.frombuffer(hashlib.sha256(digest.encode()).digest(), np.uint8)
  every = np.asarray(multihost_utils.process_allgather(mine))
  other = np.flatnonzero((every != every[0]).any(axis=1)).tolist()
  if other:
    raise ValueError(
      f'{what}: process {", ".join(map(str, other))} of {len(every)} has other '
      'than process 0; start all with the same settings, data and versions'
    )


def is_main() -> bool:
  """Whether this process is the one that writes: the first."""
  return jax.process_index() == 0


def is_peer_lost(error: Exception) -> bool:
  """Whether an error can mean that another process of the run is gone."""
  # What collectives raise of a closed connection is now this, now that.
  lost = isinstance(error, jax.errors.JaxRuntimeError) or 'Gloo' in str(error)
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
