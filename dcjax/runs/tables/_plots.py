"""The plot of a table: lines with published ones beside them, or a heat map."""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dcjax.runs.tables._types import Accuracy, Place, Plot, Table

_COLOURS = (
  '#3d85c6',
  '#e07b39',
  '#6aa84f',
  '#a64d79',
  '#8e7cc3',
  '#777777',
  '#b8860b',
)


def draw(
  table: Table,
  measured: Mapping[Place, Mapping[str, Any]],
  path: str | os.PathLike[str],
) -> None:
  """Writes a table's plot as a PNG file.

  Args:
    table: with a `plot`.
    measured: (row, column) -> an entry with `last_mean` and `last_std`.
    path: file to write.
  """
  from matplotlib.figure import Figure

  plot, names = table.plot, _names(table)
  panels = len(names) if plot.kind == 'panels' else 1
  size = (6.4, 4.2) if panels == 1 else (3.6 * panels, 3.2)
  figure = Figure(figsize=size, layout='constrained')
  for i, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label if panels == 1 else names[i])
    if plot.kind == 'heat':
      _heat(figure, axes, table, measured)
    else:
      _lines(axes, table, measured, names if panels == 1 else names[i : i + 1])
  figure.savefig(path, dpi=130)


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
    measured: see `draw`.
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


def _lines(axes, table: Table, measured, names) -> None:
  plot: Plot = table.plot
  for i, name in enumerate(names):
    colour = _COLOURS[i % len(_COLOURS)]
    x, y, spread = line_of(table, measured, name, 'published')
    if x:
      axes.plot(
        x, y, '--', color=colour, label=f'{name}, published', marker='x'
      )
    x, y, spread = line_of(table, measured, name, 'measured')
    if x:
      axes.errorbar(
        x, y, spread, color=colour, label=name, marker='o', ms=4, capsize=3
      )
  if plot.log:
    axes.set_xscale('log')
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  if len(axes.get_legend_handles_labels()[0]) and plot.kind != 'panels':
    axes.legend(frameon=False, fontsize='small')


def _heat(figure, axes, table: Table, measured) -> None:
  shape = len(table.rows), len(table.columns)
  values = np.full(shape, np.nan)
  for i, row in enumerate(table.rows):
    for j, column in enumerate(table.columns):
      if (row, column) in measured:
        entry = measured[row, column]
        values[i, j] = value_of(table, (row, column), entry)[0]
        axes.text(j, i, f'{values[i, j]:.3g}', ha='center', va='center')
  axes.set_xticks(range(shape[1]), table.columns)
  axes.set_yticks(range(shape[0]), table.rows)
  if np.isfinite(values).any():
    image = axes.imshow(values, cmap='Blues', aspect='auto', origin='lower')
    figure.colorbar(image, ax=axes, label='matching loss')
