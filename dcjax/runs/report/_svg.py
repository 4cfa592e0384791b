"""Plots as SVG text: in a page, where they follow its colours, or as files."""

import html
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Of a plot with its legend below; text is as large as in the page around it
# when a plot is as wide as a phone.
WIDTH, _HEIGHT, _TOP, _RIGHT, _BOTTOM = 420, 260, 12, 14, 44
_LETTER = 6.2  # width of a letter, roughly
_LINE = 17  # height of a line of the legend
_COLOURS = 8
_DASHES = ('', '6 3', '2 3')

STYLE = """
:root { --c0: #1f6fb4; --c1: #c4521a; --c2: #2e7d32; --c3: #9c3d7a;
  --c4: #6a51b0; --c5: #86690a; --c6: #00798a; --c7: #6b6b6b; }
@media (prefers-color-scheme: dark) { :root { --c0: #6fb2f2; --c1: #f2935c;
  --c2: #7dc681; --c3: #e38cc4; --c4: #ad9df2; --c5: #d9ba46; --c6: #52c5d3;
  --c7: #b3b3b3; } }
.plot { font: 12px system-ui, sans-serif; fill: currentColor; }
.plot .grid { stroke: currentColor; opacity: .15; }
.plot .axis { stroke: currentColor; opacity: .6; }
"""
_ALONE = """
svg { color: #222; } @media (prefers-color-scheme: dark) { svg { color: #ddd; }}
"""


class Series(NamedTuple):
  """Points, and how they are drawn.

  Attributes:
    name: in the legend; '' leaves it out.
    x: of the points.
    y: of the points.
    spread: of each point, such as one standard deviation; () for none.
    kind: 'line', 'dots', 'rings', 'steps' (the highest so far), or 'level' (all
      the way across, at its only y).
    colour: series of the same number share a colour; None: its place.
    dashed: whether it stands for something that was not made here.
    labels: of the points, shown under the pointer; () for their numbers.
  """

  name: str
  x: Sequence[float]
  y: Sequence[float]
  spread: Sequence[float] = ()
  kind: str = 'line'
  colour: int | None = None
  dashed: bool = False
  labels: Sequence[str] = ()


def number(value: float) -> str:
  """Returns a number as it stands at an axis: `1200`, `0.25`, `3e-05`."""
  return f'{value:.4g}'


class Plot(NamedTuple):
  """What is drawn.

  Attributes:
    title: what it shows; said below it.
    series: the first one lies below.
    x_label: of the x axis.
    y_label: of the y axis.
    log_x: whether x is logarithmic; it is above 0 then.
    log_y: whether y is.
    ticks: names at x = 0, 1, ...; () for numbers.
    x_format: how x is said.
  """

  title: str
  series: Sequence[Series]
  x_label: str
  y_label: str = 'test accuracy, %'
  log_x: bool = False
  log_y: bool = False
  ticks: Sequence[str] = ()
  x_format: Callable[[float], str] = number


class _Scale(NamedTuple):
  """From numbers to places: `at(value)`, and where its ticks are."""

  at: Callable[[float], float]
  ticks: list[float]


def document(plots: Sequence[Plot]) -> str:
  """Returns plots, one below the other, as an SVG file of its own."""
  parts, top = [], 0
  for plot in plots:
    height = _height(plot)
    parts.append(f'<g transform="translate(0 {top})">{_drawn(plot)}</g>')
    top += height
  return (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
    f'class="plot"><style>{STYLE}{_ALONE}</style>{"".join(parts)}</svg>\n'
  )


def figure(plot: Plot) -> str:
  """Returns a plot as a figure of a page that has `STYLE`."""
  title = html.escape(plot.title)
  return (
    f'<figure><svg viewBox="0 0 {WIDTH} {_height(plot)}" class="plot" '
    f'role="img" aria-label="{title}">{_drawn(plot)}</svg>'
    f'<figcaption>{title}</figcaption></figure>'
  )


def _height(plot):
  rows = len(_legend_rows(plot))
  return _HEIGHT + _LINE * rows + (8 if rows else 0)


def _drawn(plot: Plot) -> str:
  left = 16 + _LETTER * max(len(number(t)) for t in _ticks_y(plot)) + 14
  x = _x_scale(plot, left, WIDTH - _RIGHT)
  y = _y_scale(plot, _HEIGHT - _BOTTOM, _TOP)
  parts = [*_axes(plot, x, y, left)]
  for place, series in enumerate(plot.series):
    parts += _series(plot, series, _look(plot, place), x, y, left)
  return ''.join([*parts, *_legend(plot)])


