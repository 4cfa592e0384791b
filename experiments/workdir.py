"""The folder of a run: what is in it, whose it is, and how it is written."""

import contextlib
import json
import os
import pathlib
import signal
import time
from collections.abc import Iterator
from typing import Any

import jax
from ml_collections import ConfigDict
from progress import say


class Interrupted(Exception):
  """The run was asked to stop; its state is saved."""


class Stop:
  """Whether the run was asked to stop, and waiting that notices it."""

  def __init__(self):
    """Starts unasked."""
    self.asked = False

  def wait_for(self, array: jax.Array) -> None:
    """Waits for a result; signals are heard meanwhile."""
    while not array.is_ready():
      time.sleep(0.02)


class Workdir:
  """A run's folder."""

  def __init__(self, path: str, config: ConfigDict, command: list[str]):
    """Opens the folder without writing to it.

    Args:
      path: made if it is not there, once the settings have been checked.
      config: the settings of this run.
      command: how the program was started.

    Raises:
      ValueError: if the folder belongs to a run with other settings, or holds
        files of something else.
    """
    self.path = pathlib.Path(path).expanduser().resolve()
    self._config = json.loads(config.to_json_best_effort())
    self._command = command
    self._last_save = time.monotonic()
    self._check_owner()

  def _check_owner(self):
    if self.path.exists() and not self.path.is_dir():
      raise ValueError(f'workdir {self.path}: is a file, must be a folder')
    recorded = self.read_json('config.json')
    if recorded is None:
      if (self.path / 'checkpoints').exists():
        raise ValueError(
          f'workdir {self.path}: holds checkpoints but no config.json; use '
          'another folder'
        )
      return
    if not isinstance(recorded, dict):
      raise ValueError(
        f'{self.path / "config.json"}: is damaged (it holds no settings)'
      )
    different = sorted(_differences(recorded, self._config))
    if different:
      raise ValueError(
        f'workdir {self.path}: belongs to a run with other settings ('
        + ', '.join(different[:5])
        + (', ...' if len(different) > 5 else '')
        + '); use another --workdir, or the settings of its config.json'
      )

  def claim(self) -> None:
    """Makes the folder and records the settings in it."""
    self.path.mkdir(parents=True, exist_ok=True)
    if self.read_json('config.json') is None:
      self.write_json('config.json', self._config)

  @property
  def config(self) -> dict[str, Any]:
    """The settings as plain JSON values."""
    return self._config

  @property
  def config_file(self) -> str:
    """What was given to `--config`, or ''."""
    for position, word in enumerate(self._command):
      if word.startswith(('--config=', '-config=')):
        return word.partition('=')[2]
      if word in ('--config', '-config'):
        return ''.join(self._command[position + 1 : position + 2])
    return ''

  def results(self) -> dict[str, Any] | None:
    """The results of a finished run, else None."""
    return self.read_json('results.json')

  def read_json(self, name: str) -> Any:
    """Reads a JSON file, or returns None if it is not there.

    Raises:
      ValueError: if it is damaged.
    """
    file = self.path / name
    if not file.exists():
      return None
    try:
      return json.loads(file.read_text(encoding='utf-8'))
    except ValueError as error:
      raise ValueError(f'{file}: is damaged ({error})') from error

  def write_json(self, name: str, value: Any) -> None:
    """Writes a JSON file whole or not at all.

    Raises:
      OSError: if it cannot be written; names the file.
    """
    file = self.path / name
    temporary = file.with_name(f'.{name}.tmp')
    try:
      with open(temporary, 'w', encoding='utf-8') as stream:
        json.dump(value, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
      os.replace(temporary, file)
    except OSError as error:
      temporary.unlink(missing_ok=True)
      raise OSError(f'{file} could not be written: {error}') from error

  def metrics(self) -> list[dict[str, Any]]:
    """The records of all outer iterations so far."""
    file = self.path / 'metrics.jsonl'
    if not file.exists():
      return []
    records = []
    text = file.read_text(encoding='utf-8', errors='replace')
    for line in text.splitlines():
      try:
        records.append(json.loads(line))
      except ValueError:
        break  # a line that a kill cut short, and all after it
    return records

  def append_metrics(self, record: dict[str, Any]) -> None:
    """Adds one line to `metrics.jsonl`."""
    try:
      with open(self.path / 'metrics.jsonl', 'a', encoding='utf-8') as stream:
        stream.write(json.dumps(record) + '\n')
    except OSError as error:
      raise OSError(
        f'{self.path / "metrics.jsonl"} could not be written: {error}'
      ) from error

  def keep_metrics(self, outer: int) -> None:
    """Drops the records of iterations that no checkpoint holds."""
    kept = [r for r in self.metrics() if r['outer'] <= outer]
    file = self.path / 'metrics.jsonl'
    temporary = file.with_name('.metrics.tmp')
    try:
      temporary.write_text(''.join(json.dumps(r) + '\n' for r in kept))
      os.replace(temporary, file)
    except OSError as error:
      temporary.unlink(missing_ok=True)
      raise OSError(f'{file} could not be written: {error}') from error

  def evaluations(self) -> dict[str, Any]:
    """What has been evaluated so far."""
    return self.read_json('evaluations.json') or {}

  def add_evaluation(self, name: str, entry: dict[str, Any]) -> None:
    """Records an evaluation, so that it is never repeated."""
    self.write_json('evaluations.json', {**self.evaluations(), name: entry})

  def mark_saved(self) -> None:
    """Notes that a checkpoint was just written."""
    self._last_save = time.monotonic()

  def seconds_since_save(self) -> float:
    """Seconds since the last checkpoint of this process."""
    return time.monotonic() - self._last_save

  @contextlib.contextmanager
  def graceful_stop(self) -> Iterator[Stop]:
    """Turns Ctrl-C and SIGTERM into a request; a second one stops at once."""
    stop = Stop()

    def ask(number, frame):
      if stop.asked:
        raise KeyboardInterrupt
      stop.asked = True
      say('stopping after this step; once more to stop at once')

    previous = {
      number: signal.signal(number, ask)
      for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
      yield stop
    finally:
      for number, handler in previous.items():
        signal.signal(number, handler)


def _differences(recorded, wanted, prefix=''):
  for name in recorded.keys() | wanted.keys():
    old, new = recorded.get(name), wanted.get(name)
    if isinstance(old, dict) and isinstance(new, dict):
      yield from _differences(old, new, f'{prefix}{name}.')
    elif old != new and name != 'dir':
      yield f'{prefix}{name}: {old!r} there, {new!r} here'
