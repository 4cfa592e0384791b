"""What devices say to one another in a compiled program."""

import collections
import math
import re
from typing import NamedTuple

_KINDS = r'(all-\w+|collective-\w+|reduce-scatter|ragged-all-to-all)'
_SPOKEN = re.compile(rf'= (.*?) {_KINDS}(-start)?\(')
_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_CALLED = re.compile(
  r'(?:body|condition|calls|to_apply|true_computation|false_computation)='
  r'%?([\w.\-]+)'
)
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_ARRAY = re.compile(r'\b(pred|[a-z]+(\d+))\w*\[([\d,]*)\]')


class Spoken(NamedTuple):
  """One collective operation.

  Attributes:
    kind: such as `'all-reduce'`.
    shapes: of its result, as XLA writes them.
    bytes: of its result on one device, once.
    times: how often a call of the program makes it.
  """

  kind: str
  shapes: str
  bytes: int
  times: int


def collectives(text: str) -> list[Spoken]:
  """The collectives of a compiled program.

  A loop whose length the compiler does not know counts one turn.

  Args:
    text: `Compiled.as_text()`.
  """
  found, calls, entry, name = [], collections.defaultdict(list), '', ''
  for line in text.splitlines():
    opened = _COMPUTATION.match(line)
    if opened:
      name = opened[2]
      entry = name if opened[1] else entry
      continue
    turns = _TURNS.search(line)
    for called in _called(line):
      calls[name].append((called, int(turns[1]) if turns else 1))
    spoken = _SPOKEN.search(line)
    if spoken and not spoken[2].endswith('-done'):
      found.append((name, spoken))
  times = _multiplied(calls, entry)
  return [
    Spoken(
      kind=s[2],
      shapes=re.sub(r'\{[^}]*\}', '', s[1]),
      # An asynchronous one returns its operands, too.
      bytes=_bytes(s[1]) // (2 if s[3] and s[2] == 'all-reduce' else 1),
      times=times[where],
    )
    for where, s in found
    if times[where]
  ]


def _called(line):
  branches = ','.join(_BRANCHES.findall(line))
  return [*_CALLED.findall(line), *re.findall(r'[\w.\-]+', branches)]


def _multiplied(calls, entry):
  """How often each computation runs in a call of the program."""
  times = collections.Counter()

  def visit(name, often):
    times[name] += often
    for called, turns in calls[name]:
      visit(called, often * turns)

  visit(entry, 1)
  return times


def _bytes(shapes):
  total = 0
  for kind, bits, dimensions in _ARRAY.findall(shapes):
    size = 1 if kind == 'pred' else max(int(bits), 8) // 8
    total += size * math.prod(int(n) for n in dimensions.split(',') if n)
  return total
