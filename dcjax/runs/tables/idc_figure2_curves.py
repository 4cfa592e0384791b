"""IDC, Figure 2, left: more images match better."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Plot, RecordedLoss, Run, Table
from dcjax.runs.tables.idc_figure2 import runs

TITLE = 'IDC, Figure 2, left: matching loss of DSA while it condenses'
DATASETS = ('cifar10',)
_PERCENT = (20, 40, 60, 80, 100)


def _cell(percent: int, run: Run) -> Cell:
  return Cell(run, RecordedLoss(percent))


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the figure's numbers for a size and its data set."""
  rows = {f'{percent} % of the iterations': percent for percent in _PERCENT}
  columns = runs(size, datasets[0])
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(rows),
    tuple(columns),
    common.fill(rows, columns, _cell),
    {},
    note=(
      "DSA's own loss, summed over classes, mean over the image steps of one "
      'outer iteration. More images make more image steps for each network, '
      'which the loss of a curve is taken over; idc_figure2 measures all on '
      'the same networks. The paper gives no numbers.'
    ),
    plot=Plot('lines', 'rows', 'outer iterations done, %', 'matching loss'),
  )
