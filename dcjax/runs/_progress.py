"""Progress for people: a bar on a terminal or in a notebook, else lines."""

import contextlib
import sys
import time
from collections.abc import Iterator

from tqdm import tqdm

from dcjax import sharding


def duration(seconds: float) -> str:
  """Returns seconds as `45 s`, `3 min 20 s` or `2 h 05 min`."""
  seconds = round(seconds)
  if seconds < 60:
    return f'{seconds} s'
  if seconds < 3600:
    return f'{seconds // 60} min {seconds % 60:02d} s'
  return f'{seconds // 3600} h {seconds % 3600 // 60:02d} min'


def in_notebook() -> bool:
  """Whether what is printed goes into a cell of a notebook."""
  return type(sys.stdout).__module__.partition('.')[0] == 'ipykernel'


def say(text: str) -> None:
  """Prints one line without disturbing a bar; only one process speaks."""
  if not sharding.is_main():
    return
  # Some consoles and logs know no '±': `?` there, not an error.
  encoding = getattr(sys.stdout, 'encoding', None) or 'utf-8'
  tqdm.write(text.encode(encoding, 'replace').decode(encoding), file=sys.stdout)
  sys.stdout.flush()


class Progress:
  """Counts steps done, with a rate and an estimate of the rest."""

  def __init__(self, title: str, total: int, done: int = 0, unit: str = 'it'):
    """Starts at `done` of `total`; the rate is that of this process."""
    self._title, self._total, self._done = title, total, done
    self._first, self._unit = done, unit
    self._start = self._spoken = time.monotonic()
    notebook = in_notebook()
    self._terminal = (sys.stdout.isatty() or notebook) and sharding.is_main()
    self._bar = tqdm(
      total=total,
      initial=done,
      desc=title,
      unit=unit,
      disable=not self._terminal,
      file=sys.stdout,
      leave=not notebook,
      # Notebooks keep every state of a bar.
      mininterval=1.0 if notebook else 0.1,
    )

  def update(self, done: int, note: str = '') -> None:
    """Reports that `done` steps are behind us; `note` is added."""
    self._bar.set_postfix_str(note, refresh=False)
    self._bar.update(done - self._done)
    self._done = done
    now = time.monotonic()
    due = now - self._spoken > 10 or done == self._total
    if self._terminal or not due or done == self._first:
      return
    self._spoken = now
    rate = (done - self._first) / (now - self._start)
    left = (self._total - done) / rate
    say(
      f'{self._title}: {done}/{self._total} {self._unit}, '
      f'{_rate(rate, self._unit)}, {duration(left)} left'
      + (f', {note}' if note else '')
    )

  @contextlib.contextmanager
  def aside(self) -> Iterator[None]:
    """Something else is done meanwhile; it does not count for the rate."""
    began = time.monotonic()
    yield
    elapsed = time.monotonic() - began
    self._start += elapsed
    if self._terminal:
      self._bar.start_t += elapsed
      self._bar.last_print_t += elapsed

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()


def _rate(rate, unit):
  return f'{rate:.2f} {unit}/s' if rate >= 1 else f'{1 / rate:.1f} s/{unit}'
