"""IDC, Figure 4: gradients vanish on the data that a network learns."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, GradientNorm, Plot, Run, Table

TITLE = 'IDC, Figure 4: gradient norm of networks that learn condensed images'
DATASETS = ('cifar10',)
_EPOCHS = (0, 5, 10, 20, 50, 100, 200, 500)


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the figure's numbers for a size and its data set."""
  run = Run('dsa', datasets[0], 50)
  rows = {f'epoch {n}': n for n in common.few(size, _EPOCHS, 2)}
  columns = {'real images': 'real', 'synthetic images': 'synthetic'}
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(rows),
    tuple(columns),
    common.fill(
      rows,
      columns,
      lambda epochs, data: Cell(run, GradientNorm(data, epochs)),
    ),
    {},
    note=(
      'Networks train on the images that DSA condensed (ipc 50), as those of '
      'DSA do. L1 norm over all parameters of the gradient of one class, mean '
      'over classes; mean ± std over eight networks. The paper counts network '
      'steps (an epoch has one for every 256 images), names neither ipc nor '
      'batch, and gives no numbers.'
    ),
    plot=Plot('lines', 'rows', 'epochs on the synthetic images', 'L1 norm'),
  )
