"""A table as Markdown and as a page: published and measured side by side."""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcjax.runs import report
from dcjax.runs._folder import write_text
from dcjax.runs.report import duration, escape, section
from dcjax.runs.tables import _plots
from dcjax.runs.tables._types import OWN, Accuracy, Place, RecordedLoss, Table

_MISSING = '–'
_RUN_HEADER = (
  'run',
  'state',
  'network',
  'steps',
  'evaluation',
  'condensing',
  'evaluating',
)


class RunLine(NamedTuple):
  """What the pages say about a run.

  Attributes:
    name: of its folder.
    state: 'finished', 'started', 'waiting', 'needs data' ...
    config: its settings, nested dicts.
    record: its measurements and seconds so far.
  """

  name: str
  state: str
  config: Mapping[str, Any]
  record: Mapping[str, Any]


class Page(NamedTuple):
  """Everything that the pages show.

  Attributes:
    table: rows, columns, published numbers.
    size: `'reference'`, `'short'` or `'smoke'`.
    measured: (row, column) -> entry.
    runs: all runs of the table.
    command: how to go on.
    missing: (row, column) -> what a cell needs whose data are not there.
    said: what is missing -> the sentence of its loader.
    places: (row, column) -> name of the run that it reads.
  """

  table: Table
  size: str
  measured: Mapping[Place, Mapping[str, Any]]
  runs: Sequence[RunLine]
  command: str
  missing: Mapping[Place, str] = {}
  said: Mapping[str, str] = {}
  places: Mapping[Place, str] = {}


def write(folder: pathlib.Path, page: Page) -> None:
  """Writes `table.md`, `table.html` and, if there is a plot, `table.svg`."""
  drawn = _plots.plots_of(page.table, page.measured)
  if drawn:
    write_text(folder / 'table.svg', report.document(drawn))
  write_text(folder / 'table.md', markdown(page))
  write_text(folder / 'table.html', html(page, folder))


def published_text(page: Page, place: Place) -> str:
  """Returns the published number of a place, or a dash."""
  return page.table.published.get(place, _MISSING)


def measured_text(page: Page, place: Place) -> str:
  """Returns `mean ± std` of a place (accuracies in percent), or a dash.

  Where the data are not there it says which: `needs ImageNet`.
  """
  if place in page.missing:
    return f'needs {page.missing[place]}'
  if place not in page.measured:
    return _MISSING
  mean, std = _plots.value_of(page.table, place, page.measured[place])
  measure = page.table.cells[place].measure
  if isinstance(measure, Accuracy):
    return f'{mean:.1f} ± {std:.1f}'
  if isinstance(measure, RecordedLoss):  # one number, of one run
    return f'{mean:.4g}'
  return f'{mean:.4g} ± {std:.2g}'


def markdown(page: Page) -> str:
  """Returns the table as Markdown."""
  table = page.table
  lines = (
    [
      row,
      *(
        f'{published_text(page, (row, column))} / '
        f'{measured_text(page, (row, column))}'
        for column in table.columns
      ),
    ]
    for row in table.rows
  )
  drawn = _plots.plots_of(table, page.measured)
  picture = ['![plot](table.svg)'] if drawn else []
  parts = [
    f'# {table.title}',
    *map(linked, _sentences(page)),
    report.markdown(['', *table.columns], lines),
    *picture,
    '## Runs',
    report.markdown(_RUN_HEADER, map(_run_row, page.runs)),
    f'```sh\n{page.command}\n```',
  ]
  return '\n\n'.join(parts) + '\n'


def linked(text: str) -> str:
  """Makes links of the papers that a text names by their arXiv numbers."""
  link = r'[arXiv \1](https://arxiv.org/abs/\1)'
  return re.sub(r'arXiv (\d{4}\.\d{5})', link, text)


def _sentences(page):
  """What has to be known before comparing."""
  table = page.table
  own = table.source == OWN
  yield "dcjax's own." if own else f'Published: {table.source}.'
  if table.note:
    yield table.note
  measures = [cell.measure for cell in table.cells.values()]
  accuracies = ''
  if any(isinstance(measure, Accuracy) for measure in measures):
    seeds = {line.config['evaluation']['seeds'] for line in page.runs}
    accuracies = (
      'accuracies in percent after the last epoch, mean ± std of '
      f'{_join(seeds)} networks trained on one condensed set; '
    )
  yield (
    f'Size {page.size}: published / measured here; {accuracies}{_MISSING} '
    'where there is none (yet).'
  )
  for name, sentence in page.said.items():
    yield f'Needs {name}: {sentence}'
  if page.size != 'reference':
    yield (
      'This is not the published schedule: networks are narrower, and runs '
      'and evaluations shorter, so the measured numbers compare with one '
      'another rather than with the published ones.'
    )


def _join(values):
  return ' or '.join(map(str, sorted(values)))


def _steps(config) -> str:
  """Image steps: of an outer iteration, of an image batch, or none (RDED)."""
  method = config['method']
  if 'outer' in config:
    return f'{config["outer"]} x {method["inner_steps"]}'
  return str(method.get('iterations', _MISSING))


def _run_row(line: RunLine) -> list[str]:
  config, seconds = line.config, line.record.get('seconds', {})
  entries = line.record.get('entries', {}).values()
  evaluating = sum(entry.get('seconds', 0.0) for entry in entries)
  evaluation = config['evaluation']
  return [
    line.name,
    line.state,
    config['network'],
    _steps(config),
    f'{evaluation["seeds"]} x {evaluation["epochs"]} epochs',
    duration(seconds.get('condense')) or _MISSING,
    duration(evaluating) if seconds else _MISSING,
  ]


def html(page: Page, folder: pathlib.Path) -> str:
  """Returns the table as a page that needs nothing else.

  Args:
    page: what it shows.
    folder: where it will lie; the reports of its runs lie below.
  """
  table = page.table
  reports = {
    line.name: report.address(file, folder)
    for line in page.runs
    if (file := folder / 'runs' / line.name / 'report.html').is_file()
  }
  rows = [
    [row, *(_cell(page, (row, column), reports) for column in table.columns)]
    for row in table.rows
  ]
  runs = []
  for line in page.runs:
    name, *others = _run_row(line)
    linked = report.link(reports[name], name) if name in reports else name
    runs.append([linked, *others])
  drawn = ''.join(
    report.figure(plot) for plot in _plots.plots_of(table, page.measured)
  )
  plot = f'<div class="row">{drawn}</div>' if drawn else ''
  return report.page(
    table.title,
    f'<h1>{escape(table.title)}</h1>',
    *(f'<p>{escape(text)}</p>' for text in _sentences(page)),
    report.html_table(['', *table.columns], rows),
    report.note(
      'Above: measured, a link to the report of its run; below: published.'
    ),
    section('Plot', plot + _plots.heat_of(table, page.measured)),
    section('Runs', report.html_table(_RUN_HEADER, runs)),
    section('Go on', report.code(page.command)),
  )


def _cell(page, place, reports):
  """Measured above published, as a link to where it comes from."""
  measured, published = measured_text(page, place), published_text(page, place)
  run = page.places.get(place)
  if run in reports and place in page.measured:
    measured = report.link(reports[run], measured)
  return report.Markup(
    f'<strong>{escape(measured)}</strong><br>'
    f'<span class="note">{escape(published)}</span>'
  )