def _ticks_y(plot):
  return _y_scale(plot, 1, 0).ticks


def _look(plot, place):
  """Colour and dashes of a series."""
  series = plot.series[place]
  number = place if series.colour is None else series.colour
  again = number // _COLOURS % len(_DASHES)
  dashes = _DASHES[again] or ('5 4' if series.dashed else '')
  return f'var(--c{number % _COLOURS})', dashes


def _x_scale(plot, low, high):
  if plot.ticks:
    step = (high - low) / len(plot.ticks)
    places = [float(i) for i in range(len(plot.ticks))]
    return _Scale(lambda value: low + step * (value + 0.5), places)
  values = [v for s in plot.series if s.kind != 'level' for v in s.x] or [0.0]
  return _scale(values, plot.log_x, low, high, most=5)


def _y_scale(plot, low, high):
  values = []
  for series in plot.series:
    spread = series.spread or [0.0] * len(series.y)
    values += [v - s for v, s in zip(series.y, spread, strict=True)]
    values += [v + s for v, s in zip(series.y, spread, strict=True)]
  if plot.log_y:
    values = [v for v in values if v > 0]
  return _scale(values or [0.0], plot.log_y, low, high, most=6)


def _scale(values, log, low, high, most):
  first, last = min(values), max(values)
  if log:
    ticks = _decades(first, last)
    first, last = math.log10(first), math.log10(last)
  if last == first:
    first, last = first - (abs(first) / 20 or 1), last + (abs(last) / 20 or 1)
  margin = (last - first) * 0.04
  first, last = first - margin, last + margin
  if not log:
    ticks = _steps(
      first, last, most, all(float(v).is_integer() for v in values)
    )

  def at(value):
    value = math.log10(value) if log else value
    return low + (high - low) * (value - first) / (last - first)

  if log:
    ticks = [t for t in ticks if first <= math.log10(t) <= last]
  return _Scale(at, ticks)


def _steps(first, last, most, whole):
  """Round numbers between two numbers."""
  raw = (last - first) / most
  power = 10.0 ** math.floor(math.log10(raw))
  step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
  step = max(step, 1.0) if whole else step
  start = math.ceil(first / step - 1e-9)
  count = math.floor(last / step + 1e-9) - start + 1
  return [round((start + i) * step, 10) for i in range(count)]


