"""An application's report: numbers, tables, plots."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax import sharding
from dcjax.runs import report
from dcjax.runs._folder import write_text
from dcjax.runs._progress import say
from dcjax.runs.applications._shared import AtWork

_COLOURS = (
  '#3d85c6',
  '#e07b39',
  '#6aa84f',
  '#a64d79',
  '#8e7cc3',
  '#777777',
)


def mean_std(values: Any, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
  """Mean and std (n - 1; 0 for a single seed) over an axis of seeds."""
  values = np.asarray(values, float)
  spread = 1 if values.shape[axis] > 1 else 0
  return values.mean(axis), values.std(axis, ddof=spread)


def percents(values: Any) -> str:
  """Mean and std over seeds `[S]` in percent: `84.2 ± 0.1`."""
  mean, std = mean_std(values)
  return f'{100 * mean:.1f} ± {100 * std:.1f}'


class Page(NamedTuple):
  """A report: what was done, tables, and perhaps a plot.

  Attributes:
    title: of the page.
    notes: sentences above the tables.
    tables: title -> (header, rows).
    plot: name of a file beside the page, or ''.
  """

  title: str
  notes: Sequence[str]
  tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]
  plot: str = ''


def write(at_work: AtWork, page: Page, results: Mapping[str, Any]) -> None:
  """Writes `report.md`, `report.html` and `results.json`."""
  at_work.work.folder.finish(results)
  picture = f'![{page.title}]({page.plot})\n\n' if page.plot else ''
  lines = [f'# {page.title}', *page.notes]
  for title, (header, rows) in page.tables.items():
    lines.append(f'## {title}\n\n{report.markdown(header, rows)}')
  text = '\n\n'.join(lines) + '\n\n' + picture
  write_text(at_work.path / 'report.md', text)
  write_text(at_work.path / 'report.html', _html(page))
  say(f'report: {at_work.path / "report.html"}')


def _html(page):
  notes = ''.join(
    f'<p class="note">{report.escape(note)}</p>\n' for note in page.notes
  )
  tables = '\n'.join(
    report.section(report.escape(title), report.html_table(header, rows))
    for title, (header, rows) in page.tables.items()
  )
  plot = ''
  if page.plot:
    plot = f'<figure><img src="{report.escape(page.plot)}" alt=""></figure>'
  title = report.escape(page.title)
  return report.PAGE.format(
    title=title,
    style=report.STYLE,
    body=f'<h1>{title}</h1>\n{notes}{plot}\n{tables}',
  )


def draw_curves(
  path: Any,
  x: Sequence[float],
  lines: Mapping[str, Any],
  x_label: str,
  y_label: str = 'test accuracy, %',
) -> None:
  """Draws a curve with error bars for each name, over the same points.

  Args:
    path: PNG file to write.
    x: `[T]`.
    lines: name -> `[S, T]` fractions of `S` seeds, drawn in percent.
    x_label: of the x axis.
    y_label: of the y axis.
  """
  with _axes(path, x_label, y_label) as axes:
    for i, (name, values) in enumerate(lines.items()):
      mean, std = mean_std(values)
      axes.errorbar(
        x,
        100 * mean,
        100 * std,
        color=_COLOURS[i % len(_COLOURS)],
        # A second round of colours is dashed.
        ls='-' if i < len(_COLOURS) else '--',
        label=name,
        marker='o',
        ms=4,
        capsize=3,
      )
    axes.set_xticks(x)


def draw_points(
  path: Any,
  points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  x_label: str,
  y_label: str,
) -> None:
  """Draws a cloud of points `(x [A], y [A])` for each name, in percent."""
  with _axes(path, x_label, y_label) as axes:
    for i, (name, (x, y)) in enumerate(points.items()):
      axes.scatter(
        100 * np.asarray(x),
        100 * np.asarray(y),
        s=18,
        color=_COLOURS[i % len(_COLOURS)],
        label=name,
      )


def draw_bars(path: Any, values: Mapping[str, Sequence[float]]) -> None:
  """Draws mean and std of accuracies `[S]` as a bar for each name."""
  with _axes(path, '', 'test accuracy, %') as axes:
    means, stds = zip(*map(mean_std, values.values()), strict=True)
    axes.bar(
      list(values),
      100 * np.array(means),
      yerr=100 * np.array(stds),
      capsize=3,
      color=_COLOURS[0],
    )


@contextlib.contextmanager
def _axes(path, x_label, y_label):
  from matplotlib.figure import Figure

  figure = Figure(figsize=(6.4, 4.2), layout='constrained')
  axes = figure.subplots()
  yield axes
  axes.set_xlabel(x_label)
  axes.set_ylabel(y_label)
  axes.grid(alpha=0.3)
  axes.spines[['top', 'right']].set_visible(False)
  if axes.get_legend_handles_labels()[0]:
    axes.legend(frameon=False, fontsize='small')
  if sharding.is_main():
    figure.savefig(path, dpi=130)
