"""IDC, Table 2: test accuracy after the same number of training steps."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Table

TITLE = 'IDC, Table 2: the same number of training steps for every method'
DATASETS = ('cifar10',)
_TIME = 'evaluation, s'
_METHODS = ('DSA', 'KIP', 'DM', 'IDC-I', 'IDC', _TIME)
_NETWORKS = ('ConvNet-3', 'ResNet-10', 'DenseNet-121')
_NUMBERS = """
52.1 49.1 53.8 58.3 65.3 10
32.9 40.8 42.3 50.2 57.7 20
34.5 42.1 39.0 49.5 60.6 100
60.6 57.9 65.6 69.5 73.6 50
49.7 52.9 58.6 65.7 72.3 90
49.1 54.4 57.4 63.1 71.6 400
"""


def _cell(method: str, row: common.Row) -> Cell | None:
  run = common.method_run(method, row)
  divisor = run.factor**2 if run else 1
  return common.method_cell(method, row, epochs_divisor=divisor)


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  rows = {
    f'ipc {ipc}, {network}': common.Row(dataset, ipc, network)
    for ipc in (10, 50)
    for network in _NETWORKS
  }
  return common.method_table(
    TITLE,
    common.IDC_PAPER,
    dict(common.few(size, list(rows.items()), 1)),
    _METHODS,
    common.numbers(dataset, DATASETS, tuple(rows), _METHODS, _NUMBERS),
    _cell,
    note=(
      'Multi-formation by f makes f x f times the images, so the epochs are '
      'divided by f x f, for every test network. DSA is tested under its own '
      "protocol (SGD, batch 256, one operation of DSA's at a time, no "
      "CutMix), DM, IDC-I and IDC under IDC's (SGD, batch 64, CutMix), in both "
      'the published and the measured numbers. KIP is published only: the '
      'paper trains networks on its images with SGD like the others, not with '
      'the kernel as in Table 1. Seconds are of an RTX 3090, for every method.'
    ),
  )
