"""Reads images, and other numbers, of few bits with NumPy alone.

Scales have 11 significant bits and codes at most 8, so that their product is
exact: only the sum with the offset rounds, and it does so alike everywhere.
"""

from collections.abc import Sequence

import numpy as np


def dequantise(
  codes: np.ndarray,
  scales: np.ndarray,
  offsets: np.ndarray,
  bits: int,
  image_shape: Sequence[int],
) -> np.ndarray:
  """Unpacks codes and returns `offset + scale * code`.

  Args:
    codes: uint8 `[..., bytes]`: the codes of an image `[H, W, D]` in this
      order, `bits` bits each, highest bit first, end to end; the last byte is
      filled up with zeros.
    scales: float16 `[..., D]`, or `[..., 1]` for all channels; with an axis
      more than codes `[..., rows, columns]`, see `spread`.
    offsets: float16, as scales.
    bits: of a code.
    image_shape: `(H, W, D)`.

  Returns:
    float32 `[..., H, W, D]`.
  """
  used = int(np.prod(image_shape)) * bits
  single = np.unpackbits(codes, axis=-1)[..., :used]
  single = single.reshape(*codes.shape[:-1], *image_shape, bits)
  values = single @ (2 ** np.arange(bits - 1, -1, -1))
  size = image_shape[:2] if scales.ndim > codes.ndim else None
  scales = spread(scales.astype(np.float32), size)
  offsets = spread(offsets.astype(np.float32), size)
  return values.astype(np.float32) * scales + offsets


def spread(values, size=None):
  """Brings scales to the pixels `[..., H, W, D]` that they are of.

  Args:
    values: `[..., D or 1]`; of patches `[..., rows, columns]`, each of
      `ceil(H / rows)` by `ceil(W / columns)` pixels, the last ones of what is
      left. Arrays of NumPy or JAX.
    size: `(H, W)` of patches.

  Returns:
    `[..., 1, 1, D or 1]`, or `[..., H, W, 1]`.
  """
  if size is None:
    return values[..., None, None, :]
  for axis, pixels in zip((-2, -1), size, strict=True):
    values = values.repeat(-(-pixels // values.shape[axis]), axis=axis)
  return values[..., : size[0], : size[1], None]
