"""The search space of architecture search with condensed sets."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from dcjax.utils import check_choice

# The ConvNets of Zhao et al. (ICLR 2021), DM and FTD: 4 * 4 * 5 * 3 * 3 = 720.
CONVNET_GRID: Mapping[str, tuple[Any, ...]] = {
  'width': (32, 64, 128, 256),
  'depth': (1, 2, 3, 4),
  'norm': ('none', 'batch', 'layer', 'instance', 'group'),
  'activation': ('sigmoid', 'relu', 'leaky_relu'),
  'pooling': ('none', 'max', 'avg'),
}


def convnet_grid(
  choices: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, dict[str, Any]]:
  """Returns every ConvNet of a grid, as `networks.build` takes them.

  Args:
    choices: axis -> values, in place of the published ones, see `CONVNET_GRID`;
      axes that it leaves out stay at the `networks.convnet` default. None: the
      published grid.

  Returns:
    Name -> description; networks whose arrays have the same shapes (width,
    depth and pooling are alike) follow each other.

  Raises:
    ValueError: if an axis is unknown or has no values, or one comes twice.

  Example:
    >>> len(convnet_grid())
    720
    >>> list(convnet_grid({'depth': (1, 2), 'norm': ('none',)}))
    ['depth=1 norm=none', 'depth=2 norm=none']
  """
  choices = CONVNET_GRID if choices is None else choices
  for axis, values in choices.items():
    check_choice('architecture axis', axis, CONVNET_GRID)
    if not values or len(set(values)) < len(values):
      raise ValueError(
        f'architecture axis {axis!r} {tuple(values)}: must hold at least one '
        'value, none of them twice'
      )
  shapes_first = ('width', 'depth', 'pooling', 'norm', 'activation')
  axes = [axis for axis in shapes_first if axis in choices]
  grid = {}
  for values in itertools.product(*(choices[axis] for axis in axes)):
    options = dict(zip(axes, values, strict=True))
    name = ' '.join(f'{axis}={value}' for axis, value in options.items())
    grid[name] = {'name': 'convnet', **options}
  return grid
