"""The plot of a table: lines with published ones beside them, or a heat map."""

import re
from collections.abc import Mapping
from typing import Any

from dcjax.runs import report
from dcjax.runs.tables._types import Accuracy, Place, Table


def plots_of(
  table: Table, measured: Mapping[Place, Mapping[str, Any]]
) -> list[report.Plot]:
  """Returns a table's plots: one, or one for each panel; none of a heat map.

  Args:
    table: with a `plot`.
    measured: (row, column) -> an entry with `last_mean` and `last_std`.
  """
  plot = table.plot
  if plot is None or plot.kind == 'heat':
    return []
  names = _names(table)
  if plot.kind != 'panels':
    return [_drawn(table, measured, names, table.title, plot.y_label)]
  return [_drawn(table, measured, (name,), name, name) for name in names]


def _drawn(table, measured, names, title, y_label):
  series = []
  for i, name in enumerate(names):
    x, y, _ = line_of(table, measured, name, 'published')
    if x:
      said = f'{name}, published'
      series.append(report.Series(said, x, y, colour=i, dashed=True))
    x, y, spread = line_of(table, measured, name, 'measured')
    if x:
      series.append(report.Series(name, x, y, spread, colour=i))
  return report.Plot(
    title, series, table.plot.x_label, y_label, log_x=table.plot.log
  )


def heat_of(table: Table, measured: Mapping[Place, Mapping[str, Any]]) -> str:
  """Returns a heat map as HTML; '' where the table has another plot.

  Args:
    table: with a `plot`.
    measured: see `plots_of`.
  """
  if table.plot is None or table.plot.kind != 'heat' or not measured:
    return ''
  values = {p: value_of(table, p, e)[0] for p, e in measured.items()}
  low = min(values.values())
  width = max(values.values()) - low or 1.0
  cells = [
    [
      ((values[r, c] - low) / width, f'{values[r, c]:.3g}')
      if (r, c) in values
      else (0.0, '')
      for c in table.columns
    ]
    for r in table.rows
  ]
  return report.heat(table.rows, table.columns, cells)


def _names(table: Table) -> tuple[str, ...]:
  """What has a line of its own."""
  return table.columns if table.plot.along == 'rows' else table.rows


def number_in(label: str) -> float | None:
  """Returns the first number of a label, its place on the x axis, or None."""
  found = re.search(r'\d+(\.\d+)?', label)
  return None if found is None else float(found[0])


def value_of(table: Table, place: Place, entry: Mapping[str, Any]):
  """Returns mean and spread as they are shown: accuracies in percent."""
  scale = 100 if isinstance(table.cells[place].measure, Accuracy) else 1
  return scale * entry['last_mean'], scale * entry['last_std']


def line_of(
  table: Table,
  measured: Mapping[Place, Mapping[str, Any]],
  name: str,
  kind: str,
) -> tuple[list[float], list[float], list[float]]:
  """Returns x, y and spread of one line.

  Args:
    table: with a `plot`.
    measured: see `plots_of`.
    name: the row or column that the line stands for.
    kind: 'published' or 'measured'.
  """
  along = table.rows if table.plot.along == 'rows' else table.columns
  points = []
  for label in along:
    place = (label, name) if table.plot.along == 'rows' else (name, label)
    if number_in(label) is None:
      continue
    if kind == 'published' and place in table.published:
      mean, _, spread = table.published[place].partition(' ± ')
      points.append((number_in(label), float(mean), float(spread or 0)))
    elif kind == 'measured' and place in measured:
      value = value_of(table, place, measured[place])
      points.append((number_in(label), *value))
  return tuple(map(list, zip(*points, strict=True))) or ([], [], [])
