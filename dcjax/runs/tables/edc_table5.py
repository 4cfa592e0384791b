"""EDC, Table 5: category-aware matching, weak augmentation, averages."""

from dcjax.runs.tables import _edc
from dcjax.runs.tables._types import Table

TITLE = 'EDC, Table 5: statistics of classes, weak crops, averaged weights'
DATASETS = _edc.DATASETS
# What the configurations F and G are with weak crops and averages, or without.
_CHOICES = {
  '': _edc.rung('F'),
  ', weak crops': _edc.rung('G', average_rate=0.0),
  ', weak crops, averaged': _edc.rung('G'),
}
_NUMBERS = """
46.2 53.2 49.5
46.7 53.7 49.4
46.9 53.8 48.5
46.7 53.4 50.6
46.8 53.6 50.8
47.1 53.7 48.2
48.1 53.9 50.4
48.4 53.9 52.7
48.6 54.1 51.7
46.1 52.7 51.0
46.9 52.8 51.6
47.0 53.2 49.3
"""


def _row(alpha: float, choice: _edc.Row) -> _edc.Row:
  # Runs at EDC's own share are those of its other tables.
  changes = {} if alpha == 0.5 else {'method.alpha': alpha}
  return choice._replace(changes={**choice.changes, **changes})


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  rows = {
    f'alpha {alpha:.2f}{words}': _row(alpha, choice)
    for alpha in (0.0, 0.25, 0.5, 0.75)
    for words, choice in _CHOICES.items()
  }
  return _edc.ablation(
    TITLE,
    size,
    datasets,
    rows,
    ('ResNet-18', 'ResNet-50', 'ResNet-101'),
    _NUMBERS,
    'ipc 10. alpha is the share of the statistics of all images, by the '
    "paper's equation: at 0 there are those of classes alone. Weak crops keep "
    'half of the area or more, in the synthesis and in the evaluation.',
  )
