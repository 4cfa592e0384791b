"""The folder of a run: whose it is, what is in it, and how it is written."""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from dcjax import files, records, sharding
from dcjax.runs import settings
from dcjax.runs._progress import say

CONFIG, STAGES, RESULTS = 'config.json', 'stages.json', 'results.json'
METRICS, CHECKPOINTS, LOCK = 'metrics.jsonl', 'checkpoints', '.lock'
FILM = 'film'  # pictures along the way, one for each point of evaluation
# What a run writes. Where one of these lies without `config.json`, it is
# somebody's, and nobody can tell whose.
_OURS = (STAGES, RESULTS, METRICS, CHECKPOINTS, 'condensed.npz', 'report.html')
# Stages that a run which fails may lose, if they took less than these seconds.
_EARLY, _LITTLE = ('data', 'start'), 10


class Interrupted(Exception):
  """The run was asked to stop; its state is saved."""


class Stop:
  """Whether the run was asked to stop, and waiting that notices it."""

  def __init__(self):
    """Starts unasked."""
    self.asked = False

  def agreed(self) -> bool:
    """Whether any process was asked; all must call this at the same point."""
    self.asked = sharding.agree(self.asked)
    return self.asked

  def check(self, what: str) -> None:
    """Ends the run if it was asked to stop.

    Raises:
      Interrupted: saying where.
    """
    if self.agreed():
      raise Interrupted(
        f'stopped {what}; everything is saved, the same command goes on from '
        'here'
      )

  def wait_for(self, array: Any) -> None:
    """Waits for a result; signals are heard meanwhile."""
    while not array.is_ready():
      time.sleep(0.02)


