"""Records: what a run of a table measured, small enough for a repository.

A record is a JSON file `<records>/<table>/<run>.json`; the page of published
beside measured numbers is drawn from all of them (`_truth`).
"""

import datetime
import os
import pathlib
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcjax import records
from dcjax.runs.tables._types import Place

COSTS = 'costs.json'
Where = tuple[str, ...]  # (table, size, data)
# What a record must hold, and of what kind; and what it says of how cells were
# made, once for all that were made alike.
_FIELDS = {
  'table': str,
  'size': str,
  'data': str,
  'run': str,
  'seconds': dict,
  'made': list,
  'cells': list,
}
_MADE = {
  'command': str,
  'commit': str,
  'date': str,
  'machine': str,
  'versions': dict,
  'seed': int,
  'settings': str,
}
_BUDGET = ('numbers', 'float32_bytes', 'stored_bytes')


class Measured(NamedTuple):
  """A cell that was measured.

  Attributes:
    last: of every network after its last epoch; accuracies in [0, 1].
    best: of every network, the best of its tests; empty where there is none.
    seconds: that its evaluation took.
    reason: why it is not the published number, where that was found; or ''.
    budget: numbers that networks learned from (images, labels, decoder and
      scales), their bytes as float32, and as they are stored; or ().
    made: how: command, commit, date, machine, versions, seed, and the key of
      all settings of the set.
    record: what else is known of the run.
  """

  last: tuple[float, ...]
  best: tuple[float, ...]
  seconds: float
  reason: str
  budget: tuple[int, ...]
  made: Mapping[str, Any]
  record: Mapping[str, Any]


class Kept(NamedTuple):
  """A record that was written.

  Attributes:
    path: of the file.
    said: what was left out or dropped, in sentences.
  """

  path: pathlib.Path
  said: Sequence[str]


def keep(
  folder: pathlib.Path,
  name: str,
  size: str,
  run: str,
  found: Mapping[Place, Mapping[str, Any]],
  seconds: Mapping[str, float],
  data: str = '',
) -> Kept:
  """Writes the record of a run.

  Cells of its earlier record that are not found again stay as they were, where
  they belong to the same set. A reason stays beside its number, and goes with
  it. A cell that another record of the table holds moves here, unless more
  networks were tested there.

  Args:
    folder: of all records.
    name: of the table.
    size: of the table.
    run: name of the run.
    found: (row, column) -> entry, with how it was `made`.
    seconds: of the run's stages.
    data: the data set, if it is none of the paper's.

  Returns:
    The file, and what was left out or dropped.
  """
  path = folder / name / f'{run}.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  said: list[str] = []
  cells = {place: _cell(entry) for place, entry in found.items()}
  where = (name, size, data)
  for other in sorted(path.parent.glob('*.json')):
    if other != path and _where(records.read(other)) == where:
      said += _settle(other, cells)
  before = _written(path) if path.is_file() else {}
  keys = {cell['made']['settings'] for cell in cells.values()}
  for place, old in before.items():
    if place not in cells:
      if old['made']['settings'] in keys or not keys:
        cells[place] = old
    elif old['reason'] and cells[place]['last'] == old['last']:
      cells[place]['reason'] = old['reason']
    elif old['reason']:
      said.append(f'{_name(place)}: the reason goes: {old["reason"]}')
  if cells:
    head = {'table': name, 'size': size, 'data': data, 'run': run}
    _write(path, {**head, 'seconds': dict(seconds)}, cells)
  return Kept(path, said)


def _cell(entry):
  return {
    'last': entry.get('per_seed_last', [entry['last_mean']]),
    'best': entry.get('per_seed_best', []),
    'seconds': entry.get('seconds', 0.0),
    'reason': '',
    'budget': entry.get('budget', {}),
    'made': entry['made'],
  }


