"""DC, Table 3: the networks of dataset distillation (DD)."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

TITLE = 'DC, Table 3: LeNet and AlexNet, ipc 1 and 10, beside DD'
DATASETS = ('mnist', 'cifar10')
_COLUMNS = ('DD', 'DC', 'Whole set')
_NUMBERS = {
  'mnist': """
-        85.0±1.6 99.5±0.0
79.5±8.1 93.9±0.6 99.5±0.0
""",
  'cifar10': """
-        24.2±0.9 83.1±0.2
36.8±1.2 39.1±1.2 83.1±0.2
""",
}


def _run(dataset: str, ipc: int) -> Run:
  name = 'alexnet' if dataset.startswith('cifar') else 'lenet'
  return Run('dc', dataset, ipc, 1, {'network': {'name': name}})


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  rows, numbers = {}, {}
  for dataset in datasets:
    new = {f'{dataset}, ipc {ipc}': (dataset, ipc) for ipc in (1, 10)}
    text = _NUMBERS.get(dataset, '')
    numbers |= common.numbers(dataset, DATASETS, tuple(new), _COLUMNS, text)
    rows |= dict(common.few(size, list(new.items()), 1))

  def make(row, column):
    dataset, ipc = row
    if column == 'DC':
      return Cell(_run(dataset, ipc))
    # One training on the whole set serves both rows.
    return Cell(_run(dataset, 1), Accuracy('whole'))

  return Table(
    TITLE,
    common.DC_PAPER,
    tuple(rows),
    _COLUMNS,
    common.fill(rows, {name: name for name in _COLUMNS[1:]}, make),
    numbers,
    note=(
      'MNIST with LeNet. On CIFAR-10 the paper takes the AlexCifarNet of DD, a '
      "smaller AlexNet with local response norm, and augments; here DC's own "
      'AlexNet stands in its place, without augmentation, so these rows do '
      'not compare. DD (Wang et al., 2018) is published only.'
    ),
  )