class Folder:
  """A run's folder, owned by one run at a time."""

  def __init__(
    self,
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    command: tuple[str, ...] = (),
  ):
    """Looks at the folder without writing to it.

    Args:
      path: made if it is not there, once the settings have been checked.
      config: the settings, as JSON values.
      command: how the program was started, word by word.

    Raises:
      ValueError: if the folder belongs to a run with other settings, or holds
        files of something else, or damaged ones.
    """
    files.check_local('workdir', path)
    self.path = pathlib.Path(path).expanduser().resolve()
    self.config, self.command = dict(config), tuple(command)
    self._last_save, self._lock = time.monotonic(), None
    self._check_owner()

  def _check_owner(self):
    if self.path.exists() and not self.path.is_dir():
      raise ValueError(f'workdir {self.path}: is a file, must be a folder')
    recorded = self.read(CONFIG)
    if recorded is None:
      foreign = [name for name in _OURS if (self.path / name).exists()]
      if foreign:
        raise ValueError(
          f'workdir {self.path}: holds {foreign[0]} but no {CONFIG}; use '
          'another folder'
        )
      return
    different = differences(recorded, self.config)
    if different:
      raise ValueError(
        f'workdir {self.path}: belongs to a run with other settings ('
        + ', '.join(different[:5])
        + (', ...' if len(different) > 5 else '')
        + f'); use another --workdir, or the settings of its {CONFIG}'
      )

  @contextlib.contextmanager
  def owned(self, stop: Stop | None = None) -> Iterator[Stop]:
    """Makes the folder this run's until the end; hears Ctrl-C and SIGTERM.

    A second signal stops at once. What killed writers left behind goes.

    Args:
      stop: of the run that this one is a part of, which hears for both.

    Raises:
      ValueError: if another process is at work in the folder; names it.
    """
    heard = graceful_stop() if stop is None else contextlib.nullcontext(stop)
    with heard as own:  # first: who sees the folder can stop its run
      self._claim()
      try:
        if sharding.is_main():
          files.sweep(self.path)
          if not (self.path / CONFIG).exists():
            records.write(self.path / CONFIG, self.config)
        sharding.barrier('claimed')
        yield own
      finally:
        self._give_back()

  def _claim(self):
    """Locks the folder; an error says who holds it where another does."""
    self.path.mkdir(parents=True, exist_ok=True)
    taken = self._take() if sharding.is_main() else ''
    if sharding.agree(bool(taken)):
      raise ValueError(
        f'workdir {self.path}: is in use by {taken or "another process"}; wait '
        'for it, or use another --workdir'
      )

  def _take(self) -> str:
    """Locks the folder; returns who holds it where that is another."""
    path = self.path / LOCK
    while True:
      # Never through a link; it ends with the process, however that ends.
      flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
      stream = os.fdopen(os.open(path, flags, 0o666), 'r+', encoding='utf-8')
      try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        owner = stream.read(200).strip()
        stream.close()
        return owner or 'another process'
      except OSError as error:
        raise OSError(error.errno, 'cannot be locked', str(path)) from error
      if _is_at(stream, path):
        break
      stream.close()  # the one before took its lock away just now
    stream.truncate(0)
    stream.write(f'process {os.getpid()} on {socket.gethostname()}')
    stream.flush()
    self._lock = stream
    return ''

  def _give_back(self):
    if self._lock is not None:
      with contextlib.suppress(OSError):
        (self.path / LOCK).unlink()
      self._lock.close()
      self._lock = None

  def release(self) -> None:
    """Gives the folder back if nothing is in it that took long.

    Other settings may follow then. Records of iterations without a checkpoint
    go, as on resuming.
    """
    kept = self.path / CHECKPOINTS
    saved = any(kept.rglob('_CHECKPOINT_METADATA'))
    if not sharding.is_main() or saved or not self._has_little():
      return
    with contextlib.suppress(OSError):
      shutil.rmtree(kept, ignore_errors=True)
      for name in ('stages', FILM):
        shutil.rmtree(self.path / name, ignore_errors=True)
      for name in (METRICS, STAGES, CONFIG, 'report.html', 'images.png'):
        (self.path / name).unlink(missing_ok=True)

  def _has_little(self):
    try:
      stages = self.read(STAGES) or {}
      seconds = sum(entry['seconds'] for entry in stages.values())
    except (KeyError, OSError, TypeError, ValueError):
      return False  # damaged, and somebody's
    return seconds < _LITTLE and stages.keys() <= {*_EARLY}

  def read(self, name: str) -> dict[str, Any] | None:
    """Reads a JSON record of the folder; None if it is not there.

    Raises:
      ValueError: if it is damaged.
    """
    file = self.path / name
    if not file.exists():
      return None
    value = records.read(file)
    if not isinstance(value, dict):
      raise ValueError(f'{file}: is damaged (it holds no record)')
    if name in (STAGES, RESULTS):
      records.check_accuracies(value, str(file))
    return value

  def write(self, name: str, value: Mapping[str, Any]) -> None:
    """Writes a JSON record whole or not at all; all processes wait for it."""
    if sharding.is_main():
      records.write(self.path / name, value)
    sharding.barrier(name)

  def finish(self, results: Mapping[str, Any]) -> None:
    """Writes the results, and that they are those of these settings.

    Until then `config.json` is that of the run that was finished before, where
    only evaluations or the place of the data differ.
    """
    self.write(RESULTS, results)
    self.write(CONFIG, self.config)

  def results(self) -> dict[str, Any] | None:
    """The results, if they are those of these settings."""
    found = self.read(RESULTS)
    return found if self.read(CONFIG) == self.config else None

  def metrics(self) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` so far.

    Raises:
      ValueError: if one is damaged; says which.
    """
    file = self.path / METRICS
    if not file.exists():
      return []
    with files.opened(file) as stream:
      text = stream.read().decode(errors='replace')
    # What follows the last line break is a line that a kill cut short.
    return [
      _record(line, f'{file}, line {number}')
      for number, line in enumerate(text.split('\n')[:-1], 1)
    ]

  def append_metrics(self, record: Mapping[str, Any]) -> None:
    """Adds one line to `metrics.jsonl`; what is not finite becomes null."""
    if not sharding.is_main():
      return
    said = {
      name: None if isinstance(v, float) and not math.isfinite(v) else v
      for name, v in record.items()
    }
    try:
      with open(self.path / METRICS, 'a', encoding='utf-8') as stream:
        stream.write(json.dumps(said) + '\n')
    except OSError as error:
      raise OSError(
        f'{self.path / METRICS} could not be written: {error}'
      ) from error

  def keep_metrics(self, outer: int) -> None:
    """Drops the records of iterations that no checkpoint holds."""
    if not sharding.is_main() or not (self.path / METRICS).exists():
      return
    kept = [r for r in self.metrics() if r['outer'] <= outer]
    with files.replacing(self.path / METRICS) as stream:
      stream.write(''.join(json.dumps(r) + '\n' for r in kept).encode())

  def mark_saved(self) -> None:
    """Notes that a checkpoint was just written."""
    self._last_save = time.monotonic()

  def seconds_since_save(self) -> float:
    """Seconds since the last checkpoint of this process."""
    return time.monotonic() - self._last_save


@contextlib.contextmanager
def graceful_stop() -> Iterator[Stop]:
  """Turns Ctrl-C and SIGTERM into a request; a second one stops at once."""
  stop = Stop()

  def ask(number, frame):
    if stop.asked:
      raise KeyboardInterrupt
    stop.asked = True
    say('stopping after this step; once more to stop at once')

  try:
    previous = {
      number: signal.signal(number, ask)
      for number in (signal.SIGINT, signal.SIGTERM)
    }
  except ValueError:  # not the main thread, as in some notebooks
    previous = {}
  try:
    yield stop
  finally:
    for number, handler in previous.items():
      signal.signal(number, handler)


def _is_at(stream, path):
  """Whether an open file is the one that has this name now."""
  try:
    return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
  except FileNotFoundError:
    return False


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file whole or not at all; only one process does."""
  if sharding.is_main():
    with files.replacing(path) as stream:
      stream.write(text.encode())


def _record(line, place):
  """Returns the record of a line of `metrics.jsonl`."""
  remedy = 'delete that line, which only pages show'
  record = records.decode(line.encode(), place, remedy)
  for name, missing in (('outer', None), ('loss', 0), ('seconds', 0)):
    found = record.get(name, missing) if isinstance(record, dict) else None
    if not isinstance(found, int | float):
      raise ValueError(f'{place}: is damaged ({name} is {found!r}); {remedy}')
  said = {name: value for name, value in record.items() if value is not None}
  records.check_accuracies(said, place)
  return record


def differences(
  recorded: Mapping[str, Any], wanted: Mapping[str, Any]
) -> list[str]:
  """What differs between settings, but for what concerns evaluations only."""
  old, new = settings.flat(recorded), settings.flat(wanted)
  return [
    f'{field}: {old.get(field)!r} there, {new.get(field)!r} here'
    for field in sorted(old.keys() | new.keys())
    if old.get(field) != new.get(field) and not field.startswith(settings.FREE)
  ]
