"""Images class by class, enlarged on click, and a film of how they came."""

from collections.abc import Mapping, Sequence

import numpy as np

from dcjax.runs.report import _pictures as pictures
from dcjax.runs.report._html import escape, note, picture

VARIANTS = {
  'stored': 'condensed, as stored',
  'decoded': 'condensed, decoded',
  'nearest': 'nearest real image',
  'start': 'start of the condensation',
  'real': 'real images',
}
_SIDE = 128  # pixels of an image on the page, at most
_FEW = 64  # pixels of a side below which single pixels are shown


def gallery(
  variants: Mapping[str, np.ndarray], class_names: Sequence[str], classes: int
) -> str:
  """Returns a gallery with names of classes, or nothing.

  Args:
    variants: name, of `VARIANTS` or another, -> uint8 `[C, n, H, W, 1 or 3]`.
      The first one is shown first. Where one holds `k` times as many as
      another, `k` neighbours belong to one image of the other.
    class_names: of the first `C` classes, or of all.
    classes: how many there are in all.
  """
  if not variants:
    return ''
  first = next(iter(variants.values()))
  slots = min(images.shape[1] for images in variants.values())
  smooth = ' smooth' if min(first.shape[2:4]) > _FEW else ''
  tile = ' style="--tile:7rem"' if slots == 1 else ''
  tabs = ''.join(
    f'<button data-variant="{escape(name)}" aria-pressed="{_true(i == 0)}">'
    f'{escape(VARIANTS.get(name, name))}</button>'
    for i, name in enumerate(variants)
  )
  figures = []
  for c in range(len(first)):
    name = class_names[c] if c < len(class_names) else str(c)
    strips = (
      _strip(variant, images[c], images.shape[1] // slots, i == 0, name)
      for i, (variant, images) in enumerate(variants.items())
    )
    figures.append(
      f'<figure><figcaption>{escape(name)}</figcaption>{"".join(strips)}'
      '</figure>'
    )
  left_out = ''
  if len(first) < classes:
    left_out = note(f'The first {len(first)} of {classes} classes.')
  return (
    f'<div class="tabs">{tabs}</div>'
    f'<div class="kinds{smooth}"{tile}>{"".join(figures)}</div>{left_out}'
    + note('Click on an image to see it large, beside what belongs to it.')
    + '<dialog></dialog>'
  )


def _true(value):
  return 'true' if value else 'false'


def _strip(variant, images, per, shown, name):
  """One picture of all images of a class, cut into tiles by the page."""
  n, height, width, _ = images.shape
  strip = images.transpose(1, 0, 2, 3).reshape(height, n * width, -1)
  address = picture(pictures.encode_png(strip, 1, tallest=_SIDE))
  said = escape(VARIANTS.get(variant, variant))
  tiles = ''.join(
    f'<button class="tile" style="--i:{i}" '
    f'aria-label="{escape(name)}, {said}, {i + 1}"></button>'
    for i in range(n)
  )
  return (
    f'<div class="strip" data-variant="{escape(variant)}" data-per="{per}" '
    f'title="{said}" style="--n:{n};--shape:{width}/{height};'
    f'--strip:url({address})"{"" if shown else " hidden"}>{tiles}</div>'
  )


def film(frames: Sequence[tuple[str, bytes]]) -> str:
  """Returns pictures of a set over time with a slider, or nothing.

  Args:
    frames: (what is said of it, PNG file), from the start to now.
  """
  if len(frames) < 2:
    return ''
  last, content = frames[-1]
  strip = ''.join(
    f'<img src="{picture(png)}" alt="{escape(said)}" title="{escape(said)}">'
    for said, png in frames
  )
  return (
    f'<div class="film"><img src="{picture(content)}" alt="">'
    f'<input type="range" min="0" max="{len(frames) - 1}" '
    f'value="{len(frames) - 1}" aria-label="when" hidden>'
    f'<output>{escape(last)}</output>'
    f'<div class="wide"><div class="strip">{strip}</div></div></div>'
  )
