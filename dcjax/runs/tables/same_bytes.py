"""More images in the same bytes: fewer bits, formations, starts."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import OWN, Accuracy, Cell, Table

TITLE = 'More images in the same bytes: bits, formations and starts'
DATASETS = ('cifar10',)
_EIGHT = {'storage': 'uint8'}
# Real images and starts that stand for the others of their class (DREAM).
_CHOSEN = {'start': 'representative', 'source': 'representative'}
_ROUNDED = 'quantised:bits={}:inner=uniform'
# Label -> method, images that take the place of one of 8 bits, changes.
_STEPS = {
  'IDC-I, 8 bits': ('IDC-I', 1, _EIGHT),
  'DM+MF, 8 bits': ('DM+MF', 1, _EIGHT),
  'IDC, 8 bits': ('IDC', 1, _EIGHT),
  'IDC, 8 bits, representative': ('IDC', 1, {**_EIGHT, **_CHOSEN}),
  'IDC, 4 bits': ('IDC', 2, {}),
  'IDC, 2 bits': ('IDC', 4, {}),
  'IDC, 4 bits, representative': ('IDC', 2, _CHOSEN),
  'IDC, 2 bits, representative': ('IDC', 4, _CHOSEN),
}


def _run(dataset, ipc, method, more, changes):
  made = common.method_run(method, common.Row(dataset, ipc * more))
  assert made is not None
  if more > 1:
    changes = {'formation': _ROUNDED.format(8 // more), **changes}
  return made._replace(changes={**made.changes, **changes})


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  rows = {
    f'{dataset}, ipc {ipc}: {label}': _run(dataset, ipc, *step)
    for dataset in datasets
    for ipc in common.few(size, (1, 10), 1)
    for label, step in common.few(size, list(_STEPS.items()), 5)
  }
  columns = {'start': 'initial', 'condensed': 'condensed'}
  return Table(
    TITLE,
    OWN,
    tuple(rows),
    tuple(columns),
    common.fill(rows, columns, lambda run, images: Cell(run, Accuracy(images))),
    {},
    note=(
      'Every set of an ipc takes the bytes of that many 8-bit images a class, '
      'and 4 bytes an image for its scale: of 4 bits there are twice as many, '
      'of 2 bits four times.'
    ),
  )
