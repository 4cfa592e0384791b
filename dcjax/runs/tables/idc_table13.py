"""IDC, Table 13: distribution matching with multi-formation."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Table

TITLE = 'IDC, Table 13: DM with multi-formation (DM+MF)'
DATASETS = ('cifar10',)
_METHODS = ('DM', 'DM+MF', 'IDC')
_NUMBERS = """
65.6 68.4 74.5
58.6 63.1 72.4
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  rows = {
    name: common.Row(dataset, 50, name) for name in ('ConvNet-3', 'ResNet-10')
  }
  return common.method_table(
    TITLE,
    common.IDC_PAPER,
    dict(common.few(size, list(rows.items()), 1)),
    _METHODS,
    common.numbers(dataset, DATASETS, tuple(rows), _METHODS, _NUMBERS),
    note='ipc 50, factor 2.',
  )
