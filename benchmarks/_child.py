"""The child process of a comparison: gets ready, then steps when told.

Speaks JSON, a line each way. The first line from the parent says what to
prepare; the answer holds facts. Every further line asks for one step.
"""

import importlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Prepared(NamedTuple):
  """An alternative that is ready to be timed.

  Attributes:
    step: does the work once, waits until it is done and returns a number that
      depends on it (a loss).
    facts: JSON-able, such as `{'compile_seconds': 3.1}`.
    peak_bytes: largest memory in use so far, in bytes; None for this process's
      own resident memory.
  """

  step: Callable[[], float]
  facts: dict[str, Any]
  peak_bytes: Callable[[], float] | None = None


def prepare(request: Mapping[str, Any]) -> Prepared:
  """Calls the function of this folder that a request names."""
  module = importlib.import_module(request['module'])
  return getattr(module, request['function'])(**request['options'])


def timed(prepared: Prepared) -> dict[str, float]:
  """Makes one step; returns `wall`, `cpu` seconds, `loss` and `peak_gib`."""
  wall, cpu = time.perf_counter(), time.process_time()
  loss = prepared.step()
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  peak = memory_gib(os.getpid(), 'VmHWM')
  if prepared.peak_bytes is not None:
    peak = prepared.peak_bytes() / 2**30
  return {'wall': wall, 'cpu': cpu, 'loss': loss, 'peak_gib': peak}


def record_seconds(folder: pathlib.Path, work: Callable[[], None]) -> None:
  """Does work; then writes its wall and CPU time to `folder/seconds.json`."""
  wall, cpu = time.perf_counter(), time.process_time()
  work()
  wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
  seconds = {'wall': wall, 'cpu': cpu}
  (folder / 'seconds.json').write_text(json.dumps(seconds), encoding='utf-8')


def memory_gib(pid: int, field: str) -> float:
  """Resident memory of a process in GiB, 0 where the system does not tell.

  Args:
    pid: of the process.
    field: `'VmRSS'` (now) or `'VmHWM'` (at most so far). Not `getrusage`: its
      maximum starts with what the parent held when it made the process.
  """
  try:
    text = pathlib.Path(f'/proc/{pid}/status').read_text(encoding='utf-8')
  except OSError:
    return 0.0
  lines = (line.split() for line in text.splitlines())
  kib = next((int(line[1]) for line in lines if line[0] == f'{field}:'), 0)
  return kib / 2**20


def limit_threads(threads: int) -> None:
  """Leaves this process so many CPUs; thread pools size themselves by them."""
  if threads and hasattr(os, 'sched_setaffinity'):
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])


def main() -> None:
  """Answers the parent until it closes the pipe."""
  # What libraries print goes to stderr; the pipe carries answers only.
  with os.fdopen(os.dup(1), 'w') as channel:
    os.dup2(2, 1)

    def answer(content):
      channel.write(f'{json.dumps(content)}\n')
      channel.flush()

    request = json.loads(sys.stdin.readline())
    limit_threads(request['threads'])
    try:
      prepared = prepare(request)
      answer({'facts': prepared.facts})
      while sys.stdin.readline():
        answer(timed(prepared))
    except Exception as error:  # Whatever it is, the table should say it.
      first_line = (str(error).splitlines() or [''])[0]
      answer({'error': f'{type(error).__name__}: {first_line}'[:200]})


if __name__ == '__main__':
  main()
