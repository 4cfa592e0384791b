"""DC, Figure 3: accuracy over the number of condensed images."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Plot, Run, Table, published

TITLE = 'DC, Figure 3: ipc 1 to 50 on four data sets'
DATASETS = ('mnist', 'fashion_mnist', 'svhn', 'cifar10')
_IPCS = (1, 10, 20, 30, 40, 50)
_WHOLE = {'whole set': None}
_NUMBERS = """
91.7 70.5 31.2 28.3
97.4 82.3 76.1 44.9
-    -    -    -
-    -    -    -
-    -    -    -
98.8 83.6 82.3 53.9
99.6 93.5 95.4 84.8
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the figure's numbers for a size and its data sets."""
  rows = {f'ipc {ipc}': ipc for ipc in _IPCS} | _WHOLE
  numbers = published(tuple(rows), DATASETS, _NUMBERS)
  if size == 'smoke':
    rows = {f'ipc {ipc}': ipc for ipc in (1, 2)}

  def make(ipc, dataset):
    if ipc is None:
      return Cell(Run('dc', dataset, 1), Accuracy('whole'))
    # The smoke switch stores one image per class unless told otherwise.
    changes = {'ipc': ipc} if size == 'smoke' and ipc > 1 else {}
    return Cell(Run('dc', dataset, ipc, 1, changes))

  return Table(
    TITLE,
    common.DC_PAPER,
    tuple(rows),
    datasets,
    common.fill(rows, {name: name for name in datasets}, make),
    numbers,
    note=(
      'ConvNet-3. Published are the numbers of ipc 1, 10 and 50. The relative '
      "accuracy of the figure's second half is a row over the row of the whole "
      'set.'
    ),
    plot=Plot('lines', 'rows', 'images per class'),
  )
