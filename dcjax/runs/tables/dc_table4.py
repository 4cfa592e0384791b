"""DC, Table 4: few-shot domain adaptation."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Table, published

TITLE = 'DC, Table 4: few-shot domain adaptation, published only'
DATASETS = ('svhn+mnist',)
_COLUMNS = (
  'Random',
  'Herding',
  'K-Center',
  'Forgetting',
  'DC',
  'no adaptation',
  'DD',
)
_ROWS = (
  'svhn to mnist, ipc 1',
  'svhn to mnist, ipc 10',
  'mnist to svhn, ipc 1',
  'mnist to svhn, ipc 10',
  'svhn to mnist, ipc 10, LeNet',
)
_NUMBERS = """
75.7±4.5 93.5±0.8 93.1±1.1 41.5±6.4 94.4±0.4 76.5±1.7 -
97.0±0.5 95.8±0.4 90.8±0.7 74.8±1.8 97.7±0.2 -        -
17.2±2.2 25.0±3.2 25.0±3.2 12.8±1.4 35.7±2.1 31.0±1.2 -
56.1±1.8 61.7±2.1 19.0±1.6 32.3±2.2 74.8±0.8 -        -
-        -        -        -        93.7±0.8 -        85.2±4.7
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  del size
  known = datasets == DATASETS
  return Table(
    TITLE,
    common.DC_PAPER,
    _ROWS,
    _COLUMNS,
    {},
    published(_ROWS, _COLUMNS, _NUMBERS) if known else {},
    note=(
      "The first version's table, and its text for LeNet. No adaptation is "
      'the same for every ipc. Config `adaptation` makes this: it trains '
      'networks on one set and tunes them on another, which no run of a table '
      'does.'
    ),
  )
