"""The papers' tables: what each holds, and the way from its name to it."""

import importlib
import pathlib
import pkgutil
import re
import shlex
from typing import Any

from dcjax import records
from dcjax.runs import settings
from dcjax.runs._progress import say
from dcjax.runs.tables._types import (
  SIZES,
  Accuracy,
  Cell,
  ClassGradient,
  GradientNorm,
  MatchingLoss,
  OwnTest,
  Plot,
  RecordedLoss,
  Run,
  Table,
)

__all__ = [
  'SIZES',
  'Accuracy',
  'Cell',
  'ClassGradient',
  'GradientNorm',
  'MatchingLoss',
  'OwnTest',
  'Plot',
  'RecordedLoss',
  'Run',
  'Table',
  'load',
  'make',
  'names',
  'published',
  'titles',
]


# Fields that a command to go on repeats.
_SAID = (
  'size',
  'dataset',
  'only',
  'columns',
  'changes',
  'records',
  'data_dir',
)


def names() -> tuple[str, ...]:
  """Returns the names of all tables, sorted."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return tuple(sorted(name for name in found if not name.startswith('_')))


def titles() -> dict[str, str]:
  """Returns name -> title of all tables."""
  return {name: _module(name).TITLE for name in names()}


def make(
  chosen: settings.Settings,
  workdir: Any,
  *,
  store: Any = None,
  command: Any = (),
  dataset: Any = None,
) -> Any:
  """Makes a table; see `dcjax.runs.configs.table`.

  Raises:
    ValueError: if the table, the size or a field is unknown, or data are
      handed over.
    FileNotFoundError: if no run of the table finds its data.
    Interrupted: after Ctrl-C or SIGTERM; the same call goes on.
  """
  from dcjax.runs.tables import _making

  if dataset is not None:
    raise ValueError(f'dataset {dataset.name!r}: a table names its data sets')
  config = chosen.config
  table = load(config.table, config.size, config.dataset)
  overrides = _changes(config.changes)
  if config.data_dir:
    overrides['data_dir'] = config.data_dir
  return _making.make(
    table,
    config.size,
    workdir,
    overrides=overrides,
    only=config.only,
    columns=[c.strip() for c in config.columns.split('+') if c.strip()],
    command=command or _command(chosen, workdir),
    store=store,
    recorded=_recorded(command or _command(chosen, workdir), config.table),
    keep=_keeper(config),
  )


def published(
  folder: str | pathlib.Path, *, costs: bool = False
) -> pathlib.Path:
  """Draws the page of published and measured numbers, `published.md`.

  Args:
    folder: of the records; the page lies beside it.
    costs: count the operations of all cells anew, which takes minutes.

  Raises:
    ValueError: a record is damaged, or names a cell that its table has not.
  """
  from dcjax.runs.tables import _records, _truth, _work

  folder = pathlib.Path(folder).expanduser()
  known = {name: load(name, 'reference') for name in names()}
  if costs:
    folder.mkdir(parents=True, exist_ok=True)
    counted = {name: _work.of_table(table) for name, table in known.items()}
    records.write(folder / _records.COSTS, _work.as_record(counted))
  return _truth.write(folder, known)


def _keeper(config):
  """Writes records, draws the page and says what changed; None without."""
  if not config.records:
    return None
  from dcjax.runs.tables import _records, _truth

  folder = pathlib.Path(config.records).expanduser()
  own = config.dataset in ('', *_module(config.table).DATASETS)
  data = '' if own else config.dataset
  known = {config.table: load(config.table, 'reference')}

  def keep(run, found, seconds):
    before = _truth.measured_texts(folder, known)
    kept = _records.keep(
      folder, config.table, config.size, run, found, seconds, data
    )
    published(folder)
    say(f'record: {kept.path}')
    after = _truth.measured_texts(folder, known)
    for line in (*kept.said, *_truth.changes(before, after)):
      say(f'  {line}')

  return keep


def _recorded(command, table):
  """A command as records say it: without the places of one machine."""
  places = {
    'data_dir': 'DATA',
    'records': 'docs/records',
    'workdir': f'runs/{table}',
  }
  words = [
    re.sub(
      rf'\b({"|".join(places)})=[^,]+',
      lambda found: f'{found[1]}={places[found[1]]}',
      word,
    )
    for word in command
    if not word.startswith('--store')
  ]
  return shlex.join(words)


def _changes(text: str) -> dict[str, str]:
  """Reads `FIELD=VALUE;FIELD=VALUE`."""
  items = [item.strip() for item in text.split(';') if item.strip()]
  for item in items:
    if '=' not in item:
      raise ValueError(f'changes {item!r}: must be FIELD=VALUE')
  return dict(item.split('=', 1) for item in items)


def _command(chosen: settings.Settings, workdir: Any) -> list[str]:
  """The command that goes on with a table that a program began."""
  said = {
    field: chosen.config[field] for field in _SAID if chosen.config[field]
  }
  words = [chosen.config.table, *(f'{n}={v}' for n, v in said.items())]
  return ['dcjax', f'--config=table:{",".join(words)}', f'--workdir={workdir}']


def load(name: str, size: str = 'short', dataset: str = '') -> Table:
  """Returns a table.

  Args:
    name: one of `names()`.
    size: one of `SIZES`; `'smoke'` takes the digits and few cells.
    dataset: instead of the paper's data sets; the published numbers of a set
      stay only where it is one of the paper's.

  Raises:
    ValueError: if the table, the size or the data set is unknown.
  """
  _check('table', name, names())
  _check('size', size, SIZES)
  module = _module(name)
  if dataset:
    settings.check_data(dataset)
  elif size == 'smoke':
    dataset = 'digits'
  datasets = (dataset,) if dataset else module.DATASETS
  table = module.table(size, datasets)
  if size == 'smoke':
    # The smoke configs hold one image a class; equal runs are then shared.
    table = table._replace(
      cells={
        place: cell._replace(run=cell.run._replace(ipc=1))
        for place, cell in table.cells.items()
      }
    )
  return table


def _module(name: str) -> Any:
  return importlib.import_module(f'dcjax.runs.tables.{name}')


def _check(field, value, known):
  if value not in known:
    raise ValueError(f'{field} {value!r}: must be one of {", ".join(known)}')
