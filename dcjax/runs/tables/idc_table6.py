"""IDC, Table 6: condensed in small, or made small afterwards."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

TITLE = 'IDC, Table 6: multi-formation against post-downsampling'
DATASETS = ('cifar10',)
_COLUMNS = (
  'IDC (50 x 32 x 32)',
  'IDC-I-post (200 x 16 x 16)',
  'IDC-I (200 x 32 x 32)',
)
_NUMBERS = """
74.5 68.8 76.6
72.4 63.1 74.9
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset, networks = datasets[0], ('ConvNet-3', 'ResNet-10')
  # The smoke configs store one image a class; four are the least to shrink.
  changes = {'ipc': 4} if size == 'smoke' else {}
  small = Run('idc', dataset, 50, 2)
  large = Run('idc', dataset, 200, 1, changes)
  cells = {
    (network, column): Cell(
      run, Accuracy(network=common.test_network(network, dataset), pack=pack)
    )
    for network in common.few(size, networks, 1)
    for column, (run, pack) in zip(
      _COLUMNS, ((small, 1), (large, 2), (large, 1)), strict=True
    )
  }
  return Table(
    TITLE,
    common.IDC_PAPER,
    common.few(size, networks, 1),
    _COLUMNS,
    cells,
    common.numbers(dataset, DATASETS, networks, _COLUMNS, _NUMBERS),
    note=(
      'Post-downsampling halves rows and columns of the condensed images by '
      'averaging, four into the place of one, and enlarges them bilinearly.'
    ),
  )
