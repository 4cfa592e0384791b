"""How long a run of many stages takes: expected, and then measured.

The work of every stage is counted in operations before anything begins. As soon
as a piece of it is done, its speed tells how long the rest takes.
"""

import time

import jax
import numpy as np
from progress import duration, say

STAGES = ('observers', 'start', 'statistics', 'synthesis', 'labels', 'students')
# Seconds: between two messages, and of what is worth one.
_QUIET, _SHORT = 10, 10

Work = dict[tuple[str, str], float]


class Outlook:
  """What is left of a run, and how fast it is done."""

  def __init__(self, work: Work, speed: float | None = None):
    """Starts with nothing done.

    Args:
      work: (stage, part of it) -> operations.
      speed: expected operations in a second; None: unknown.
    """
    self._whole, self._left = work, dict(work)
    self._expected = speed
    self._seen = {stage: [0.0, 0.0] for stage in STAGES}
    self._spoken, self._said = -float('inf'), ''

  def update(
    self, stage: str, part: str, done: float, piece: float, seconds: float
  ) -> None:
    """Notes a piece of work; says what is left when a stage's speed is new.

    Args:
      stage: one of `STAGES`.
      part: of it; an unknown one changes nothing.
      done: fraction of the part that is done in all.
      piece: fraction that was done just now.
      seconds: that the piece took, without compilation; 0: not measured.
    """
    if (stage, part) not in self._whole:
      return
    whole, seen = self._whole[stage, part], self._seen[stage]
    self._left[stage, part] = whole * (1 - min(done, 1.0))
    if not seconds:
      return
    new = not seen[1]
    seen[0] += whole * piece
    seen[1] += seconds
    if new:
      self._speak()

  def finish(self, stage: str, part: str) -> None:
    """Notes that a part is done, or not needed; says what is left."""
    if self._left.get((stage, part)):
      self._left[stage, part] = 0.0
      self._speak()

  def seconds(self) -> dict[str, float | None]:
    """Seconds that are left of each stage with work; None: unknown."""
    left = dict.fromkeys(STAGES, 0.0)
    for (stage, _), operations in self._left.items():
      left[stage] += operations
    known = {}
    for stage in STAGES:
      speed = self._speed(stage)
      if left[stage]:
        known[stage] = None if speed is None else left[stage] / speed
    return known

  def _speed(self, stage):
    """Operations in a second: of the stage, else of all, else expected."""
    every = np.sum(list(self._seen.values()), axis=0)
    for operations, seconds in (self._seen[stage], every):
      if seconds:
        return operations / seconds
    return self._expected

  def __str__(self) -> str:
    """What is left, such as `3 min 20 s of observers, 10 s of students`."""
    every = self.seconds().items()
    worth = [(s, t) for s, t in every if t is not None and round(t)]
    return ', '.join(f'{duration(t)} of {s}' for s, t in worth)

  def total(self) -> float | None:
    """Seconds that are left in all; None: unknown."""
    every = self.seconds().values()
    return None if None in every else float(sum(every))

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
