"""What a compiled program is made of, read from its text."""

import collections
import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dcjax.runs._collectives import Spoken, bytes_of, spoken

_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_STARTED = re.compile(r'(?:condition|body)=%?([\w.\-]+)')
_FUSED = re.compile(r'(?:calls|to_apply)=%?([\w.\-]+)')
_BRANCHES = re.compile(
  r'(?:branch_computations=\{([^}]*)\}|'
  r'(?:true_computation|false_computation)=%?([\w.\-]+))'
)
_TURNS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_LINE = re.compile(
  r'\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)'
)
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
# What a compiler says where it cannot tell: the largest number there is.
_UNKNOWN = 2**63 - 1
_ARRAY = re.compile(r'\w+\[([\d,]*)\]')
_CHANNEL = re.compile(r'channel_id=(\d+)')
_GROUPS = re.compile(r'(?:feature|batch)_group_count=(\d+)')
_CONTRACTED = re.compile(
  r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)[\}\]]'
)
_FIELDS = ('size', 'stride', 'pad', 'lhs_dilate', 'rhs_dilate')
# Nothing runs for these.
_FREE = (
  *('parameter', 'tuple', 'get-tuple-element', 'constant', 'bitcast', 'while'),
  *('conditional', 'call', 'after-all', 'partition-id', 'opt-barrier'),
)


class Line(NamedTuple):
  """An operation of a computation.

  Attributes:
    name: of its result.
    shape: of its result, as XLA writes it.
    kind: such as `'fusion'`.
    rest: of the line, from its operands on.
  """

  name: str
  shape: str
  kind: str
  rest: str


class Emitted(NamedTuple):
  """What a call of a compiled program takes, loops multiplied out.

  Attributes:
    flops: of convolutions and products.
    kernels: operations that are started one by one.
    copies: of them, such as only move or turn an array.
    convolutions: how many stand in the text.
    grouped: how many of them are grouped.
    cycles: as the compiler estimates them, where it does (TPUs); else 0.
    spoken: the collectives.
  """

  flops: float
  kernels: int
  copies: int
  convolutions: int
  grouped: int
  cycles: float
  spoken: Sequence[Spoken]


def emitted(text: str) -> Emitted:
  """Reads a compiled program.

  A loop whose length is not to be found counts one turn.

  Args:
    text: `Compiled.as_text()`.
  """
  computations, entry = _parse(text)
  times, started = _times(computations, entry)
  flops = cycles = 0.0
  kernels = copies = convolutions = grouped = 0
  said: dict[str, Spoken] = {}
  for name, lines in computations.items():
    often = times[name]
    shapes = {line.name: line.shape for line in lines}
    for line in lines if often else ():
      flops += often * _flops(line, shapes)
      found = _CYCLES.search(line.rest)
      if found and int(found[1]) < _UNKNOWN:
        cycles += often * int(found[1])
      if _is_convolution(line):
        convolutions += 1
        grouped += any(int(n) > 1 for n in _GROUPS.findall(line.rest))
      if name in started and _is_kernel(line):
        kernels += often
        copies += often * line.kind.startswith(('copy', 'transpose'))
      if collective := spoken(line.kind, line.shape, often):
        # One that goes on beside other work stands in the text once a piece.
        channel = _CHANNEL.search(line.rest)
        said.setdefault(channel[1] if channel else line.name, collective)
  collectives = list(said.values())
  return Emitted(
    flops, kernels, copies, convolutions, grouped, cycles, collectives
  )


def _parse(text) -> tuple[dict[str, list[Line]], str]:
  """The lines of every computation, and which of them is the program."""
  found: dict[str, list[Line]] = {}
  entry, lines = '', []
  for row in text.splitlines():
    opened = _COMPUTATION.match(row)
    if opened:
      lines = found.setdefault(opened[2], [])
      entry = opened[2] if opened[1] else entry
    elif line := _LINE.match(row):
      lines.append(Line(*line.groups()))
  return found, entry


def _times(computations, entry):
  """How often each computation runs, and which are not part of a kernel."""
  times: dict[str, int] = collections.Counter()
  started = {entry}

  def visit(name, often):
    times[name] += often
    for line in computations.get(name, ()):
      turns = _turns(line, computations)
      own = [*_STARTED.findall(line.rest), *_branches(line.rest)]
      called = _FUSED.findall(line.rest)
      if line.kind == 'call':
        own += called
      if name in started:
        started.update(own)
      for other in {*own, *called}:
        visit(other, often * turns)

  visit(entry, 1)
  return times, started


