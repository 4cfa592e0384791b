"""Condensation into a generative model, Table 5: other architectures."""

from dcjax.runs.tables import _generative, _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table
from dcjax.runs.tables.dc_table2 import NETWORKS

TITLE = 'Generative model, Table 5: tested with other networks, ipc 50'
DATASETS = ('cifar10',)
_PLAIN_CAFE = {'augment.family': 'none', 'evaluation.epochs': 600}
_TESTED = {
  'ConvNet': None,
  'AlexNet': NETWORKS['AlexNet'],
  'VGG11': NETWORKS['VGG'],
  'ResNet18': NETWORKS['ResNet'],
  'MLP': NETWORKS['MLP'],
}
_NUMBERS = """
53.9±0.5 28.77±0.7 38.76±1.1 20.85±1.0 28.71±0.7
55.5±0.4 34.0±0.6  40.6±0.8  25.3±0.9  36.7±0.6
73.8±0.3 53.9±0.4  60.1±0.2  54.9±0.7  51.1±0.5
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  # Shorter schedules shorten CAFE's evaluation, too.
  cafe = {
    n: v
    for n, v in _PLAIN_CAFE.items()
    if size == 'reference' or n != 'evaluation.epochs'
  }
  rows = {
    'DC': Run('dc', dataset, 50),
    'CAFE': Run('cafe', dataset, 50, 1, cafe),
    'Generative': _generative.run(dataset, 50),
  }
  labels = tuple(rows)
  rows = dict(common.few(size, list(rows.items()), 1))
  columns = dict(common.few(size, list(_TESTED.items()), 1))
  return Table(
    TITLE,
    _generative.PAPER,
    tuple(rows),
    tuple(columns),
    common.fill(
      rows, columns, lambda run, net: Cell(run, Accuracy(network=net))
    ),
    common.numbers(dataset, DATASETS, labels, tuple(_TESTED), _NUMBERS)
    if size != 'smoke'
    else {},
    note=(
      f'{_generative.UNKNOWN} ConvNet condensed, in every row. Networks are '
      "DC's, VGG11 and ResNet18 with instance norm. CAFE is without DSA."
    ),
  )
