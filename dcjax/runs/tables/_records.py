"""Records: what a run of a table measured, small enough for a repository.

A record is a JSON file `<records>/<table>/<run>.json`; the page of published
beside measured numbers is drawn from all of them (`_truth`).
"""

import datetime
import os
import pathlib
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcjax import records
from dcjax.runs.tables._types import Place

COSTS = 'costs.json'
Where = tuple[str, ...]  # (table, size, data)
# What a record must hold, and of what kind.
_FIELDS = {
  'table': str,
  'size': str,
  'data': str,
  'run': str,
  'command': str,
  'commit': str,
  'settings': str,
  'machine': str,
  'versions': dict,
  'date': str,
  'seconds': dict,
  'cells': list,
}


class Measured(NamedTuple):
  """A cell that was measured.

  Attributes:
    last: of every network after its last epoch; accuracies in [0, 1].
    best: of every network, the best of its tests; empty where there is none.
    seconds: that its evaluation took.
    reason: why it is not the published number, where that was found; or ''.
    record: what else is known of the run.
  """

  last: tuple[float, ...]
  best: tuple[float, ...]
  seconds: float
  reason: str
  record: Mapping[str, Any]


def keep(
  folder: pathlib.Path,
  name: str,
  size: str,
  run: str,
  found: Mapping[Place, Mapping[str, Any]],
  made: Mapping[str, Any],
  command: str,
  data: str = '',
) -> pathlib.Path:
  """Writes the record of a run; reasons and cells that it had stay.

  Cells of an earlier record that were not measured again stay where their
  settings are the same, with the commit and the date that were theirs.

  Args:
    folder: of all records.
    name: of the table.
    size: of the table.
    run: name of the run.
    found: (row, column) -> entry.
    made: what `table.json` holds of the run.
    command: that makes it again.
    data: the data set, if it is none of the paper's.

  Returns:
    The file.
  """
  path = folder / name / f'{run}.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  reasons, others = {}, []
  if path.is_file():
    reasons = {place: m.reason for place, m in cells_of(path).items()}
    others = _others(records.read(path), made['key'], found)
  cells = [
    {
      'row': place[0],
      'column': place[1],
      'last': entry.get('per_seed_last', [entry['last_mean']]),
      'best': entry.get('per_seed_best', []),
      'seconds': entry.get('seconds', 0.0),
      'reason': reasons.get(place, ''),
    }
    for place, entry in sorted(found.items())
  ]
  cells = sorted([*cells, *others], key=lambda c: (c['row'], c['column']))
  record = {
    'table': name,
    'size': size,
    'data': data,
    'run': run,
    'command': command,
    'commit': commit(),
    'settings': made['key'],
    'machine': machine(made['environment']),
    'versions': _versions(made['environment']),
    'date': datetime.date.today().isoformat(),
    'seconds': made['seconds'],
    'cells': cells,
  }
  records.write(path, record)
  return path


def _others(record, key, found):
  """Cells of a record of the same settings that are not found anew."""
  if record['settings'] != key:
    return []
  own = {name: record[name] for name in ('commit', 'date')}
  return [
    {**own, **cell}
    for cell in record['cells']
    if (cell['row'], cell['column']) not in found
  ]


def commit() -> str:
  """The commit that runs, with `+` behind it if its code was changed; or ''."""

  def git(*words):
    said = subprocess.run(
      ['git', '-C', os.path.dirname(__file__), *words],
      capture_output=True,
      text=True,
      check=True,
    )
    return said.stdout.strip()

  try:
    found = git('rev-parse', '--short=12', 'HEAD')
    # Not the records, which this run adds to.
    code = [f':(top){name}' for name in ('dcjax', 'experiments')]
    changed = git('status', '--porcelain', '-uno', '--', *code)
    return found + ('+' if changed else '')
  except (OSError, subprocess.CalledProcessError):
    return ''  # not a clone


def machine(environment: Mapping[str, Any]) -> str:
  """What computed, in words: `2 CPU cores (x86_64)`, `1 x NVIDIA H100`."""
  if 'cpu' in environment['device'].lower():
    return f'{os.cpu_count()} CPU cores ({platform.machine()})'
  return f'{environment["devices"]} x {environment["device"]}'


def _versions(environment):
  words = ('python', 'jax', 'dcjax')
  return {n: environment[n] for n in words if n in environment}


def read(folder: pathlib.Path) -> dict[Where, dict[Place, Measured]]:
  """Reads all records: `(table, size, data)` -> place -> what was measured.

  `data` is '' for the paper's own data sets.

  Raises:
    ValueError: a record is damaged, or two hold the same cell; names them.
  """
  found: dict[Where, dict[Place, Measured]] = {}
  for path in sorted(folder.glob('*/*.json')):
    cells = cells_of(path)
    record = records.read(path)
    where = tuple(record[field] for field in ('table', 'size', 'data'))
    into = found.setdefault(where, {})
    twice = sorted(into.keys() & cells.keys())
    if twice:
      raise ValueError(f'{path}: cell {twice[0]} stands in another record, too')
    into |= cells
  return found


def cells_of(path: pathlib.Path) -> dict[Place, Measured]:
  """Reads a record's cells.

  Raises:
    ValueError: if a field is missing or of the wrong kind; names it.
  """
  record = records.read(path)
  for field, kind in _FIELDS.items():
    if not isinstance(record, dict) or not isinstance(record.get(field), kind):
      raise ValueError(f'{path}: field {field!r} must be a {kind.__name__}')
  if not re.fullmatch(r'\d{4}-\d\d-\d\d', record['date']):
    raise ValueError(f'{path}: date {record["date"]!r}: must be YYYY-MM-DD')
  found = {}
  for cell in record['cells']:
    last = _numbers(path, cell, 'last')
    if not last:
      raise ValueError(f'{path}: last [] must hold a number or more')
    place = (cell['row'], cell['column'])
    best = _numbers(path, cell, 'best')
    found[place] = Measured(
      last, best, float(cell['seconds']), cell.get('reason', ''), record
    )
  return found


def _numbers(path, cell, field) -> tuple[float, ...]:
  values: Sequence[Any] = cell.get(field)
  if not isinstance(values, list) or not all(
    isinstance(v, float | int) for v in values
  ):
    raise ValueError(f'{path}: {field} {values!r}: must be a list of numbers')
  return tuple(float(v) for v in values)