def _decades(first, last):
  """Powers of ten; where there are few, their twofold and fivefold, too."""
  low, high = math.floor(math.log10(first)), math.ceil(math.log10(last))
  every = max(1, -(-(high - low) // 6))
  between = (1,) if high - low > 2 else (1, 2, 5)
  powers = range(low, high + 1, every)
  return [m * 10.0**p for p in powers for m in between]


def _axes(plot, x, y, left):
  bottom = _HEIGHT - _BOTTOM
  for tick in y.ticks:
    at = y.at(tick)
    yield f'<path class="grid" d="M{left:.1f} {at:.1f}H{WIDTH - _RIGHT}"/>'
    yield _text(left - 6, at + 4, number(tick), 'end')
  said = plot.ticks or [plot.x_format(tick) for tick in x.ticks]
  room = (WIDTH - _RIGHT - left) / max(1, len(said))
  last = -math.inf
  for tick, name in zip(x.ticks, said, strict=True):
    at = x.at(tick)
    short = _cut(name, max(3, int(room / _LETTER))) if plot.ticks else name
    half = len(short) * _LETTER / 2
    if not plot.ticks:
      yield f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom}"/>'
    if at - half < last + 4 or at + half > WIDTH:
      continue
    yield _text(at, bottom + 16, short, 'middle')
    last = at + half
  yield f'<path class="axis" fill="none" d="M{left:.1f} {_TOP}V{bottom}'
  yield f'H{WIDTH - _RIGHT}"/>'
  middle = (left + WIDTH - _RIGHT) / 2
  yield _text(middle, bottom + 34, plot.x_label, 'middle')
  turned = f' transform="rotate(-90 11 {bottom / 2 + 6:.0f})"'
  yield _text(11, bottom / 2 + 6, plot.y_label, 'middle', turned)


def _text(x, y, words, anchor='start', more=''):
  return (
    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>'
    f'{html.escape(words)}</text>'
  )


def _cut(text, most):
  return text if len(text) <= most else text[: most - 1] + '…'


def _series(plot, series, look, x, y, left):
  colour, dashes = look
  stroke = f' stroke="{colour}" stroke-width="1.8"'
  stroke += f' stroke-dasharray="{dashes}"' if dashes else ''
  if series.kind == 'level':
    at = y.at(series.y[0])
    yield f'<path{stroke} d="M{left:.1f} {at:.1f}H{WIDTH - _RIGHT}"/>'
    return
  points = [
    (x.at(a), y.at(b))
    for a, b in zip(series.x, series.y, strict=True)
    if not (plot.log_y and b <= 0)
  ]
  if series.kind in ('line', 'steps') and points:
    yield f'<path fill="none"{stroke} d="{_way(points, series.kind)}"/>'
  if series.spread and series.kind == 'line' and not plot.ticks:
    yield _band(series, colour, x, y)
  elif series.spread:
    yield from _bars(series, colour, x, y)
  if series.kind == 'steps' or (series.kind == 'line' and len(points) > 30):
    return
  fill = f'none" stroke="{colour}' if series.kind == 'rings' else colour
  small = len(points) > 60
  for i, (a, b) in enumerate(points):
    said = series.labels[i] if series.labels else _said(plot, series, i)
    yield (
      f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{1.8 if small else 3.4}" '
      f'fill="{fill}">'
      + ('' if small else f'<title>{html.escape(said)}</title>')
      + '</circle>'
    )


def _said(plot, series, i):
  at = plot.ticks[int(series.x[i])] if plot.ticks else None
  at = plot.x_format(series.x[i]) if at is None else at
  spread = f' ± {number(series.spread[i])}' if series.spread else ''
  name = f'{series.name}: ' if series.name else ''
  return f'{name}{at}, {number(series.y[i])}{spread}'


def _way(points, kind):
  if kind == 'line':
    return 'M' + 'L'.join(f'{a:.1f} {b:.1f}' for a, b in points)
  first, *rest = points
  steps = ''.join(f'H{a:.1f}V{b:.1f}' for a, b in rest)
  return f'M{first[0]:.1f} {first[1]:.1f}{steps}H{WIDTH - _RIGHT}'


def _band(series, colour, x, y):
  rows = list(zip(series.x, series.y, series.spread, strict=True))
  there = [f'{x.at(a):.1f} {y.at(b + s):.1f}' for a, b, s in rows]
  back = [f'{x.at(a):.1f} {y.at(b - s):.1f}' for a, b, s in reversed(rows)]
  way = 'L'.join([*there, *back])
  return f'<path fill="{colour}" opacity=".2" d="M{way}Z"/>'


def _bars(series, colour, x, y):
  for a, b, s in zip(series.x, series.y, series.spread, strict=True):
    at, top, bottom = x.at(a), y.at(b + s), y.at(b - s)
    ends = f'M{at - 4:.1f} {top:.1f}h8M{at - 4:.1f} {bottom:.1f}h8'
    way = f'M{at:.1f} {top:.1f}V{bottom:.1f}{ends}'
    yield f'<path stroke="{colour}" d="{way}"/>'


def _legend_rows(plot):
  """Places of the named series, one or two in a row."""
  named = [i for i, series in enumerate(plot.series) if series.name]
  if len(named) < 2:
    return []
  longest = max(len(plot.series[i].name) for i in named)
  columns = 2 if longest * _LETTER + 34 < WIDTH / 2 else 1
  return [named[i : i + columns] for i in range(0, len(named), columns)]


def _legend(plot):
  for line, places in enumerate(_legend_rows(plot)):
    for column, place in enumerate(places):
      left = 8 + column * WIDTH / 2
      at = _HEIGHT + 8 + _LINE * line
      colour, dashes = _look(plot, place)
      series = plot.series[place]
      if series.kind in ('dots', 'rings'):
        fill = f'none" stroke="{colour}' if series.kind == 'rings' else colour
        yield f'<circle cx="{left + 10}" cy="{at}" r="3.4" fill="{fill}"/>'
      else:
        dash = f' stroke-dasharray="{dashes}"' if dashes else ''
        yield f'<path stroke="{colour}" stroke-width="2"{dash} '
        yield f'd="M{left} {at}h20"/>'
      yield _text(left + 26, at + 4, _cut(series.name, 60))
