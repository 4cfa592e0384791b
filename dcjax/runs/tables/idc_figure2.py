"""IDC, Figure 2, right: more images or more pixels."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, MatchingLoss, Plot, Run, Table

TITLE = 'IDC, Figure 2, right: matching loss over images and resolution'
DATASETS = ('cifar10',)


def runs(size: str, dataset: str) -> dict[str, Run]:
  """Returns label -> run of DSA, of both halves of the figure."""
  if size == 'smoke':
    two = Run('dsa', dataset, 2, 1, {'ipc': 2})
    return {'ipc 1': Run('dsa', dataset, 1), 'ipc 2': two}
  return {f'ipc {n}': Run('dsa', dataset, n) for n in (6, 12, 24, 48)}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the figure's numbers for a size and its data set."""
  dataset = datasets[0]
  columns = {
    f'{percent} %': percent
    for percent in common.few(size, (50, 100, 62, 75, 88), 2)
  }
  columns = dict(sorted(columns.items(), key=lambda item: item[1]))
  rows = runs(size, dataset)
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(rows),
    tuple(columns),
    common.fill(
      rows, columns, lambda run, percent: Cell(run, MatchingLoss(percent))
    ),
    {},
    note=(
      "Cosine matching loss of DSA's images, summed over classes; mean ± std "
      'over eight random networks. Columns: share of rows and columns that the '
      'images keep (of 32 pixels: 16 to 32). Equal storage lies on a '
      'diagonal: the paper names 16 pixels with 48 images and 32 pixels with '
      '12. It gives no numbers.'
    ),
    plot=Plot('heat', 'columns', 'resolution', 'images per class'),
  )
