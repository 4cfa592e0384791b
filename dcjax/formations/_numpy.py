"""Decoding without JAX: the plain reading of what a stored set means."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dcjax.formations import _grids
from dcjax.formations._basis import check_params


def numpy_decode(spec: Mapping[str, Any], stored: np.ndarray) -> np.ndarray:
  """Decodes stored images with NumPy alone, as a reader of an artefact does.

  Agrees with `build(spec).decode` to float32 rounding (1e-6 for images in
  [0, 1]).

  Args:
    spec: the `spec` of any formation but `learnable`, `codebook` and `basis`
      (see `numpy_mixed`); padding defaults to 0.5, or 0 for `time_axis`. Of a
      quantised one, its inner formation decodes the images of
      `numpy_unpacked`.
    stored: `[C, N, H, W, D]` floats.

  Returns:
    `[C, M, H, W, D]` of the same type, in the decoded order of the formation.

  Raises:
    ValueError: if the spec names no such formation, the array is not of five
      axes and floating, or the factor is larger than the image.
  """
  spec = _grids.of_inner(spec)
  rows, columns = _grids.grid(spec)
  if spec['name'] in _grids.BEYOND_IMAGES:
    known = [name for name in _grids.NAMES if name not in _grids.BEYOND_IMAGES]
    needed = 'bases' if spec['name'] == 'basis' else 'a network'
    raise ValueError(
      f'name is {spec["name"]!r}, which needs {needed}; NumPy decodes '
      + ', '.join(known)
      + '.'
    )
  stored = np.asarray(stored)
  if stored.ndim != 5 or stored.dtype.kind != 'f':
    raise ValueError(
      f'stored has shape {list(stored.shape)} and type {stored.dtype}; it must '
      'be floats of shape [C, N, H, W, D].'
    )
  _grids.check_grid(rows, columns, *stored.shape[2:4])
  default = 0.0 if spec['name'] == 'time_axis' else 0.5
  padding = spec.get('padding', default)
  images = []
  for r, c, start, stop in _grids.groups(spec, stored.shape[1]):
    images += _crops(stored[:, start:stop], r, c, padding)
  return np.concatenate(images, axis=1)


def numpy_mixed(
  spec: Mapping[str, Any], params: Mapping[str, Any]
) -> np.ndarray:
  """Decodes a `basis` with NumPy alone.

  Args:
    spec: of a `basis` formation, or of a quantised one.
    params: with `'bases'` and `'coefficients'`, unpacked (`numpy_unpacked`).

  Returns:
    float32 `[C, M, H, W, D]`, as `decode` to float32 rounding.

  Raises:
    ValueError: if shapes do not fit.
  """
  arrays = {n: np.asarray(params[n]) for n in ('bases', 'coefficients')}
  check_params(spec, arrays)
  bases = bilinear(arrays['bases'], *spec['image_shape'][:2])
  return np.tensordot(arrays['coefficients'], bases, 1).astype(np.float32)


def _crops(
  images: np.ndarray, rows: int, columns: int, padding: float
) -> list[np.ndarray]:
  """Returns the upsampled crops, each `[C, N, H, W, D]`, row by row."""
  h, w = images.shape[2:4]
  s, t = -(-h // rows), -(-w // columns)
  missing = [(0, 0), (0, 0), (0, rows * s - h), (0, columns * t - w), (0, 0)]
  padded = np.pad(images, missing, constant_values=padding)
  return [
    bilinear(padded[:, :, i : i + s, j : j + t], h, w)
    for i in range(0, rows * s, s)
    for j in range(0, columns * t, t)
  ]


def bilinear(images: np.ndarray, height: int, width: int) -> np.ndarray:
  """Resizes `[..., h, w, D]`, half-pixel centres, no antialiasing."""
  vertical = _weights(images.shape[-3], height).astype(images.dtype)
  horizontal = _weights(images.shape[-2], width).astype(images.dtype)
  stretched = np.einsum('yh,...hwd->...ywd', vertical, images)
  return np.einsum('xw,...ywd->...yxd', horizontal, stretched)


def _weights(size: int, target: int) -> np.ndarray:
  """Returns `[target, size]` weights of linear interpolation of an axis."""
  centres = (np.arange(target) + 0.5) * size / target - 0.5
  centres = np.clip(centres, 0, size - 1)
  # Each output pixel mixes the two input pixels less than one pixel away.
  return np.maximum(0, 1 - abs(centres[:, None] - np.arange(size)))
