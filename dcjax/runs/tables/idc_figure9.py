"""IDC, Figure 9: accuracy over the size of the condensed set."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Plot, Table

TITLE = 'IDC, Figure 9: ipc 1 to 500'
DATASETS = ('cifar10',)
_METHODS = ('Random', 'Herding', 'DSA', 'DM', 'IDC-I', 'IDC')
_IPCS = (1, 10, 50, 100, 200, 500)
_NUMBERS = """
-    -    28.8 28.9 36.7 50.6
37.2 41.7 52.1 53.8 58.3 67.5
56.5 59.8 60.6 65.6 69.5 74.5
-    -    -    -    -    -
-    -    -    -    76.6 -
-    -    -    -    -    -
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the figure's numbers for a size and its data set."""
  dataset = datasets[0]
  rows = {f'ipc {ipc}': common.Row(dataset, ipc) for ipc in _IPCS}
  numbers = common.numbers(dataset, DATASETS, tuple(rows), _METHODS, _NUMBERS)
  methods = _METHODS
  if size == 'smoke':
    methods, rows = ('Random', 'IDC-I', 'IDC'), {'ipc 1': rows['ipc 1']}
  return common.method_table(
    TITLE,
    common.IDC_PAPER,
    rows,
    methods,
    numbers,
    note=(
      "ConvNet-3. Published are the paper's tables; the figure has no numbers."
    ),
    plot=Plot('lines', 'rows', 'images per class', log=True),
  )
