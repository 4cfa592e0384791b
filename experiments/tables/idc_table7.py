"""IDC, Table 7: multi-formation factors 1 to 4."""

from tables import _methods as common
from tables._types import Accuracy, Cell, Plot, Run, Table

TITLE = 'IDC, Table 7: multi-formation factor 1 to 4'
DATASETS = ('cifar10',)
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


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  ipc, *networks, text = _SETS.get(dataset, _SETS['cifar10'])
  names = tuple(f'factor {factor}' for factor in (1, 2, 3, 4))
  columns = {f'factor {n}': n for n in common.few(size, (1, 2, 3, 4), 3)}
  rows = {name: name for name in common.few(size, networks, 1)}
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(rows),
    tuple(columns),
    common.fill(
      rows,
      columns,
      lambda network, factor: Cell(
        Run('idc', dataset, ipc, factor),
        Accuracy(network=common.NETWORKS[network]),
      ),
    ),
    common.numbers(dataset, tuple(_SETS), networks, names, text),
    note='dataset=imagenet10 gives the ImageNet-10 half of the table.',
    plot=Plot('lines', 'columns', 'multi-formation factor'),
  )
