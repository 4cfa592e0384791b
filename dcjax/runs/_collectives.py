"""What devices say to one another in a compiled program."""

import math
import re
from typing import NamedTuple

_KIND = re.compile(
  r'(all-\w+|collective-\w+|reduce-scatter|ragged-all-to-all)(-start)?'
)
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


def spoken(kind: str, shapes: str, times: int) -> Spoken | None:
  """An operation of a compiled program as a collective, or None if it is none.

  Args:
    kind: as XLA writes it.
    shapes: of its result.
    times: how often a call of the program makes it.
  """
  found = _KIND.fullmatch(kind)
  if not found or kind.endswith('-done'):
    return None
  # An asynchronous one returns its operands, too.
  half = 2 if found[2] and found[1] == 'all-reduce' else 1
  plain = re.sub(r'\{[^}]*\}', '', shapes)
  return Spoken(found[1], plain, bytes_of(shapes) // half, times)


def bytes_of(shapes: str) -> int:
  """Bytes of the arrays of a result.

  Args:
    shapes: as XLA writes them, such as `'(f32[8,2]{1,0}, pred[])'`.
  """
  total = 0
  for kind, bits, dimensions in _ARRAY.findall(shapes):
    size = 1 if kind == 'pred' else max(int(bits), 8) // 8
    total += size * math.prod(int(n) for n in dimensions.split(',') if n)
  return total
