"""Draws pictures of the README.

python docs/figures.py pair RUN      # start over condensed, of a run's folder
python docs/figures.py speed         # ratios of docs/speed.md as bars
"""

import pathlib
import re
import sys

import numpy as np

from dcjax import pictures

_DOCS = pathlib.Path(__file__).resolve().parent
_SIDE, _GAP = 4, 6  # enlargement; pixels between images
_LINE, _LEFT, _WIDTH = 26, 200, 640  # of the bars
_STYLE = """text { font: 14px system-ui, sans-serif; fill: #1c1c1e }
.ours { fill: #1f6fb4 } .base { fill: #8a8a8a }
@media (prefers-color-scheme: dark) { text { fill: #e8e8ea }
.ours { fill: #6fb2f2 } }"""


def pair(run: pathlib.Path) -> bytes:
  """A PNG: the first image of each class, at the start and condensed."""
  rows = []
  for name, key in (('stages/start', 'images'), ('condensed', 'params/images')):
    with np.load(run / f'{name}.npz', allow_pickle=False) as file:
      images = pictures.to_uint8(file[key][:, 0])
    images = images.repeat(_SIDE, 1).repeat(_SIDE, 2)
    edges = ((0, 0), (_GAP, 0), (_GAP, 0), (0, 0))
    rows.append(np.concatenate(np.pad(images, edges, constant_values=255), 1))
  return pictures.encode_png(np.concatenate(rows), 1)


def ratios(page: str) -> list[tuple[str, float]]:
  """What was timed at ten images per class, and its wall ratio."""
  found = []
  for line in page.splitlines():
    cells = [cell.strip() for cell in line.strip('|').split('|')]
    if re.fullmatch(r'32|128', cells[0]) and cells[2:3] == ['10']:
      cells = ['IDC', *cells[:2], *cells[3:]]
    if cells[0] not in ('IDC', 'DM', 'DC') or len(cells) < 7:
      continue
    method, width, size = cells[:3]
    found.append((f'{method}, width {width}, {size}', float(cells[5])))
  return found


def bars(found: list[tuple[str, float]]) -> str:
  """An SVG that is right on light and on dark pages."""
  height, end = _LINE * (len(found) + 1), _WIDTH - 60
  drawn = []
  for place, (name, ratio) in enumerate([('PyTorch', 1.0), *found]):
    top, long = _LINE * place, ratio * (end - _LEFT)
    kind = 'ours' if place else 'base'
    drawn.append(
      f'<text x="{_LEFT - 10}" y="{top + 17}" text-anchor="end">{name}</text>'
      f'<rect class="{kind}" x="{_LEFT}" y="{top + 4}" width="{long:.0f}" '
      f'height="18"/><text x="{_LEFT + long + 8:.0f}" y="{top + 17}">'
      f'{ratio:.2f}</text>'
    )
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
    f'width="{_WIDTH}" height="{height}"><style>{_STYLE}</style>\n'
    + '\n'.join(drawn)
    + '\n</svg>\n'
  )


def main(what: str, *runs: str) -> None:
  if what == 'pair':
    (_DOCS / 'images/pair.png').write_bytes(pair(pathlib.Path(*runs)))
  else:
    page = (_DOCS / 'speed.md').read_text(encoding='utf-8')
    (_DOCS / 'images/speed.svg').write_text(bars(ratios(page)))


if __name__ == '__main__':
  main(*sys.argv[1:])
