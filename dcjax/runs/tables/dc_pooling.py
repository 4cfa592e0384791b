"""DC, Table T4: pooling, ipc 1."""

from dcjax.runs.tables._grids import DATASETS, convnets, grid
from dcjax.runs.tables._types import Table

TITLE = 'DC, Table T4: condense with each pooling, test with each'
_NUMBERS = """
78.7±3.0 80.8±3.5 88.3±1.0
81.2±2.8 89.5±1.1 91.1±0.6
81.8±2.9 90.2±0.8 91.7±0.5
"""
_NETWORKS = convnets(
  'pooling', {'None': 'none', 'Max': 'max', 'Average': 'avg'}
)

__all__ = ['DATASETS', 'TITLE', 'table']


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  smoke = ('Average',)
  return grid(TITLE, size, datasets, _NETWORKS, _NUMBERS, smoke=smoke)
