"""IDC, Table 7: multi-formation factors 1 to 4."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Plot, Run, Table

TITLE = 'IDC, Table 7: multi-formation factor 1 to 4'
DATASETS = ('cifar10', 'imagenet10')
# data set -> (ipc, own network, other network, published).
_SETS = {
  'cifar10': (
    50,
    'ConvNet-3',
    'ResNet-10',
    """
69.5 74.5 68.9 62.0
65.7 72.4 62.9 59.1
""",
  ),
  'imagenet10': (
    20,
    'ResNetAP-10',
    'ResNet-18',
    """
65.5 73.3 76.6 77.5
66.0 70.8 75.7 75.2
""",
  ),
}


def _half(size, dataset, columns):
  """Rows, cells and published numbers of one data set."""
  ipc, *networks, text = _SETS.get(dataset, _SETS['cifar10'])
  labels = {f'{dataset}, {network}': network for network in networks}
  published = common.numbers(
    dataset, DATASETS, tuple(labels), tuple(columns), text
  )
  rows = dict(common.few(size, list(labels.items()), 1))
  taken = dict(common.few(size, list(columns.items()), 2))

  def make(network, factor):
    tested = common.test_network(network, dataset)
    return Cell(Run('idc', dataset, ipc, factor), Accuracy(network=tested))

  return tuple(rows), common.fill(rows, taken, make), published


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  columns = {f'factor {factor}': factor for factor in (1, 2, 3, 4)}
  rows, cells, numbers = (), {}, {}
  for dataset in datasets:
    more_rows, more_cells, more_numbers = _half(size, dataset, columns)
    rows += more_rows
    cells |= more_cells
    numbers |= more_numbers
  return Table(
    TITLE,
    common.IDC_PAPER,
    rows,
    common.few(size, tuple(columns), 2),
    cells,
    numbers,
    note=(
      'ipc 50 on CIFAR-10, 20 on ImageNet-10; dataset=cifar10 makes that half '
      'only.'
    ),
    plot=Plot('lines', 'columns', 'multi-formation factor'),
  )
