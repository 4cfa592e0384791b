"""An application's report: numbers, tables, plots."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax.runs import report
from dcjax.runs._folder import write_text
from dcjax.runs._progress import say
from dcjax.runs.applications._shared import AtWork


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
    plot: what is drawn, or None.
  """

  title: str
  notes: Sequence[str]
  tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]]
  plot: report.Plot | None = None


def write(at_work: AtWork, page: Page, results: Mapping[str, Any]) -> None:
  """Writes `report.md`, `report.html`, `plot.svg` and `results.json`."""
  at_work.work.folder.finish(results)
  lines = [f'# {page.title}', *page.notes]
  for title, (header, rows) in page.tables.items():
    lines.append(f'## {title}\n\n{report.markdown(header, rows)}')
  if page.plot is not None:
    lines.append(f'![{page.plot.title}](plot.svg)')
    write_text(at_work.path / 'plot.svg', report.document([page.plot]))
  write_text(at_work.path / 'report.md', '\n\n'.join(lines) + '\n\n')
  write_text(at_work.path / 'report.html', _html(page))
  say(f'report: {at_work.path / "report.html"}')


def _html(page):
  tables = (
    report.section(title, report.html_table(header, rows))
    for title, (header, rows) in page.tables.items()
  )
  plot = '' if page.plot is None else report.figure(page.plot)
  return report.page(
    page.title,
    f'<h1>{report.escape(page.title)}</h1>',
    *map(report.note, page.notes),
    f'<div class="row">{plot}</div>' if plot else '',
    *tables,
  )


def curves(
  title: str, x: Sequence[float], lines: Mapping[str, Any], x_label: str
) -> report.Plot:
  """A curve with its spread for each name, over the same points.

  Args:
    title: what it shows.
    x: `[T]`.
    lines: name -> `[S, T]` fractions of `S` seeds, drawn in percent.
    x_label: of the x axis.
  """
  series = []
  for name, values in lines.items():
    mean, std = mean_std(100 * np.asarray(values))
    series.append(report.Series(name, x, mean.tolist(), std.tolist()))
  return report.Plot(title, series, x_label)


def cloud(
  title: str,
  points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
  x_label: str,
  y_label: str,
) -> report.Plot:
  """A cloud of points `(x [A], y [A])`, fractions, for each name."""
  series = []
  for name, both in points.items():
    x, y = (100 * np.asarray(way) for way in both)
    series.append(report.Series(name, x, y, kind='dots'))
  return report.Plot(title, series, x_label, y_label)


def levels(title: str, values: Mapping[str, Sequence[float]]) -> report.Plot:
  """Mean and std of accuracies `[S]`, fractions, side by side by name."""
  means, stds = zip(*map(mean_std, values.values()), strict=True)
  places = list(range(len(values)))
  drawn = report.Series(
    '',
    places,
    [100 * float(v) for v in means],
    [100 * float(v) for v in stds],
    'dots',
  )
  return report.Plot(title, [drawn], '', ticks=tuple(map(str, values)))
