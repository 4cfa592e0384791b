"""DD: one image a class for one known network, ten for random ones."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, OwnTest, Run, Table

TITLE = 'DD: the training that was differentiated, LeNet'
DATASETS = ('mnist',)
_COLUMN = 'accuracy'


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  known = {'method.initialisation': 'known', 'method.passes': 3}
  rows = {
    'known start, ipc 1': Run('dd', dataset, 1, 1, known),
    'random starts, ipc 10': Run('dd', dataset, 10),
  }
  rows = dict(common.few(size, list(rows.items()), 1))
  numbers = common.numbers(
    dataset, DATASETS, tuple(rows), (_COLUMN,), '94\n79.5±8.1'
  )
  cells = common.fill(rows, {_COLUMN: OwnTest()}, Cell)
  for ipc in () if size == 'smoke' else (1, 10):
    for label, run in common.in_eight_bits(dataset, ipc).items():
      cells[f'{label}, ipc {ipc}', _COLUMN] = Cell(run, Accuracy())
  return Table(
    TITLE,
    'Wang et al., "Dataset Distillation", 2018, arXiv 1811.10959',
    tuple(row for row, _ in cells),
    (_COLUMN,),
    cells,
    numbers if size != 'smoke' else {},
    note="The known start is the published code's; the paper has other steps.",
  )
