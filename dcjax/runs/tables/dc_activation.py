"""DC, Table T3: activation functions, ipc 1."""

from dcjax.runs.tables._grids import DATASETS, convnets, grid
from dcjax.runs.tables._types import Table

TITLE = 'DC, Table T3: condense with each activation, test with each'
_NUMBERS = """
86.7±0.7 91.2±0.6 91.2±0.6
86.1±0.9 91.7±0.5 91.7±0.5
86.3±0.9 91.7±0.5 91.7±0.4
"""
_NETWORKS = convnets(
  'activation',
  {'Sigmoid': 'sigmoid', 'ReLU': 'relu', 'Leaky ReLU': 'leaky_relu'},
)

__all__ = ['DATASETS', 'TITLE', 'table']


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  return grid(TITLE, size, datasets, _NETWORKS, _NUMBERS, smoke=('ReLU',))
