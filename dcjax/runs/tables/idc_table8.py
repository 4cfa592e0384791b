"""IDC, Table 8: uniform and multi-scale multi-formation."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

TITLE = 'IDC, Table 8: uniform and multi-scale multi-formation'
DATASETS = ('cifar10',)
_NUMBERS = """
67.5 69.2
63.5 64.8
74.5 73.1
72.4 69.7
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  rows = {
    f'ipc {ipc}, {network}': (
      ipc,
      common.test_network(network, dataset),
    )
    for ipc in (10, 50)
    for network in ('ConvNet-3', 'ResNet-10')
  }
  columns = {
    'Uniform': {},
    'Multi-scale': {'formation': 'multiscale'},
  }
  taken = dict(common.few(size, list(rows.items()), 2))
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(taken),
    tuple(columns),
    common.fill(
      taken,
      columns,
      lambda row, changes: Cell(
        Run('idc', dataset, row[0], 2, changes), Accuracy(network=row[1])
      ),
    ),
    common.numbers(dataset, DATASETS, tuple(rows), tuple(columns), _NUMBERS),
  )
