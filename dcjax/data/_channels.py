"""Mean and deviation of each channel, and what constant ones get."""

from collections.abc import Sequence

import numpy as np

from dcjax.data import _checks

# Images per step when statistics are summed: bounds the float64 copy.
_CHUNK = 1024
# What rounding leaves of the deviation of a constant channel.
_CONSTANT = 1e-6


def channel_statistics(
  images: np.ndarray,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Returns (mean, std) over images, rows and columns, per channel.

  Args:
    images: `[M, H, W, D]`; uint8 is first scaled to [0, 1]. The std divides by
      the number of values.
  """
  total, squares, scale = 0.0, 0.0, _checks.scale_of(images)
  for start in range(0, len(images), _CHUNK):
    chunk = images[start : start + _CHUNK].astype(np.float64) / scale
    total = total + chunk.sum((0, 1, 2))
    squares = squares + np.square(chunk).sum((0, 1, 2))
  size = np.prod(images.shape[:3])
  mean = total / size
  std = np.sqrt(np.maximum(squares / size - mean**2, 0.0))
  return tuple(mean.tolist()), tuple(std.tolist())


def usable_deviations(
  std: Sequence[float],
) -> tuple[tuple[float, ...], list[str]]:
  """Returns deviations to divide by, 1 for constant channels, and notes.
  Images of which every channel is constant keep theirs, which are refused.
  """
  constant = [c for c, s in enumerate(std) if s <= _CONSTANT]
  if len(constant) == len(std):
    return (0.0,) * len(std), []
  if not constant:
    return tuple(std), []
  fixed = tuple(1.0 if c in constant else s for c, s in enumerate(std))
  return fixed, [
    f'channels {constant} of the images are constant; they are only centred '
    '(std 1)'
  ]