def _branches(rest) -> Iterator[str]:
  for several, one in _BRANCHES.findall(rest):
    yield from re.findall(r'[\w.\-]+', several) or [one]


def _turns(line, computations) -> int:
  """Of a loop: as the compiler says, or the number its condition names."""
  if line.kind != 'while':
    return 1
  known = _TURNS.search(line.rest)
  if known:
    return int(known[1])
  condition = re.search(r'condition=%?([\w.\-]+)', line.rest)
  lines = computations.get(condition[1], ()) if condition else ()
  compared = [x for x in lines if x.kind == 'compare']
  numbers = [int(x.rest.split(')')[0]) for x in lines if _counts(x)]
  if len(compared) == len(numbers) == 1 and 'direction=LT' in compared[0].rest:
    return numbers[0]
  return 1


def _counts(line) -> bool:
  return line.kind == 'constant' and line.shape.startswith('s32[]')


def _is_kernel(line) -> bool:
  if line.kind in _FREE or line.kind.endswith('-done'):
    return False
  if 'custom_call_target="AllocateBuffer"' in line.rest:
    return False
  return bytes_of(line.shape) > 8  # a scalar is no kernel


def _is_convolution(line) -> bool:
  return line.kind == 'convolution' or '"__cudnn$conv' in line.rest


def _dims(shape) -> list[int]:
  """Of the first array."""
  found = _ARRAY.search(shape)
  return [int(n) for n in found[1].split(',') if n] if found else []


def _flops(line, shapes) -> float:
  """Of a convolution or product; 0 of anything else."""
  operands = [
    _dims(shapes.get(name, ''))
    for name in re.findall(r'%([\w.\-]+)', line.rest.split(')')[0])
  ]
  result = _dims(line.shape)
  if line.kind == 'convolution':
    return _convolution(line.rest, operands[0], operands[1], result)
  if _is_convolution(line):  # of cuDNN: names of a forward one stay
    grad, kernel = result, operands[1]
    if 'convBackwardFilter' in line.rest:
      grad, kernel = operands[1], result
    elif 'convBackwardInput' in line.rest:
      grad = operands[0]
    _, names, _ = _labels(line.rest)
    return 2.0 * math.prod(grad) * math.prod(kernel) / kernel[names.index('o')]
  contracted = _CONTRACTED.search(line.rest)
  if contracted and operands:
    numbers = re.findall(r'\d+', contracted[1])
    return 2.0 * math.prod([*result, *(operands[0][int(n)] for n in numbers)])
  return 0.0


def _labels(rest) -> Sequence[str]:
  """Names of the axes of images, kernel and result, such as `'b01f'`."""
  found = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', rest)
  return found.groups() if found else ('bf', 'io', 'bf')


def _convolution(rest, images, kernel, result) -> float:
  """Products of pixels that are there, neither padding nor between pixels."""
  left, middle, right = _labels(rest)
  pairs = result[right.index('b')] * result[right.index('f')]
  pairs *= kernel[middle.index('i')]
  window = dict(re.findall(r'(\w+)=([\dx_\-]+)', _window(rest)))
  for axis in sorted(set(right) - set('bf'), key=int):
    pairs *= _met(
      images[left.index(axis)],
      result[right.index(axis)],
      *(_of_axis(window, field, int(axis)) for field in _FIELDS),
    )
  return 2.0 * pairs


def _window(rest) -> str:
  found = re.search(r'window=\{([^}]*)\}', rest)
  return found[1] if found else ''


def _of_axis(window, field, axis) -> int:
  values = window.get(field, '').split('x')
  word = values[axis] if len(values) > axis else ''
  return int(word.split('_')[0]) if word else int(field != 'pad')


def _met(pixels, results, size, stride, pad, apart, kernel_apart) -> int:
  """How many places of a result and of the kernel meet a pixel."""
  place = np.arange(results)[:, None] * stride - pad
  place = place + np.arange(size) * kernel_apart
  there = (place >= 0) & (place <= (pixels - 1) * apart) & (place % apart == 0)
  return int(there.sum())
