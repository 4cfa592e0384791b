"""One picture of a file as pixels: every mode of Pillow on purpose, or not."""

from __future__ import annotations

import collections
import contextlib
import functools
import pathlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dcjax import files
from dcjax.data._listing import Kind

if TYPE_CHECKING:
  from PIL import Image

# Files that Pillow identifies but does not decode itself, or that are no
# photographs or drawings.
_NO_PICTURES = frozenset(
  (
    *('BUFR', 'EPS', 'FITS', 'FTEX', 'GBR', 'GRIB', 'HDF5', 'IPTC', 'MPEG'),
    *('PCD', 'PSD', 'WMF'),
  )
)
_PLAIN = frozenset(('1', 'L', 'RGB', 'RGBX', 'CMYK', 'YCbCr', 'HSV', 'P'))
_ALPHA = frozenset(('LA', 'La', 'PA', 'RGBA', 'RGBa'))
_SIXTEEN = frozenset(('I;16', 'I;16L', 'I;16B', 'I;16N'))
# Pillow reads these 16-bit files as 32-bit integers.
_WIDENED = frozenset(('PNG', 'PPM'))
_ANIMATED = frozenset(('GIF', 'PNG', 'WEBP', 'TIFF', 'AVIF', 'FLI', 'DCX'))
_ORIENTATION = 0x0112
# Tags of TIFF, and the value of the second where white is zero.
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_GROUND = 'white'
_LAID = f'with transparency are laid on {_GROUND}'
# Of a picture that is resized, as Pillow bounds those that it opens.
_MOST_PIXELS = 2**28


class Reader(NamedTuple):
  """How files become pixels, and what was done to them.

  Attributes:
    read: path -> `[H, W, D]` uint8; called from several threads at once.
    notes: () -> sentences about the pictures that were read so far.
  """

  read: Callable[[pathlib.Path], np.ndarray]
  notes: Callable[[], tuple[str, ...]]


@functools.cache
def kind() -> Kind:
  """Returns pictures: all suffixes of files that Pillow decodes."""
  from PIL import Image

  Image.init()
  suffixes = {
    suffix
    for suffix, format_ in Image.registered_extensions().items()
    if format_ in Image.OPEN and format_ not in _NO_PICTURES
  }
  return Kind('pictures', frozenset(suffixes))


def reader(size: int | None, grayscale: bool, as_published: bool) -> Reader:
  """Returns a reader of picture files.

  Args:
    size: see `resize_and_crop`; None leaves the size.
    grayscale: one channel instead of three.
    as_published: read as the references of published sets do: whatever the
      mode, `convert('RGB')`, and no turning by EXIF.
  """
  done: collections.Counter[str] = collections.Counter()
  lock = threading.Lock()

  def read(path):
    with _opened(path) as file:
      picture = file
      if not as_published:
        picture, what = _converted(file)
        with lock:
          done.update(what)
      return pixels_of(picture, size, grayscale)

  def notes():
    return tuple(f'{n} pictures {what}' for what, n in sorted(done.items()))

  return Reader(read, notes)


def pixels_of(
  image: Image.Image, size: int | None, grayscale: bool
) -> np.ndarray:
  """Returns `[H, W, D]` uint8 of a picture, D 3, or 1 for grayscale.

  Args:
    image: of a mode that Pillow converts.
    size: see `resize_and_crop`; None leaves the size.
    grayscale: whether colours are averaged, before resizing.
  """
  image = image.convert('L' if grayscale else 'RGB')
  image = image if size is None else resize_and_crop(image, size)
  pixels = np.asarray(image)
  return pixels[..., None] if grayscale else pixels


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
  """Returns the central square of an image made `size` pixels high or wide.

  The shorter side is resized to `size` (bilinear, antialiased), as IDC prepares
  ImageNet.

  Raises:
    ValueError: it is so long that resizing would take too much memory.
  """
  from PIL import Image

  width, height = image.size
  short = min(width, height)
  width, height = int(size * width / short), int(size * height / short)
  if width * height > _MOST_PIXELS:
    raise ValueError(
      f'{image.size[0]}x{image.size[1]} would be resized to {width}x{height}; '
      f'allowed are {_MOST_PIXELS} pixels'
    )
  image = image.resize((width, height), Image.Resampling.BILINEAR)
  left, top = round((width - size) / 2), round((height - size) / 2)
  return image.crop((left, top, left + size, top + size))