def _settle(path, cells):
  """Leaves each cell in one of two records: where more networks were tested."""
  record, there = records.read(path), _written(path)
  twice = [place for place in cells if place in there]
  said = []
  for place in twice:
    ours, theirs = len(cells[place]['last']), len(there[place]['last'])
    if theirs > ours:
      del cells[place]
      said.append(
        f'{_name(place)}: not recorded, as {path.name} has {theirs} networks '
        f'of it, and this run {ours}'
      )
    else:
      del there[place]
      said.append(f'{_name(place)}: no longer in {path.name}')
  if twice and there:
    _write(path, record, there)
  elif twice:
    path.unlink()
  return said


def _written(path) -> dict[Place, dict[str, Any]]:
  """Cells of a record as they are kept, each with how it was made."""
  record = _checked(path)
  return {
    (cell['row'], cell['column']): {
      **{n: v for n, v in cell.items() if n not in ('row', 'column')},
      'made': record['made'][cell['made']],
    }
    for cell in record['cells']
  }


def _write(path, head, cells):
  made: list[Any] = []
  rows = []
  for (row, column), cell in sorted(cells.items()):
    if cell['made'] not in made:
      made.append(cell['made'])
    number = made.index(cell['made'])
    rows.append({'row': row, 'column': column, **cell, 'made': number})
  records.write(path, {**head, 'made': made, 'cells': rows})


def _where(record) -> Where:
  return tuple(record.get(field, '') for field in ('table', 'size', 'data'))


def _name(place):
  return ' · '.join(place)


def made_now(
  command: str, environment: Mapping[str, Any], seed: int, key: str
) -> dict[str, Any]:
  """How a cell is made that is measured now; see `Measured.made`."""
  return {
    'command': command,
    'commit': commit(),
    'date': datetime.date.today().isoformat(),
    'machine': machine(environment),
    'versions': _versions(environment),
    'seed': seed,
    'settings': key,
  }


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
  """What computed, in words: `1 CPU (AMD EPYC)`, `1 x NVIDIA H100`."""
  if 'cpu' not in environment['device'].lower():
    return f'{environment["devices"]} x {environment["device"]}'
  count = environment['cpus']
  return f'{count} CPU{"s" * (count > 1)} ({environment["processor"]})'


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
    into = found.setdefault(_where(records.read(path)), {})
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
  record = _checked(path)
  about = {n: v for n, v in record.items() if n not in ('made', 'cells')}
  found = {}
  for place, cell in _written(path).items():
    last = _numbers(path, cell, 'last')
    if not last:
      raise ValueError(f'{path}: last [] must hold a number or more')
    budget = cell.get('budget') or {}
    found[place] = Measured(
      last,
      _numbers(path, cell, 'best'),
      float(cell['seconds']),
      cell.get('reason', ''),
      tuple(budget[unit] for unit in _BUDGET) if budget else (),
      cell['made'],
      about,
    )
  return found


def _checked(path) -> dict[str, Any]:
  """A record whose fields are there and of the right kind."""
  record = records.read(path)
  _check_fields(path, record, _FIELDS)
  for made in record['made']:
    _check_fields(path, made, _MADE)
    if not re.fullmatch(r'\d{4}-\d\d-\d\d', made['date']):
      raise ValueError(f'{path}: date {made["date"]!r}: must be YYYY-MM-DD')
  known = range(len(record['made']))
  for cell in record['cells']:
    if cell.get('made') not in known:
      raise ValueError(f'{path}: made {cell.get("made")!r}: must be in {known}')
  return record


def _check_fields(path, value, kinds):
  for field, kind in kinds.items():
    if not isinstance(value, dict) or not isinstance(value.get(field), kind):
      raise ValueError(f'{path}: field {field!r} must be a {kind.__name__}')


def _numbers(path, cell, field) -> tuple[float, ...]:
  values: Sequence[Any] = cell.get(field)
  if not isinstance(values, list) or not all(
    isinstance(v, float | int) for v in values
  ):
    raise ValueError(f'{path}: {field} {values!r}: must be a list of numbers')
  return tuple(float(v) for v in values)
