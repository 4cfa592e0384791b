"""Times alternatives side by side: a process for each, turns taken in rounds.

Each alternative lives in a child process, so its peak memory, threads and CPU
seconds are its own. Children get ready one after another, then the parent lets
one of them make a step at a time, A B A B ..., so that whatever else the
machine does slows all of them alike.
"""

import json
import os
import pathlib
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import _child

_CHILD = pathlib.Path(_child.__file__)
_GIB = 2**30
# Waiting threads must sleep: CPU seconds then mean work. Compiling anew each
# time keeps compile seconds comparable.
_ENVIRONMENT = {
  'OMP_WAIT_POLICY': 'PASSIVE',
  'JAX_ENABLE_COMPILATION_CACHE': 'false',
  'TF_CPP_MIN_LOG_LEVEL': '2',
  'PYTHONUNBUFFERED': '1',
  # On a GPU, children share the memory.
  'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
}


class Alternative(NamedTuple):
  """One way to do the same work.

  Attributes:
    name: for the table.
    module: file of this folder, without `.py`, that holds `function`.
    function: `**options -> Prepared`; see `_child`.
    options: JSON-able keyword arguments.
  """

  name: str
  module: str
  function: str
  options: dict[str, Any]


class Limits(NamedTuple):
  """How a comparison is run.

  Attributes:
    reps: timed steps of each alternative, after one that is not timed.
    threads: of each child, as CPUs it may use; 0 for all.
    most_gib: a child that uses more memory is ended and reported so.
    most_seconds: the same for one answer, preparation included.
    isolate: False runs all alternatives in this process, which is quick, but
      shares peak memory and threads.
  """

  reps: int = 5
  threads: int = 2
  most_gib: float = 12.0
  most_seconds: float = 1800.0
  isolate: bool = True


class Measured(NamedTuple):
  """What one alternative took.

  Attributes:
    name: the alternative's.
    wall: seconds of each timed step.
    cpu: process CPU seconds of each timed step, all threads together.
    peak_gib: largest resident memory so far (device memory where the
      alternative reports that).
    facts: what preparation told, `compile_seconds` for one.
    failure: why there is no number, or ''.
  """

  name: str
  wall: list[float]
  cpu: list[float]
  peak_gib: float
  facts: dict[str, Any]
  failure: str = ''

  @property
  def wall_median(self) -> float:
    """Median wall seconds; NaN after a failure."""
    return median(self.wall)

  @property
  def cpu_median(self) -> float:
    """Median CPU seconds; NaN after a failure."""
    return median(self.cpu)


class Case(NamedTuple):
  """Alternatives to compare on one problem.

  Attributes:
    labels: cells that say which problem, one for each label column.
    alternatives: the first of the reference's name is the base of ratios.
  """

  labels: tuple[str, ...]
  alternatives: list[Alternative]


def median(values: Sequence[float]) -> float:
  """Returns the median; NaN of nothing."""
  ordered = sorted(values)
  if not ordered:
    return float('nan')
  middle = len(ordered) // 2
  return (ordered[middle] + ordered[-1 - middle]) / 2


class _ChildError(Exception):
  """A child could not answer; the message says why."""


