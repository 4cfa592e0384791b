"""A table as Markdown and as a page: published and measured side by side."""

import base64
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dcjax.runs import report
from dcjax.runs._folder import write_text
from dcjax.runs.report import STYLE, duration, escape, section
from dcjax.runs.tables import _plots
from dcjax.runs.tables._types import Accuracy, Place, RecordedLoss, Table

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
_MORE_STYLE = """
.grid .measured { display: block; font-weight: 600; }
.grid .published { display: block; opacity: .7; font-size: .85rem; }
"""


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
  """

  table: Table
  size: str
  measured: Mapping[Place, Mapping[str, Any]]
  runs: Sequence[RunLine]
  command: str
  missing: Mapping[Place, str] = {}
  said: Mapping[str, str] = {}


def write(folder: pathlib.Path, page: Page) -> None:
  """Writes `table.md`, `table.html` and, if there is a plot, `table.png`."""
  if page.table.plot is not None:
    _plots.draw(page.table, page.measured, folder / 'table.png')
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
  picture = [] if table.plot is None else ['![plot](table.png)']
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
  yield f'Published: {table.source}.'
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


def _run_row(line: RunLine) -> list[str]:
  config, seconds = line.config, line.record.get('seconds', {})
  entries = line.record.get('entries', {}).values()
  evaluating = sum(entry.get('seconds', 0.0) for entry in entries)
  evaluation = config['evaluation']
  return [
    line.name,
    line.state,
    config['network'],
    f'{config["outer"]} x {config["method"]["inner_steps"]}',
    f'{evaluation["seeds"]} x {evaluation["epochs"]} epochs',
    duration(seconds.get('condense')) or _MISSING,
    duration(evaluating) if seconds else _MISSING,
  ]


def html(page: Page, folder: pathlib.Path) -> str:
  """Returns the table as a page that needs nothing else.

  Args:
    page: what it shows.
    folder: where `table.png` lies, if there is a plot.
  """
  table = page.table
  head = ''.join(f'<th>{escape(name)}</th>' for name in ('', *table.columns))
  rows = ''.join(
    f'<tr><th>{escape(row)}</th>'
    + ''.join(_cell(page, (row, column)) for column in table.columns)
    + '</tr>'
    for row in table.rows
  )
  grid = f'<table class="grid"><tr>{head}</tr>{rows}</table>'
  runs = report.html_table(_RUN_HEADER, [_run_row(line) for line in page.runs])
  body = [
    f'<h1>{escape(table.title)}</h1>',
    *(f'<p>{escape(text)}</p>' for text in _sentences(page)),
    f'<div class="wide">{grid}</div>',
    '<p class="note">Above: measured; below: published.</p>',
    section('Plot', _picture(page, folder)),
    section('Runs', runs),
    section('Go on', report.code(page.command)),
  ]
  return report.PAGE.format(
    title=escape(table.title), style=STYLE + _MORE_STYLE, body='\n'.join(body)
  )


def _cell(page, place):
  return (
    f'<td><span class="measured">{escape(measured_text(page, place))}</span>'
    f'<span class="published">{escape(published_text(page, place))}</span></td>'
  )


def _picture(page, folder):
  file = folder / 'table.png'
  if page.table.plot is None or not file.is_file():
    return ''
  data = base64.b64encode(file.read_bytes()).decode()
  title = escape(page.table.title)
  return (
    f'<figure><img src="data:image/png;base64,{data}" alt="{title}"></figure>'
  )
