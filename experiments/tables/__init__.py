"""The papers' tables: what each holds, and the way from its name to it."""

import importlib
import pkgutil
from typing import Any

from tables._types import (
  SIZES,
  Accuracy,
  Cell,
  ClassGradient,
  GradientNorm,
  MatchingLoss,
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
  'Plot',
  'RecordedLoss',
  'Run',
  'Table',
  'load',
  'names',
  'parse',
  'titles',
]


def names() -> tuple[str, ...]:
  """Returns the names of all tables, sorted."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return tuple(sorted(name for name in found if not name.startswith('_')))


def titles() -> dict[str, str]:
  """Returns name -> title of all tables."""
  return {name: _module(name).TITLE for name in names()}


def parse(text: str) -> tuple[str, str, str]:
  """Reads `NAME[:size=short|reference|smoke][,dataset=NAME]`.

  Returns:
    Name, size (`'short'` if left out) and data set ('' if left out).

  Raises:
    ValueError: naming an unknown table, argument or size and the known ones.

  Example:
    >>> parse('idc_table7:size=smoke')
    ('idc_table7', 'smoke', '')
  """
  name, _, rest = text.partition(':')
  _check('table', name, names())
  values = {'size': 'short', 'dataset': ''}
  for item in filter(None, (part.strip() for part in rest.split(','))):
    key, equals, value = item.partition('=')
    if not equals or key not in values:
      raise ValueError(
        f'table argument {item!r}: must be size=... or dataset=...'
      )
    values[key] = value
  _check('size', values['size'], SIZES)
  return name, values['size'], values['dataset']


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
  from configs import common

  _check('table', name, names())
  _check('size', size, SIZES)
  module = _module(name)
  if dataset:
    common.check_dataset(dataset)
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
  return importlib.import_module(f'tables.{name}')


def _check(field, value, known):
  if value not in known:
    raise ValueError(f'{field} {value!r}: must be one of {", ".join(known)}')
