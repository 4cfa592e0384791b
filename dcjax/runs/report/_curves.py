"""Loss and accuracy over time, as plots inside the report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcjax.runs.report import _svg
from dcjax.runs.report._headline import RIVALS, SETS
from dcjax.runs.report._html import is_number

_MAX_POINTS = 400


def curves(
  results: Mapping[str, Any], metrics: Sequence[Mapping[str, float]]
) -> str:
  """Returns the plots that results and metrics allow, or nothing."""
  plots = [_loss_curve(metrics), _accuracy_curve(results)]
  drawn = ''.join(_svg.figure(plot) for plot in plots if plot is not None)
  return f'<div class="row">{drawn}</div>' if drawn else ''


def _loss_curve(metrics):
  rows = [row for row in metrics if is_number(row.get('loss'))]
  if not rows:
    return None
  x, x_label = _time_axis(rows)
  x, y = _thin(x), _thin([row['loss'] for row in rows])
  log = min(y) > 0 and max(y) > 20 * min(y)
  title = 'Loss of the condensation over time'
  return _svg.Plot(title, [_svg.Series('', x, y)], x_label, 'loss', log_y=log)


def _accuracy_curve(results):
  rows = [
    row
    for row in results.get('checkpoints') or ()
    if is_number(row.get('accuracy_mean'))
  ]
  if not rows:
    return None
  x, x_label = _time_axis(rows)
  evaluations = results.get('evaluations') or {}
  series = [
    _svg.Series(
      SETS['condensed'],
      x,
      [100 * row['accuracy_mean'] for row in rows],
      [100 * (row.get('accuracy_std') or 0) for row in rows],
    )
  ]
  for name in RIVALS:
    level = (evaluations.get(name) or {}).get('last_mean')
    if is_number(level):
      kind = {'kind': 'level', 'dashed': True}
      series.append(_svg.Series(SETS[name], (), [100 * level], **kind))
  title = 'Test accuracy of the condensed set over time'
  return _svg.Plot(title, series, x_label)


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
