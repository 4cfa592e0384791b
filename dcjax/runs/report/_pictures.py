"""Pictures of image sets and of curves, for eyes only."""

import io
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dcjax import files

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_GAP = 127  # Grey: apart from both dark and light images and pages.
_COLOURS = ('#3d85c6', '#e07b39', '#6aa84f', '#a64d79', '#8e7cc3')


def image_grid(
  images: np.ndarray,
  *,
  value_range: Sequence[float | None] = (0.0, 1.0),
  max_columns: int = 10,
  gap: int = 2,
) -> np.ndarray:
  """Lays images out with one row per class.

  Args:
    images: `[C, N, H, W, D]`, uint8 or floats; shown are the first three
      channels, or the first if there are one or two.
    value_range: floats drawn black and white; None: the lowest or highest
      value there is, as for spectrograms. uint8 images are drawn as they are.
    max_columns: most images drawn of a class.
    gap: pixels between images.

  Returns:
    uint8 `[rows, columns, 1 or 3]`.

  Raises:
    ValueError: `images` has another rank or is empty.

  Example:
    save_png('images.png', image_grid(formation.decode(params).images))
  """
  images = np.asarray(images)
  if images.ndim != 5 or not images.size:
    raise ValueError(
      f'images must have shape [C, N, H, W, D], got {images.shape}.'
    )
  images = images[:, :max_columns]
  images = _to_uint8(
    images[..., : 3 if images.shape[-1] >= 3 else 1], value_range
  )
  num_classes, columns, height, width, depth = images.shape
  padding = [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)]
  tiles = np.pad(images, padding, constant_values=_GAP)
  grid = tiles.transpose(0, 2, 1, 3, 4).reshape(
    num_classes * (height + gap), columns * (width + gap), depth
  )
  return grid[: len(grid) - gap, : grid.shape[1] - gap]


def save_png(
  path: str | os.PathLike[str], array: np.ndarray, scale: int | None = None
) -> None:
  """Writes a uint8 array as a PNG file, enlarged so that a person can see it.

  The file is written whole or not at all.

  Args:
    path: file to write.
    array: uint8 `[H, W, 1]`, `[H, W, 3]` or `[H, W]`.
    scale: whole factor of nearest-neighbour enlargement; None: as large as
      keeps the longer side within 1000 pixels, at most 8.

  Raises:
    ValueError: the array is no picture, or `scale` is below 1.
    OSError: the file cannot be written; names it.
  """
  content = encode_png(array, scale)
  with files.replacing(path) as stream:
    stream.write(content)


def encode_png(
  array: np.ndarray, scale: int | None = None, max_side: int | None = None
) -> bytes:
  """Returns the bytes of the PNG file that `save_png` writes.

  Args:
    array: see `save_png`.
    scale: see `save_png`.
    max_side: larger pictures are shrunk to this longer side, in pixels.

  Raises:
    ValueError: see `save_png`.
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
  if max_side is not None:
    picture.thumbnail((max_side, max_side))
  stream = io.BytesIO()
  picture.save(stream, 'png', optimize=True)
  return stream.getvalue()


def curve(
  lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  *,
  x_label: str,
  y_label: str,
  bands: Mapping[str, Sequence[float]] | None = None,
  levels: Mapping[str, float] | None = None,
  log: bool = False,
  colour: str = 'black',
) -> 'Figure':
  """Draws lines over seconds or steps.

  Args:
    lines: name -> (x, y), of equal length.
    x_label: what x is, with its unit.
    y_label: what y is, with its unit.
    bands: name of a line -> half the height of a band around it, such as one
      standard deviation.
    levels: name -> value of a dashed horizontal line, such as a baseline.
    log: whether y is drawn on a logarithmic scale.
    colour: of axes and text.

  Returns:
    A matplotlib figure with transparent background: `figure.savefig(path)`.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5.0, 3.2), layout='constrained')
  figure.patch.set_alpha(0)
  axes = figure.subplots()
  for i, (name, (x, y)) in enumerate(lines.items()):
    line_colour = _COLOURS[i % len(_COLOURS)]
    marker = 'o' if len(x) < 30 else None
    axes.plot(x, y, color=line_colour, label=_text(name), marker=marker, ms=4)
    if name in (bands or {}):
      y, half = np.asarray(y), np.asarray(bands[name])
      axes.fill_between(
        x, y - half, y + half, color=line_colour, alpha=0.25, linewidth=0
      )
  for i, (name, value) in enumerate((levels or {}).items(), len(lines)):
    axes.axhline(
      value,
      color=_COLOURS[i % len(_COLOURS)],
      linestyle='--',
      label=_text(name),
    )
  _style(axes, x_label, y_label, log, colour)
  return figure


def _text(name: str) -> str:
  """A name as it is: no formula, and not left out for its underscore."""
  name = name.replace('$', r'\$')
  return f' {name}' if name.startswith('_') else name


def _style(axes, x_label: str, y_label: str, log: bool, colour: str):
  axes.set_xlabel(x_label, color=colour)
  axes.set_ylabel(y_label, color=colour)
  if log:
    axes.set_yscale('log')
  axes.tick_params(which='both', colors=colour)
  axes.patch.set_alpha(0)
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  axes.spines[['left', 'bottom']].set_color(colour)
  if len(axes.get_legend_handles_labels()[0]) > 1:
    axes.legend(labelcolor=colour, frameon=False)


def _to_uint8(
  images: np.ndarray, value_range: Sequence[float | None]
) -> np.ndarray:
  if images.dtype == np.uint8:
    return images
  images = np.nan_to_num(images.astype(np.float32))
  low, high = value_range
  low = images.min() if low is None else low
  high = images.max() if high is None else high
  scaled = (images - low) / max(high - low, 1e-12)
  return np.round(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
