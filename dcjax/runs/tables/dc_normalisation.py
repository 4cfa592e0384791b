"""DC, Table T5: normalisation layers, ipc 1."""

from dcjax.runs.tables._grids import DATASETS, convnets, grid
from dcjax.runs.tables._types import Table

TITLE = 'DC, Table T5: condense with each norm, test with each'
_NUMBERS = """
79.0±2.2 80.8±2.0 85.8±1.7 90.7±0.7 85.9±1.7
78.6±2.1 80.7±1.8 85.7±1.6 90.9±0.6 85.9±1.5
81.2±1.8 78.6±3.0 87.4±1.3 90.7±0.7 87.3±1.4
72.9±7.1 56.7±6.5 82.7±5.3 91.7±0.5 84.3±4.2
79.5±2.1 81.8±2.3 87.3±1.2 91.6±0.5 87.2±1.2
"""
_NETWORKS = convnets(
  'norm',
  {
    'None': 'none',
    'Batch': 'batch',
    'Layer': 'layer',
    'Instance': 'instance',
    'Group': 'group',
  },
)

__all__ = ['DATASETS', 'TITLE', 'table']


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  smoke = ('Batch', 'Instance')
  return grid(TITLE, size, datasets, _NETWORKS, _NUMBERS, smoke=smoke)
