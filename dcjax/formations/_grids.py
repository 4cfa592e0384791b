"""Which stored images are cut into how many crops: plain Python, no arrays.

Every patch formation is a list of groups: a run of stored images and the grid
they are cut into. The JAX decode, the NumPy decode and the counts read the
same list.
"""

import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax import base
from dcjax.utils import check_count

ValueRange = tuple[float | None, float | None]

UNIT_RANGE: ValueRange = (0.0, 1.0)

NAMES = (
  'basis',
  'bound',
  'codebook',
  'identity',
  'learnable',
  'multiscale',
  'quantised',
  'time_axis',
  'uniform',
)
# Those that need more than stored images, as the plain NumPy decode does not.
BEYOND_IMAGES = ('basis', 'codebook', 'learnable')


class Group(NamedTuple):
  """Stored images `start:stop`, each cut into `rows * columns` crops."""

  rows: int
  columns: int
  start: int
  stop: int


def check_image_shape(value: Sequence[int]) -> list[int]:
  """Returns `[H, W, D]`, or raises ValueError unless these are counts."""
  if not isinstance(value, tuple | list) or len(value) != 3:
    raise ValueError(f'image_shape is {value!r}; it must be (H, W, D).')
  return [check_count('image_shape', size) for size in value]


def check_value_range(value: Sequence[float | None]) -> ValueRange:
  """Returns `(low, high)`, or raises ValueError unless low < high."""
  message = (
    f'value_range is {value!r}; it must be a pair (low, high) with low < high, '
    'None for an open side.'
  )
  if not isinstance(value, tuple | list) or len(value) != 2:
    raise ValueError(message)
  sides = [side for side in value if side is not None]
  if not all(_is_finite(side) for side in sides):
    raise ValueError(message)
  if len(sides) == 2 and not sides[0] < sides[1]:
    raise ValueError(message)
  low, high = (None if side is None else float(side) for side in value)
  return low, high


def check_padding(value: Any) -> float:
  """Returns `value` as a float, or raises ValueError unless it is finite."""
  if not _is_finite(value):
    raise ValueError(f'padding is {value!r}; it must be a finite number.')
  return float(value)


def _is_finite(value: Any) -> bool:
  return (
    isinstance(value, numbers.Real)
    and not isinstance(value, bool)
    and math.isfinite(value)
  )


def check_grid(rows: int, columns: int, height: int, width: int) -> None:
  """Raises ValueError if images of this size have too few pixels to cut."""
  for factor, size, axis in (
    (rows, height, 'rows'),
    (columns, width, 'columns'),
  ):
    if factor > size:
      raise ValueError(
        f'factor {factor} is larger than the image of {height} x {width} '
        f'pixels; it must be at most its {size} {axis}.'
      )


def of_inner(spec: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns what decodes the images of a quantised set; other specs as is."""
  if _name(spec) != 'quantised':
    return spec
  inner = spec.get('inner', 'identity')
  own = ['bits', 'inner', 'scales']
  # Of what is packed, unless it is an option of the inner formation.
  own += [] if inner in ('basis', 'codebook') else ['image_shape']
  rest = {name: value for name, value in spec.items() if name not in own}
  return {**rest, 'name': inner}


def grid(spec: Mapping[str, Any]) -> tuple[int, int]:
  """Returns (rows, columns) of tiles in one stored image: the finest cut."""
  spec = of_inner(spec)
  name = _name(spec)
  if name in ('codebook', 'identity'):
    return 1, 1
  if name == 'basis':
    return check_count('tiles', spec.get('tiles', 1)), 1
  factor = check_count('factor', _option(spec, 'factor'))
  return (1, factor) if name == 'time_axis' else (factor, factor)


def groups(spec: Mapping[str, Any], count: int) -> list[Group]:
  """Returns the groups in decoded order, for `count` stored images a class."""
  spec = of_inner(spec)
  rows, columns = grid(spec)
  if spec['name'] == 'multiscale':
    return [Group(f, f, 0, count) for f in range(1, rows + 1)]
  if spec['name'] == 'bound':
    return _bound_groups(rows, check_count('cap', _option(spec, 'cap')), count)
  return [Group(rows, columns, 0, count)]


def _bound_groups(factor: int, cap: int, count: int) -> list[Group]:
  """Gives the largest factors first to as many images as the cap allows."""
  if count > cap:
    raise ValueError(
      f'cap is {cap} decoded images; it must be at least the {count} stored '
      'images of a class.'
    )
  found, start, decoded = [], 0, 0
  for f in range(factor, 1, -1):
    left = count - start
    # Each image left keeps one place, so that all of them fit uncut.
    taken = min((cap - decoded - left) // f**2, left)
    if taken > 0:
      found.append(Group(f, f, start, start + taken))
      start, decoded = start + taken, decoded + taken * f**2
  if start < count:
    found.append(Group(1, 1, start, count))
  return found


def decoded_count(
  formation: base.Formation | Mapping[str, Any], ipc: int
) -> int:
  """Counts the images that a class decodes to.

  Args:
    formation: a formation, or its spec.
    ipc: stored images of a class.

  Returns:
    The number M of decoded images of a class: `ipc * factor**2` for `uniform`
    and `learnable`, `ipc * factor` for `time_axis`, `ipc * (1 + 4 + ... +
    factor**2)` for `multiscale`, at most the cap for `bound`, `ipc * tiles`
    for `basis`, ipc for `codebook`.

  Raises:
    ValueError: if ipc is not an integer >= 1, the spec names no formation of
      this package, or ipc is above the cap of `bound`.

  Example:
    >>> decoded_count({'name': 'uniform', 'factor': 2}, 10)
    40
  """
  spec = getattr(formation, 'spec', formation)
  found = groups(spec, check_count('ipc', ipc))
  return sum(g.rows * g.columns * (g.stop - g.start) for g in found)


def packing(size: int, factor: int) -> tuple[np.ndarray, np.ndarray]:
  """Lays `factor` shrunken copies of an axis side by side.

  Args:
    size: length of the axis.
    factor: number of tiles; the first `size % factor` are one longer.

  Returns:
    `[size]` the tile of each position, and `[size]` the position that
    nearest-neighbour resizing (`floor(i * in / out)`) reads in the full image.
  """
  short, longer = divmod(size, factor)
  lengths = [short + (tile < longer) for tile in range(factor)]
  sources = [np.arange(length) * size // length for length in lengths]
  return np.repeat(np.arange(factor), lengths), np.concatenate(sources)


def _name(spec: Mapping[str, Any]) -> str:
  name = spec.get('name')
  if name not in NAMES:
    raise ValueError(
      f'name is {name!r}; the known formations are {", ".join(NAMES)}.'
    )
  return name


def _option(spec: Mapping[str, Any], option: str) -> Any:
  if option not in spec:
    raise ValueError(f'{option} is missing; {spec["name"]!r} needs it.')
  return spec[option]