class _Process:
  """An alternative in a child process."""

  def __init__(self, alternative: Alternative, limits: Limits):
    threads = {'OMP_NUM_THREADS': str(limits.threads)} if limits.threads else {}
    self._limits = limits
    self._process = subprocess.Popen(
      [sys.executable, str(_CHILD)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      env={**os.environ, **_ENVIRONMENT, **threads},
    )
    self._selector = selectors.DefaultSelector()
    self._selector.register(self._process.stdout, selectors.EVENT_READ)
    self._buffer = b''
    request = {**alternative._asdict(), 'threads': limits.threads}
    self.facts = self._ask(json.dumps(request))['facts']

  def step(self) -> dict[str, Any]:
    """Lets the child make one step; returns its answer."""
    return self._ask('go')

  def close(self) -> None:
    """Ends the child."""
    self._selector.close()
    self._process.kill()
    self._process.wait()
    self._process.stdin.close()
    self._process.stdout.close()

  def _ask(self, line):
    try:
      self._process.stdin.write(f'{line}\n'.encode())
      self._process.stdin.flush()
      answer = self._read_line()
    except OSError as error:
      raise _ChildError(f'ended early ({error})') from error
    answer = json.loads(answer)
    if 'error' in answer:
      raise _ChildError(answer['error'])
    return answer

  def _read_line(self):
    began = time.monotonic()
    while b'\n' not in self._buffer:
      if self._selector.select(timeout=0.25):
        part = os.read(self._process.stdout.fileno(), 65536)
        if not part:
          raise _ChildError(f'ended early (code {self._process.wait()})')
        self._buffer += part
      used = _child.memory_gib(self._process.pid, 'VmRSS')
      if used > self._limits.most_gib:
        raise _ChildError(f'more than {self._limits.most_gib:g} GiB')
      if time.monotonic() - began > self._limits.most_seconds:
        raise _ChildError(f'more than {self._limits.most_seconds:g} s')
    line, _, self._buffer = self._buffer.partition(b'\n')
    return line


class _Inline:
  """An alternative in this process."""

  def __init__(self, alternative: Alternative, limits: Limits):
    del limits
    self._prepared = _child.prepare(alternative._asdict())
    self.facts = self._prepared.facts

  def step(self) -> dict[str, Any]:
    """Makes one step."""
    return _child.timed(self._prepared)

  def close(self) -> None:
    """Does nothing."""


def compare(
  alternatives: Sequence[Alternative], limits: Limits
) -> list[Measured]:
  """Times alternatives in turns.

  Args:
    alternatives: in the order of their turns.
    limits: see `Limits`.

  Returns:
    One `Measured` for each, in order. An alternative that fails says why; the
    others go on.
  """
  records = [Measured(a.name, [], [], 0.0, {}) for a in alternatives]
  launch = _Process if limits.isolate else _Inline
  children: dict[int, Any] = {}
  try:
    for i, alternative in enumerate(alternatives):
      try:
        children[i] = launch(alternative, limits)
        records[i] = records[i]._replace(facts=children[i].facts)
      except _ChildError as error:
        records[i] = records[i]._replace(failure=str(error))
    for turn in range(limits.reps + 1):
      for i in list(children):
        records[i] = _take_turn(children, i, records[i], turn > 0)
  finally:
    for child in children.values():
      child.close()
  return records


def _take_turn(children, i, record, timed):
  try:
    answer = children[i].step()
  except _ChildError as error:
    children.pop(i).close()
    return record._replace(wall=[], cpu=[], failure=str(error))
  facts = record.facts
  if not timed:
    return record._replace(facts={**facts, 'first_step': answer['wall']})
  return record._replace(
    wall=[*record.wall, answer['wall']],
    cpu=[*record.cpu, answer['cpu']],
    peak_gib=answer['peak_gib'],
    facts={**facts, 'loss': answer['loss']},
  )


def compare_cases(
  cases: Iterable[Case], limits: Limits
) -> list[tuple[Case, list[Measured]]]:
  """Compares the alternatives of every case; says on stderr how far it is."""
  results = []
  for case in cases:
    began = time.monotonic()
    results.append((case, compare(case.alternatives, limits)))
    text = ', '.join(case.labels)
    sys.stderr.write(f'{text}: {time.monotonic() - began:.0f} s\n')
  return results


def facts_of(alternative: Alternative, limits: Limits) -> dict[str, Any]:
  """Prepares an alternative, makes no step, and returns its facts.

  Raises:
    ValueError: if it fails.
  """
  (record,) = compare([alternative], limits._replace(reps=-1))
  if record.failure:
    raise ValueError(f'{alternative.name}: {record.failure}')
  return record.facts


# A column: its title, and `(measured, reference or None) -> cell`.
Column = tuple[str, Callable[[Measured, Measured | None], str]]


def number(value: float, form: str = '.3g') -> str:
  """Returns a number as a table shows it; '—' for NaN."""
  return '—' if value != value else format(value, form)


def _ratio(own, base):
  if base is None or not base > 0:
    return '—'
  ratio = own / base
  return number(ratio, '.2f' if ratio >= 0.1 else '.2g')


COLUMNS: list[Column] = [
  ('wall s', lambda m, _: m.failure or number(m.wall_median)),
  ('CPU s', lambda m, _: number(m.cpu_median)),
  (
    'compile s',
    lambda m, _: number(m.facts.get('compile_seconds') or float('nan')),
  ),
  ('peak GiB', lambda m, _: number(m.peak_gib or float('nan'), '.2f')),
  (
    'wall ratio',
    lambda m, base: _ratio(m.wall_median, base and base.wall_median),
  ),
  ('CPU ratio', lambda m, base: _ratio(m.cpu_median, base and base.cpu_median)),
]


def table(
  labels: Sequence[str],
  results: Sequence[tuple[Case, list[Measured]]],
  *,
  reference: str,
  columns: Sequence[Column] | None = None,
) -> str:
  """Returns a Markdown table, a row for each alternative of each case.

  Args:
    labels: titles of the cases' label columns.
    results: of `compare_cases`.
    reference: name of the alternative that ratios are to, where it was
      measured; otherwise the first of the case.
    columns: see `Column`; `COLUMNS` if None.
  """
  columns = COLUMNS if columns is None else columns
  titles = [*labels, 'alternative', *(title for title, _ in columns)]
  lines = [_row(titles), _row(['---'] * len(titles))]
  for case, records in results:
    base = next((r for r in records if r.name == reference), records[0])
    for record in records:
      cells = [cell(record, base) for _, cell in columns]
      lines.append(_row([*case.labels, record.name, *cells]))
  return '\n'.join(lines)


def _row(cells):
  return f'| {" | ".join(cells)} |'
