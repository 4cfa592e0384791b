"""Loss and accuracy over time, as plots inside the report."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcjax.runs.report import _pictures as drawing
from dcjax.runs.report._html import is_number

SETS = {
  'condensed': 'condensed set',
  'fresh': 'fresh samples of the generator: NOT a fixed set',
  'initial': 'start of the condensation',
  'condensed_hard': 'condensed set, hard labels',
  'condensed_plain': 'condensed set, no augmentation',
  'random': 'random real images',
  'random_hard': 'random real images, hard labels',
  'random_updates': 'random real images, as many updates',
  'herding_updates': 'herding, as many updates',
  'random_plain': 'random real images, no augmentation',
  'herding': 'herding (chosen real images)',
  'whole': 'all real images',
}
_MARK = '#010203'  # Stands for the page's text colour inside a plot.
_MAX_POINTS = 400


def curves(
  results: Mapping[str, Any], metrics: Sequence[Mapping[str, float]]
) -> str:
  """Returns the plots that results and metrics allow, or nothing."""
  plots = [_loss_curve(metrics), _accuracy_curve(results)]
  plots = [plot for plot in plots if plot]
  return f'<div class="row">{"".join(plots)}</div>' if plots else ''


def _loss_curve(metrics: Sequence[Mapping[str, float]]) -> str:
  rows = [row for row in metrics if is_number(row.get('loss'))]
  if not rows:
    return ''
  x, x_label = _time_axis(rows)
  x, y = _thin(x), _thin([row['loss'] for row in rows])
  positive = min(y) > 0
  figure = drawing.curve(
    {'loss': (x, y)},
    x_label=x_label,
    y_label='loss',
    log=positive and max(y) > 20 * min(y),
    colour=_MARK,
  )
  return _plot(figure, 'loss', 'Loss of the condensation over time')


def _accuracy_curve(results: Mapping[str, Any]) -> str:
  rows = [
    row
    for row in results.get('checkpoints') or ()
    if is_number(row.get('accuracy_mean'))
  ]
  if not rows:
    return ''
  x, x_label = _time_axis(rows)
  evaluations = results.get('evaluations') or {}
  levels = {
    SETS[name]: 100 * evaluations[name]['last_mean']
    for name in ('random', 'herding')
    if is_number(evaluations.get(name, {}).get('last_mean'))
  }
  name = SETS['condensed']
  figure = drawing.curve(
    {name: (x, [100 * row['accuracy_mean'] for row in rows])},
    bands={name: [100 * (row.get('accuracy_std') or 0) for row in rows]},
    levels=levels,
    x_label=x_label,
    y_label='test accuracy in %',
    colour=_MARK,
  )
  caption = 'Test accuracy of the condensed set over time'
  return _plot(figure, 'accuracy', caption)


def _time_axis(rows: Sequence[Mapping[str, float]]) -> tuple[list[float], str]:
  """Returns x and its label: time if every row has it, else the count."""
  for key in ('seconds', 'outer', 'step'):
    values = [row[key] for row in rows if is_number(row.get(key))]
    if len(values) == len(rows):
      break
  else:
    return list(range(1, len(rows) + 1)), 'rows'
  if key != 'seconds':
    return values, {'outer': 'outer iterations', 'step': 'steps'}[key]
  units = ((7200, 3600, 'hours'), (300, 60, 'minutes'), (0, 1, 'seconds'))
  _, length, unit = next(u for u in units if max(values) >= u[0])
  return [value / length for value in values], f'{unit} of condensation'


def _thin(values: Sequence[float]) -> list[float]:
  """Averages neighbours until a plot can show every point."""
  parts = np.array_split(np.asarray(values, float), _MAX_POINTS)
  return [float(part.mean()) for part in parts if len(part)]


def _plot(figure, name: str, caption: str) -> str:
  """Returns a figure as inline SVG whose axes take the page's text colour."""
  import matplotlib

  stream = io.StringIO()
  plain = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
  with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
    figure.savefig(stream, format='svg', metadata=plain)
  svg = stream.getvalue()
  svg = svg[svg.index('<svg') :].replace(_MARK, 'currentColor')
  svg = re.sub(r' xmlns(:xlink)?="[^"]*"', '', svg).replace('xlink:', '')
  # Names are unique in a figure, and must be so in the page.
  svg = re.sub(r'( id="|href="#|url\(#)', rf'\g<1>{name}-', svg)
  svg = svg.replace('<svg', f'<svg role="img" aria-label="{caption}"', 1)
  return f'<figure>{svg}<figcaption>{caption}</figcaption></figure>'
