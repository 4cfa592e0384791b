"""Images as pictures: bytes of eight bits, and PNG files."""

import io
from collections.abc import Sequence

import numpy as np


def to_uint8(
  images: np.ndarray, value_range: Sequence[float | None] = (0.0, 1.0)
) -> np.ndarray:
  """Rounds images to 256 values.

  Args:
    images: any shape, floats, or uint8, which stay as they are.
    value_range: the values that become 0 and 255; None: the lowest or highest
      value there is. NaN counts as 0.

  Returns:
    uint8 of the same shape.
  """
  if images.dtype == np.uint8:
    return images
  images = np.nan_to_num(images.astype(np.float32))
  low, high = value_range
  low = images.min() if low is None else low
  high = images.max() if high is None else high
  scaled = (images - low) / max(high - low, 1e-12)
  return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)


def encode_png(
  array: np.ndarray, scale: int | None = None, tallest: int | None = None
) -> bytes:
  """Returns the bytes of a PNG file.

  Args:
    array: uint8 `[H, W, 1]`, `[H, W, 3]` or `[H, W]`.
    scale: whole factor of nearest-neighbour enlargement; None: as large as
      keeps the longer side within 1000 pixels, at most 8.
    tallest: pictures of more rows than this are shrunk.

  Raises:
    ValueError: the array is no picture, or `scale` is below 1.
  """
  from PIL import Image

  array = np.asarray(array)
  plain = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
  colour = plain.ndim == 3 and plain.shape[2] == 3
  if (
    array.dtype != np.uint8 or not array.size or not (colour or plain.ndim == 2)
  ):
    raise ValueError(
      'a picture must be uint8 [H, W, 1], [H, W, 3] or [H, W], got'
      f' {array.dtype} {array.shape}.'
    )
  if scale is None:
    scale = min(8, max(1, 1000 // max(plain.shape[:2])))
  if scale < 1:
    raise ValueError(f'scale must be at least 1, got {scale}.')
  picture = Image.fromarray(plain)
  size = (picture.width * scale, picture.height * scale)
  picture = picture.resize(size, Image.Resampling.NEAREST)
  if tallest is not None and picture.height > tallest:
    width = round(picture.width * tallest / picture.height)
    picture = picture.resize((width, tallest), Image.Resampling.BOX)
  stream = io.BytesIO()
  picture.save(stream, 'png', optimize=True)
  return stream.getvalue()
