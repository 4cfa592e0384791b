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

from dcjax import sharding

# What a run writes. Where one of these lies without `config.json`, it is
# somebody's, and nobody can tell whose.
_FILES = (
  'checkpoints',
  'condensed.npz',
  'evaluations.json',
  'images.png',
  'metrics.jsonl',
  'report.html',
  'results.json',
)
_UNSAVED = ('checkpoints', 'metrics.jsonl')  # there from the start
# Sources whose folder is the data set, not merely where a known one lies.
_OWN_DATA = ('image_folder', 'npz', 'wav_folder')
# Numbers of every evaluation, then those of one during the condensation.
_ENTRY = ('last_mean', 'last_std', 'seconds', 'outer', 'at')


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
      ValueError: if the folder belongs to a run with other settings or data,
        or holds files of something else, or damaged ones.
    """
    self.path = pathlib.Path(path).expanduser().resolve()
    self._config = json.loads(config.to_json_best_effort())
    if _is_own_data(self._config):
      self._config['data']['dir'] = _data_dir(self._config)
    self._command = command
    self._last_save = time.monotonic()
    self._check_owner()

  def _check_owner(self):
    if self.path.exists() and not self.path.is_dir():
      raise ValueError(f'workdir {self.path}: is a file, must be a folder')
    recorded = self.read_json('config.json')
    if recorded is None:
      foreign = [name for name in _FILES if (self.path / name).exists()]
      if foreign:
        raise ValueError(
          f'workdir {self.path}: holds {foreign[0]} but no config.json; use '
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
    self._check_contents()

  def _check_contents(self):
    self.results()
    for name, entry in self.evaluations().items():
      known = entry if isinstance(entry, dict) else {}
      needed = _ENTRY if name.startswith('outer_') else _ENTRY[:3]
      if not all(isinstance(known.get(n), int | float) for n in needed):
        raise ValueError(
          f'{self.path / "evaluations.json"}: is damaged (entry {name!r} is no '
          'evaluation); remove the entry, or the file, to evaluate again'
        )

  def claim(self) -> None:
    """Makes the folder and records the settings in it."""
    self.path.mkdir(parents=True, exist_ok=True)
    sharding.barrier('claim')  # All have looked; now the first one writes.
    if sharding.is_main() and self.read_json('config.json') is None:
      self._write_json(self.path / 'config.json', self._config)
    sharding.barrier('claimed')

  def release(self) -> None:
    """Gives the folder back if nothing was saved: other settings may follow.

    Records of iterations without a checkpoint go, as on resuming.
    """
    if not sharding.is_main():
      return
    if any((self.path / n).exists() for n in _FILES if n not in _UNSAVED):
      return
    # The folder of checkpoints goes only if it is empty. What led here matters
    # more than a file that cannot be removed.
    with contextlib.suppress(OSError):
      if (self.path / 'checkpoints').exists():
        (self.path / 'checkpoints').rmdir()
      for name in ('metrics.jsonl', 'config.json'):
        (self.path / name).unlink(missing_ok=True)

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
    """The results of a finished run, else None.

    Raises:
      ValueError: if the file is damaged.
    """
    return self._read_dict('results.json', 'results')

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
    """Writes a JSON file whole or not at all; all processes wait for it.

    Raises:
      OSError: if it cannot be written; names the file.
    """
    if sharding.is_main():
      self._write_json(self.path / name, value)
    sharding.barrier(name)

  def _write_json(self, file, value):
    temporary = file.with_name(f'.{file.name}.tmp')
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
      record = _record(line)
      if record is None:
        break  # a line that a kill cut short, and all after it
      records.append(record)
    return records

  def append_metrics(self, record: dict[str, Any]) -> None:
    """Adds one line to `metrics.jsonl`."""
    if not sharding.is_main():
      return
    try:
      with open(self.path / 'metrics.jsonl', 'a', encoding='utf-8') as stream:
        stream.write(json.dumps(record) + '\n')
    except OSError as error:
      raise OSError(
        f'{self.path / "metrics.jsonl"} could not be written: {error}'
      ) from error

  def keep_metrics(self, outer: int) -> None:
    """Drops the records of iterations that no checkpoint holds."""
    if not sharding.is_main():
      return
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
    """What has been evaluated so far.

    Raises:
      ValueError: if the file is damaged.
    """
    return self._read_dict('evaluations.json', 'evaluations') or {}

  def _read_dict(self, name, what):
    value = self.read_json(name)
    # A missing file gives None, and so does one that holds null.
    if isinstance(value, dict) or not (self.path / name).exists():
      return value
    raise ValueError(f'{self.path / name}: is damaged (it holds no {what})')

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


def _record(line):
  """Returns the record of a line of `metrics.jsonl`, or None if damaged."""
  try:
    record = json.loads(line)
  except ValueError:
    return None
  whole = isinstance(record, dict) and isinstance(record.get('outer'), int)
  return record if whole else None


def _is_own_data(config):
  data = config.get('data')
  return isinstance(data, dict) and data.get('name') in _OWN_DATA


def _data_dir(config):
  """Where the data of a source of one's own lie, in full, or ''."""
  folder = config['data'].get('dir') or os.environ.get('DCJAX_DATA_DIR') or ''
  return folder and str(pathlib.Path(folder).expanduser().resolve())


def _differences(recorded, wanted, prefix=''):
  for name in recorded.keys() | wanted.keys():
    old, new = recorded.get(name), wanted.get(name)
    field = f'{prefix}{name}'
    if isinstance(old, dict) and isinstance(new, dict):
      yield from _differences(old, new, f'{field}.')
    elif old != new and field != 'data.dir':
      yield f'{field}: {old!r} there, {new!r} here'
  # Known sets may be moved; a folder of one's own is another set.
  if not prefix and _is_own_data(recorded) and _is_own_data(wanted):
    old, new = _data_dir(recorded), _data_dir(wanted)
    if old != new:
      yield f'data.dir: {old!r} there, {new!r} here'