@contextlib.contextmanager
def _opened(path: pathlib.Path):
  from PIL import Image, UnidentifiedImageError

  try:
    with files.opened(path) as stream, Image.open(stream) as file:
      yield file
  except Image.DecompressionBombError as error:
    raise ValueError(
      f'{path} is too large ({files.one_line(error)}): make it smaller.'
    ) from error
  except UnidentifiedImageError as error:
    raise ValueError(
      f'{path} is not readable as image file: its content is no picture that '
      'Pillow knows.'
    ) from error
  except (FileNotFoundError, PermissionError, ImportError):
    raise
  # Pillow's decoders raise nearly anything.
  except Exception as error:
    raise ValueError(
      f'{path} is not readable as image file: {files.one_line(error)}.'
    ) from error


def _converted(image: Image.Image) -> tuple[Image.Image, list[str]]:
  """Returns a picture of mode 'L' or 'RGB', upright, and what was done to it.

  Raises:
    ValueError: the mode has no meaning in 8 bits, or there are several frames.
  """
  frames = getattr(image, 'n_frames', 1)
  if frames > 1 and image.format in _ANIMATED:
    raise ValueError(f'it has {frames} frames; allowed is 1')
  done = []
  image.load()  # which turns some formats by itself
  turn = _turn_of(image)
  if image.mode in _SIXTEEN or image.mode == 'I':
    image, done = _eight_bits(image)
  elif image.mode in _ALPHA or 'transparency' in image.info:
    image = _on_ground(image)
    done.append(_LAID)
  elif image.mode not in _PLAIN:
    raise ValueError(
      f'its mode is {image.mode}; allowed are 8-bit modes and 16-bit grey'
    )
  if turn is not None:
    image = image.transpose(turn)
    done.append('are turned as their EXIF orientation says')
  return image, done


def _turn_of(image: Image.Image) -> Image.Transpose | None:
  """Returns what makes a picture upright, None where EXIF cannot be read."""
  from PIL import Image

  turns = Image.Transpose
  try:
    orientation = image.getexif().get(_ORIENTATION, 1)
    return {
      2: turns.FLIP_LEFT_RIGHT,
      3: turns.ROTATE_180,
      4: turns.FLIP_TOP_BOTTOM,
      5: turns.TRANSPOSE,
      6: turns.ROTATE_270,
      7: turns.TRANSVERSE,
      8: turns.ROTATE_90,
    }.get(orientation)
  # EXIF is read by a parser of its own; the pixels may be whole.
  except Exception:
    return None


def _eight_bits(image: Image.Image) -> tuple[Image.Image, list[str]]:
  """Returns 12 or 16-bit grey as mode 'L', and what was done to it."""
  from PIL import Image

  values = np.asarray(image)
  if image.mode == 'I' and (
    image.format not in _WIDENED
    or not 0 <= values.min() <= values.max() < 2**16
  ):
    raise ValueError(
      f'its mode is I, 32-bit integers {values.min()}..{values.max()}; allowed '
      'are 8-bit modes and 16-bit grey'
    )
  tags = getattr(image, 'tag_v2', {})
  bits = tags.get(_BITS, (16,))[0]
  pixels = (values.astype(np.uint32) >> (bits - 8)).astype(np.uint8)
  if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
    pixels = 255 - pixels
  done = [f'of {bits} bits are scaled to 8']
  if 'transparency' in image.info:
    pixels[values == image.info['transparency']] = 255
    done.append(_LAID)
  return Image.fromarray(pixels), done


def _on_ground(image: Image.Image) -> Image.Image:
  from PIL import Image

  if image.mode == 'La':  # which converts to nothing else
    image = image.convert('LA')
  clear = image.info.get('transparency')
  if isinstance(clear, tuple) and max(clear) > 255:  # of a 16-bit PNG
    image.info['transparency'] = tuple(c >> 8 for c in clear)
  image = image.convert('RGBA')
  ground = Image.new('RGBA', image.size, _GROUND)
  return Image.alpha_composite(ground, image).convert('RGB')
