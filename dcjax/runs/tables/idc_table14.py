"""IDC, Table 14: ZCA whitening."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Run, Table

TITLE = 'IDC, Table 14: ZCA whitening'
DATASETS = ('cifar10',)
_NUMBERS = """
66.6 66.7 67.5
72.0 72.5 74.5
"""
_ZCA = {'zca': 'kip'}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  columns = {
    'IDC w/o S.A. + ZCA': {
      **_ZCA,
      'augment.mix': 'none',
      'augment.train_mix': 'none',
    },
    'IDC + ZCA': _ZCA,
    'IDC': {},
  }
  names = tuple(columns)
  if size == 'smoke':
    del columns['IDC w/o S.A. + ZCA']
  rows = {f'ipc {ipc}': ipc for ipc in (10, 50)}
  taken = dict(common.few(size, list(rows.items()), 1))
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(taken),
    tuple(columns),
    common.fill(
      taken,
      columns,
      lambda ipc, changes: Cell(Run('idc', dataset, ipc, 2, changes)),
    ),
    common.numbers(dataset, DATASETS, tuple(rows), names, _NUMBERS),
    note=(
      'ConvNet-3. S.A. is CutMix, in condensation and evaluation; ZCA as KIP '
      'does it.'
    ),
  )
