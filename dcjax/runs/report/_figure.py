"""Plots as files for papers, drawn by Matplotlib: PDF, PNG and the like."""

import os
from collections.abc import Sequence

from dcjax.runs.report._svg import Plot, document


def save(plots: Sequence[Plot], path: str | os.PathLike[str]) -> None:
  """Writes plots side by side; the ending of the file decides the format.

  Raises:
    ValueError: if the format is unknown.
    OSError: if the file cannot be written.
  """
  if str(path).endswith('.svg'):
    with open(path, 'w', encoding='utf-8') as stream:
      stream.write(document(plots))
    return
  from matplotlib.figure import Figure

  figure = Figure(figsize=(5.6 * len(plots), 4.2), layout='constrained')
  panels = figure.subplots(1, len(plots), squeeze=False)[0]
  for axes, plot in zip(panels, plots, strict=True):
    _draw(axes, plot)
  figure.savefig(path, dpi=150)


def _draw(axes, plot):
  for place, series in enumerate(plot.series):
    number = place if series.colour is None else series.colour
    # A second round of colours has other lines and markers.
    again = number // 10 % 3
    look = {
      'color': f'C{number % 10}',
      'ls': '--' if series.dashed else ('-', ':', '-.')[again],
      'label': _text(series.name) or None,
    }
    if series.kind == 'level':
      axes.axhline(series.y[0], **look)
    elif series.kind == 'steps':
      axes.step(series.x, series.y, where='post', **look)
    else:
      look['ls'] = look['ls'] if series.kind == 'line' else ''
      marker = 'osv'[again] if len(series.x) < 30 else None
      spread = series.spread or None
      axes.errorbar(
        series.x, series.y, spread, marker=marker, ms=4, capsize=3, **look
      )
  if plot.ticks:
    axes.set_xticks(range(len(plot.ticks)), [_text(t) for t in plot.ticks])
  axes.set_xscale('log' if plot.log_x else 'linear')
  axes.set_yscale('log' if plot.log_y else 'linear')
  axes.set_xlabel(plot.x_label)
  axes.set_ylabel(plot.y_label)
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  if axes.get_legend_handles_labels()[0]:
    axes.legend(frameon=False, fontsize='small')


def _text(name):
  """A name as it is: no formula, and not left out for its underscore."""
  name = name.replace('$', r'\$')
  return f' {name}' if name.startswith('_') else name
