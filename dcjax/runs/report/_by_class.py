"""Accuracy by class, and which classes are taken for which."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcjax.runs.report import _pictures as pictures
from dcjax.runs.report._headline import SETS
from dcjax.runs.report._html import (
  escape,
  heat,
  is_number,
  note,
  picture,
  table,
)

_FEW = 20  # classes of which every number is shown
_PAIRS = 5


def by_class(
  entries: Mapping[str, Mapping[str, Any]], main: str, names: Sequence[str]
) -> str:
  """Returns bars, a confusion picture and the worst pairs, or nothing.

  Args:
    entries: name -> record of an evaluation, perhaps with 'by_class' and
      'confusion'.
    main: the entry that is shown.
    names: of the classes.
  """
  entry = entries.get(main) or {}
  shares = entry.get('by_class')
  if not shares or len(shares) != len(names):
    return ''
  rival = next(
    (
      n
      for n in ('initial', 'random')
      if len((entries.get(n) or {}).get('by_class') or ()) == len(names)
    ),
    None,
  )
  others = entries[rival]['by_class'] if rival else [None] * len(names)
  words = f'Bars: {SETS.get(main, main)}, mean over networks'
  if rival:
    words += f'; marks: {SETS[rival]}'
  return (
    _bars(shares, others, names)
    + note(f'{words}.')
    + _confusion(entry.get('confusion'), names)
  )


def _bars(shares, others, names):
  rows = list(zip(names, shares, others, strict=True))
  if len(rows) > _FEW:  # the worst and the best say most
    known = sorted((r for r in rows if is_number(r[1])), key=lambda r: r[1])
    rows = known if len(known) <= _FEW else [*known[:10], *known[-10:]]
  cells = []
  for name, share, other in rows:
    style = f'--share:{100 * share:.1f}%' if is_number(share) else ''
    if any(map(is_number, others)):
      style += f';--other:{100 * (other or 0):.1f}%'
    said = f'{100 * share:.0f} %' if is_number(share) else 'no test image'
    cells.append(
      f'<span>{escape(name)}</span><div style="{style}"></div>'
      f'<span>{said}</span>'
    )
  marked = ' both' if any(map(is_number, others)) else ''
  return f'<div class="bars{marked}">{"".join(cells)}</div>'


def _confusion(counts, names):
  if not counts or len(counts) != len(names):
    return ''
  array = np.asarray(counts, float)
  shares = array / np.maximum(array.sum(1, keepdims=True), 1)
  if len(names) <= _FEW:
    cells = [
      [(s, f'{100 * s:.0f}' if s else '') for s in row] for row in shares
    ]
    shown = heat(names, names, cells)
  else:
    grey = np.round(255 * shares).astype(np.uint8)
    address = picture(pictures.encode_png(grey))
    shown = (
      f'<div class="row"><figure><img class="map" src="{address}" '
      'alt="confusion"></figure></div>'
    )
  said = note(
    'Rows: true classes; columns: what they are taken for, percent of the row, '
    'all networks together.'
  )
  apart = shares * (1 - np.eye(len(names)))
  worst = np.argsort(-apart, axis=None, kind='stable')[:_PAIRS]
  pairs = [divmod(int(place), len(names)) for place in worst]
  rows = [
    [names[a], names[b], f'{100 * apart[a, b]:.0f} %']
    for a, b in pairs
    if apart[a, b]
  ]
  header = ['images of', 'taken for', 'how often']
  return f'<h3>Taken for one another</h3>{shown}{said}{table(header, rows)}'
