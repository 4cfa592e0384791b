"""KIP: a fully connected tangent kernel, and networks on its images."""

from dcjax.runs.tables import _methods as common, _sets
from dcjax.runs.tables._types import Accuracy, Cell, OwnTest, Table

TITLE = 'KIP FC: kernel regression on learned images and labels'
DATASETS = ('mnist', 'cifar10')
_NUMBERS = {
  'mnist': '85.5 -\n97.2 -\n98.4 -',
  'cifar10': '40.5 -\n53.1 -\n58.6 -',
}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  made = _sets.table(
    TITLE,
    'Nguyen, Chen & Lee, "Dataset Meta-Learning from Kernel Ridge-Regression", '
    'ICLR 2021, arXiv 2011.00050',
    'kip',
    size,
    datasets,
    {'kernel regression': OwnTest(), 'ConvNet-3': Accuracy()},
    _NUMBERS,
    note=(
      'Labels are learned, channels standardised and nothing whitened, as in '
      'the paper. MNIST: without augmentation, 1,000 steps; CIFAR-10: half of '
      'the real images mirrored, 5,000 steps. IDC and DM stand beside it in '
      '8-bit images.'
    ),
  )
  beside = {
    (row, label): Cell(run)
    for row, column in made.cells
    if column == 'ConvNet-3' and size != 'smoke'
    for label, run in common.in_eight_bits(*_place(made, row)).items()
  }
  columns = dict.fromkeys([*made.columns, *(label for _, label in beside)])
  return made._replace(columns=tuple(columns), cells=dict(made.cells) | beside)


def _place(made, row):
  run = made.cells[row, 'ConvNet-3'].run
  return run.dataset, run.ipc
