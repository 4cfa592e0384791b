"""DC, Table T7: width of the ConvNet, ipc 1."""

from dcjax.runs.tables._grids import DATASETS, convnets, grid
from dcjax.runs.tables._types import Table

TITLE = 'DC, Table T7: condense with each width, test with each'
_NUMBERS = """
90.6±0.8 91.4±0.5 91.5±0.5 91.3
91.0±0.8 91.6±0.6 91.8±0.5 91.4
90.8±0.7 91.5±0.6 91.7±0.5 91.2
91.0±0.7 91.6±0.6 91.7±0.5 91.4
"""
_NETWORKS = convnets(
  'width', {str(width): width for width in (32, 64, 128, 256)}
)

__all__ = ['DATASETS', 'TITLE', 'table']


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  smoke = ('128',)
  return grid(TITLE, size, datasets, _NETWORKS, _NUMBERS, smoke=smoke)
