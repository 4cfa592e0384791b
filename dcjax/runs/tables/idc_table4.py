"""IDC, Table 4: spectrograms of Mini Speech Commands."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Table

TITLE = 'IDC, Table 4: Mini Speech Commands, ipc 10 and 20'
DATASETS = ('speech',)
_METHODS = ('Random', 'Herding', 'DSA', 'DM', 'IDC-I', 'IDC', 'Full data')
_NUMBERS = """
42.6 56.2 65.0 69.1 73.3 82.9 93.4
57.0 72.9 74.0 77.2 83.0 86.6 93.4
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  rows = {
    f'ipc {ipc}': common.Row(dataset, ipc, 'ConvNet-4') for ipc in (10, 20)
  }
  return common.method_table(
    TITLE,
    common.IDC_PAPER,
    dict(common.few(size, list(rows.items()), 1)),
    _METHODS,
    common.numbers(dataset, DATASETS, tuple(rows), _METHODS, _NUMBERS),
    note=(
      'Multi-formation cuts the time axis only; ConvNet-4, no augmentation. '
      "Full data trains under IDC's protocol, 300 epochs at size reference."
    ),
  )
