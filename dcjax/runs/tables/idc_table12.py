"""IDC, Table 12: which network condenses."""

from typing import Any

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

TITLE = 'IDC, Table 12: the network that condenses (IDC-I, ipc 10)'
DATASETS = ('cifar10',)
_NUMBERS = """
58.3 58.8 56.6 51.4 53.5
50.2 50.5 48.7 47.5 48.8
"""
_CONDENSING = ('CN', 'CN-W', 'CN-D', 'RN', 'RNAP')


def _condensing(dataset: str) -> dict[str, dict[str, Any] | None]:
  pooled = {'average_pooling': True}
  return {
    'CN': None,
    'CN-W': {**common.CONVNET, 'width': 256},
    'CN-D': {**common.CONVNET, 'depth': 4},
    'RN': common.resnet_10(dataset, 'instance'),
    'RNAP': common.resnet_10(dataset, 'instance', **pooled),
  }


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset, networks = datasets[0], ('ConvNet-3', 'ResNet-10')
  columns = _condensing(dataset)
  if size == 'smoke':
    columns = {name: columns[name] for name in ('CN', 'CN-W')}
  rows = {name: name for name in common.few(size, networks, 1)}

  def make(network, condensing):
    changes = {} if condensing is None else {'network': condensing}
    tested = common.test_network(network, dataset)
    if tested is None and condensing is not None:
      tested = common.CONVNET
    return Cell(Run('idc', dataset, 10, 1, changes), Accuracy(network=tested))

  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(rows),
    tuple(columns),
    common.fill(rows, columns, make),
    common.numbers(dataset, DATASETS, networks, _CONDENSING, _NUMBERS),
    note=(
      'CN is ConvNet-3, CN-W twice as wide, CN-D one block deeper, RN '
      'ResNet-10 and RNAP the same with average pooling for strides; all with '
      'instance norm.'
    ),
  )
