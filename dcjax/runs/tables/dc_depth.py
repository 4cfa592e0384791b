"""DC, Table T6: depth of the ConvNet, ipc 1."""

from dcjax.runs.tables._grids import DATASETS, convnets, grid
from dcjax.runs.tables._types import Table

TITLE = 'DC, Table T6: condense with each depth, test with each'
_NUMBERS = """
61.3±3.5 78.2±3.0 77.1±4.0 76.4±3.5
78.3±2.3 89.0±0.8 91.0±0.6 89.4±0.8
81.6±1.5 89.8±0.8 91.7±0.5 90.4±0.6
82.5±1.3 89.9±0.8 91.9±0.5 90.6±0.4
"""
_NETWORKS = convnets('depth', {str(depth): depth for depth in (1, 2, 3, 4)})

__all__ = ['DATASETS', 'TITLE', 'table']


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  return grid(TITLE, size, datasets, _NETWORKS, _NUMBERS, smoke=('3',))
