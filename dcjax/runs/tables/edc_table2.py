"""EDC, Table 2: EDC and RDED on ImageNet-1k, tested with nine networks."""

from dcjax.runs.tables import _edc
from dcjax.runs.tables._types import Table

TITLE = 'EDC, Table 2: nine students, ipc 10 to 50, beside RDED'
DATASETS = _edc.DATASETS
_STUDENTS = tuple(_edc.STUDENTS)[:9]
# Swin-Tiny: EDC's appendix; the others: RDED's scripts.
_RATES = {
  'rded': {'MobileNet-V2': 0.0025, 'Swin-Tiny': 1e-4, 'DeiT-Tiny': 1e-4},
  'edc': {'Swin-Tiny': 1e-4},
}
_NUMBERS = """
42.0 46.0 48.3 34.4 42.8 14.0 29.2 48.3 19.4
48.6 54.1 51.7 45.0 51.1 18.4 38.3 54.4 29.8
45.6 57.6 58.0 41.3 48.1 22.1 44.6 54.0 20.7
52.0 58.2 60.0 48.6 55.6 24.0 49.6 61.4 33.0
49.9 59.4 58.1 44.9 54.1 30.5 47.7 62.1 23.5
55.0 61.5 60.3 53.8 58.4 46.5 59.1 63.9 41.1
53.9 61.8 60.1 50.3 56.3 43.7 58.1 63.7 27.7
56.4 62.2 62.3 54.7 59.7 51.9 61.1 65.2 44.7
56.5 63.7 61.2 53.9 57.6 44.5 56.9 65.4 30.9
58.0 64.3 64.9 57.8 60.9 55.0 63.3 66.6 45.7
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  rows = {
    f'ipc {ipc}, {recipe.upper()}': _edc.Row(recipe, ipc, rates=rates)
    for ipc in (10, 20, 30, 40, 50)
    for recipe, rates in _RATES.items()
  }
  return _edc.ablation(
    TITLE,
    size,
    datasets,
    rows,
    _STUDENTS,
    _NUMBERS,
    'The rows of differences are left out. ShuffleNet-V2 is the one of half '
    "width, EDC's observer; the paper does not say which it tests. RDED's "
    'scripts train vision transformers at 0.0001, here DeiT-Tiny, too.',
  )
