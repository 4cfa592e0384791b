"""How long a run of many stages takes: expected, and then measured.

The work of every stage is counted in operations before anything begins. As soon
as a piece of it is done, its speed tells how long the rest takes. Stages of one
kind (`evaluate/random`, `evaluate/herding`) share their speed.
"""

import time
from collections.abc import Mapping

import jax

from dcjax.runs._progress import duration, say

# Seconds: between two messages, and of what is worth one.
_QUIET, _SHORT = 10, 10


class Outlook:
  """What is left of a run, and how fast it is done."""

  def __init__(
    self, work: Mapping[str, float] | None = None, speed: float | None = None
  ):
    """Starts with nothing done.

    Args:
      work: stage -> operations.
      speed: expected operations in a second; None: unknown.
    """
    self._whole = {n: w for n, w in (work or {}).items() if w}
    self._left, self._expected = dict(self._whole), speed
    self._seen: dict[str, list[float]] = {}
    self._spoken, self._said = -float('inf'), ''

  def update(
    self, stage: str, done: float, piece: float, seconds: float
  ) -> None:
    """Notes a piece of work; says what is left when a stage's speed is new.

    Args:
      stage: an unknown one changes nothing.
      done: fraction of the stage that is done in all.
      piece: fraction that was done just now.
      seconds: that the piece took, without compilation; 0: not measured.
    """
    if stage not in self._whole:
      return
    whole = self._whole[stage]
    seen = self._seen.setdefault(_kind(stage), [0.0, 0.0])
    self._left[stage] = whole * (1 - min(done, 1.0))
    if not seconds:
      return
    new = not seen[1]
    seen[0] += whole * piece
    seen[1] += seconds
    if new:
      self._speak()

  def finish(self, stage: str) -> None:
    """Notes that a stage is done, or found; says what is left."""
    if self._left.get(stage):
      self._left[stage] = 0.0
      self._speak()

  def seconds(self) -> dict[str, float | None]:
    """Seconds that are left of each kind of stage with work; None: unknown."""
    left: dict[str, float] = {}
    for stage, operations in self._left.items():
      left[_kind(stage)] = left.get(_kind(stage), 0.0) + operations
    known: dict[str, float | None] = {}
    for kind, operations in left.items():
      speed = self._speed(kind)
      if operations:
        known[kind] = None if speed is None else operations / speed
    return known

  def _speed(self, kind):
    """Operations in a second: of the kind, else of all, else expected."""
    every = [sum(pair) for pair in zip(*self._seen.values(), strict=True)]
    for operations, seconds in (self._seen.get(kind, (0, 0)), every or (0, 0)):
      if seconds:
        return operations / seconds
    return self._expected

  def __str__(self) -> str:
    """What is left, such as `3 min 20 s of observers, 10 s of evaluate`."""
    every = self.seconds().items()
    worth = [(s, t) for s, t in every if t is not None and round(t)]
    return ', '.join(f'{duration(t)} of {s}' for s, t in worth)

  def total(self) -> float | None:
    """Seconds that are left in all; None: unknown."""
    every = list(self.seconds().values())
    return None if None in every else float(sum(filter(None, every)))

  def done(self) -> float | None:
    """Fraction of the time that is behind; None: unknown."""
    left, total = self.total(), 0.0
    for stage, operations in self._whole.items():
      speed = self._speed(_kind(stage))
      if speed is None:
        return None
      total += operations / speed
    return None if left is None or not total else max(0.0, 1 - left / total)

  def _speak(self):
    """Says what is left, unless it is little or was just said."""
    now = time.monotonic()
    total, quiet = self.total(), now - self._spoken < _QUIET
    measured = any(seconds for _, seconds in self._seen.values())
    if not measured or quiet or total is None or total < _SHORT:
      return
    if str(self) == self._said:
      return
    self._spoken, self._said = now, str(self)
    say(f'measured: about {self} to go')

  def describe(self) -> str:
    """What is expected before anything is measured."""
    total, kind = self.total(), jax.devices()[0].device_kind
    if total is None:
      return f'unknown time on {kind}'
    parts = f': {self}' if str(self) else ''
    return (
      f'about {duration(total)} on {kind} (rough; without compilation){parts}'
    )


def _kind(stage: str) -> str:
  return stage.partition('/')[0]
