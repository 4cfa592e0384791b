"""Reads images of few bits with NumPy alone.

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
    codes: uint8 `[C, N, bytes]`: the codes of an image `[H, W, D]` in this
      order, `bits` bits each, highest bit first, end to end; the last byte is
      filled up with zeros.
    scales: float16 `[C, N, D]`, or `[C, N, 1]` for all channels.
    offsets: float16, as scales.
    bits: of a code.
    image_shape: `(H, W, D)`.

  Returns:
    float32 `[C, N, H, W, D]`.
  """
  size = int(np.prod(image_shape))
  single = np.unpackbits(codes, axis=-1)[..., : size * bits]
  single = single.reshape(*codes.shape[:2], *image_shape, bits)
  values = single @ (2 ** np.arange(bits - 1, -1, -1))
  scales = scales.astype(np.float32)[:, :, None, None]
  offsets = offsets.astype(np.float32)[:, :, None, None]
  return values.astype(np.float32) * scales + offsets
