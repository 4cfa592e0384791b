"""CAFE, trajectories, kernels and unrolled training on CIFAR-10."""

from collections.abc import Mapping
from typing import Any

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Run, Table

TITLE = 'Other methods: CAFE, trajectories, kernels, unrolled training'
DATASETS = ('cifar10',)
_PLAIN = {'augment.family': 'none', 'evaluation.epochs': 600}
# Row -> config, and what it changes.
_ROWS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
  'DM': ('dm', {}),
  'CAFE': ('cafe', _PLAIN),
  'CAFE+DSA': ('cafe', {}),
  'MTT': ('mtt', {}),
  'FRePo': ('frepo', {}),
  'RCIG': ('rcig', {}),
  'RaT-BPTT': ('rat_bptt', {}),
}
_NUMBERS = """
26.0±0.8 48.9±0.6 63.0±0.4
30.3 46.3 55.5
31.6±0.8 50.9±0.5 62.3±0.4
46.3±0.8 65.3±0.7 71.6
46.8 65.5 71.7
53.9 69.1 73.5
53.2 69.4 75.3
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  rows = dict(common.few(size, list(_ROWS.items()), 1))
  columns = {f'ipc {ipc}': ipc for ipc in common.few(size, (1, 10, 50), 1)}

  def make(row, ipc):
    recipe, changes = row
    # Shorter schedules shorten the evaluation, too.
    short = {n: v for n, v in changes.items() if n != 'evaluation.epochs'}
    taken = changes if size == 'reference' else short
    return Cell(Run(recipe, dataset, ipc, 1, taken))

  cells = common.fill(rows, columns, make)
  for column, ipc in () if size == 'smoke' else columns.items():
    for label, run in common.in_eight_bits(dataset, ipc).items():
      cells[label, column] = Cell(run)
  return Table(
    TITLE,
    'arXiv 2110.04181 (DM), arXiv 2203.01531 (CAFE), arXiv 2203.11932 (MTT), '
    'arXiv 2206.00719 (FRePo), arXiv 2302.06755 (RCIG), arXiv 2311.07025 '
    '(RaT-BPTT)',
    tuple(dict.fromkeys(row for row, _ in cells)),
    tuple(columns),
    cells,
    common.numbers(
      dataset, DATASETS, tuple(_ROWS), ('ipc 1', 'ipc 10', 'ipc 50'), _NUMBERS
    )
    if size != 'smoke'
    else {},
    note=(
      'Each is tested by its own protocol. IDC and DM stand beside them in '
      '8-bit images, too.'
    ),
  )
