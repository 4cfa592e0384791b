"""The page of all published cells: what was printed, and what was measured."""

import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from dcjax import records
from dcjax.runs import report
from dcjax.runs._folder import write_text
from dcjax.runs.tables import _records
from dcjax.runs.tables._pages import linked
from dcjax.runs.tables._records import Measured
from dcjax.runs.tables._types import OWN, Accuracy, OwnTest, Place, Table

PAGE = 'published.md'
# Accelerator -> operations a second that networks of this size are taken to
# reach: stated, not measured.
SPEEDS = {'H100': 30e12, 'v5e-8': 160e12}
_SIZES = {
  'reference': 'published networks and schedules',
  'short': 'narrower networks, shorter schedules',
  'smoke': 'narrower networks, shorter schedules',
}
_DASH = '–'
_POINT = 1.0
_HEADER = (
  'row',
  'column',
  'published',
  'measured',
  'budget',
  'points',
  'std',
  '',
  'PFLOP',
  *(f'min on {name}' for name in SPEEDS),
)
_ABOUT = f"""# Published cells, and what dcjax measures

Every cell of the papers' tables that dcjax knows: the printed number, and what
the published schedule gave here, last epoch, mean ± standard deviation over
networks (their number in brackets). `budget` is what they learned from, in
thousands: numbers (of images, labels, decoder and scales), their bytes as
float32, and their bytes as they are stored. `points` is measured less
published; `std` is that difference in standard deviations, of print where it
has one, otherwise of our networks. A cell is **ok** within {_POINT:g} point or
two standard deviations, **off** otherwise, with the reason where one was found.
`open` cells wait for someone with the machine, and `printed` ones for a method
that is not here. PFLOP are counted from shapes, and condensations in their
programs (experts, observers and evaluation with them; no sharing between
cells); minutes stand for {SPEEDS['H100'] / 1e12:g} TFLOP/s on one H100 and
{SPEEDS['v5e-8'] / 1e12:g} on a TPU v5e-8, a thirtieth and a tenth of their
rates in bfloat16, which is assumed, not measured.

Everything is drawn from the records beside this page. A table made with
`records=` adds its own, draws the page again and says what changed:

```sh
python experiments/run.py \\
  --config=experiments/configs/table.py:dc_table2,size=reference \\
  --config.records=docs/records \\
  --config.data_dir=DATA --workdir=runs/table2
python experiments/run.py published docs/records   # draws the page alone
```
"""


class Line(NamedTuple):
  """A cell of the page.

  Attributes:
    place: row and column.
    printed: the published number as it is printed, or ''.
    measured: None if there is no record.
    verdict: 'ok', 'off', 'open', 'measured' (nothing was printed) or 'printed'
      (nothing here makes it).
    points: measured less published.
    deviations: the same in standard deviations; None where there are none.
  """

  place: Place
  printed: str
  measured: Measured | None
  verdict: str
  points: float | None
  deviations: float | None


def write(folder: pathlib.Path, known: Mapping[str, Table]) -> pathlib.Path:
  """Draws `published.md` beside a folder of records.

  Args:
    folder: of the records.
    known: name -> table at size `'reference'`.

  Raises:
    ValueError: a record is damaged, or names a cell that its table has not.
  """
  path = folder.parent / PAGE
  write_text(path, page(folder, known))
  return path


def page(folder: pathlib.Path, known: Mapping[str, Table]) -> str:
  """Returns the page as Markdown; see `write`."""
  found = _records.read(folder)
  path = folder / _records.COSTS
  costs = records.read(path) if path.is_file() else {}
  printed = {n: t for n, t in known.items() if t.source != OWN}
  drawn = {
    n: lines(t, found.get((n, 'reference', ''), {})) for n, t in printed.items()
  }
  parts = [_ABOUT, '## In all', _totals(printed, drawn), _distinct(drawn)]
  for name, table in known.items():
    reduced = [
      _reduced(table, size, data, cells)
      for (other, size, data), cells in found.items()
      if other == name and (size != 'reference' or data or name not in printed)
    ]
    if name in printed:
      source = linked(table.source)
      parts += [f'## {table.title}', f'`{name}`. Published: {source}.']
      parts += [_grid(drawn[name], costs.get(name, {}))]
      parts += list(_reasons(drawn[name])) + list(
        _made(line.measured for line in drawn[name])
      )
    elif reduced:
      parts += [f'## {table.title}', f"`{name}`, dcjax's own. {table.note}"]
    parts += reduced
  return '\n\n'.join(part.strip() for part in parts) + '\n'


def lines(table: Table, found: Mapping[Place, Measured]) -> list[Line]:
  """Returns a line for every cell that is printed or can be measured.

  Raises:
    ValueError: a record names a cell that the table has not.
  """
  unknown = sorted(found.keys() - table.cells.keys())
  if unknown:
    raise ValueError(f'{table.title}: has no cell {unknown[0]} to measure')
  places = [
    (row, column)
    for row in table.rows
    for column in table.columns
    if (row, column) in table.cells or (row, column) in table.published
  ]
  return [_line(table, place, found.get(place)) for place in places]


def _line(table, place, measured) -> Line:
  printed = table.published.get(place, '')
  if measured is None:
    verdict = 'open' if place in table.cells else 'printed'
    return Line(place, printed, None, verdict, None, None)
  if not printed:
    return Line(place, '', measured, 'measured', None, None)
  value, _, spread = printed.partition(' ± ')
  mean, own = _mean_std(table, place, measured)
  points = mean - float(value)
  std = float(spread) if spread else own
  deviations = points / std if std else None
  near = deviations is not None and abs(deviations) <= 2
  good = abs(points) <= _POINT or near
  return Line(
    place, printed, measured, 'ok' if good else 'off', points, deviations
  )


def _mean_std(table, place, measured):
  share = isinstance(table.cells[place].measure, Accuracy | OwnTest)
  values = np.asarray(measured.last) * (100 if share else 1)
  return values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0


def _text(measured: Measured | None, share: bool = True) -> str:
  if measured is None:
    return _DASH
  values = np.asarray(measured.last) * (100 if share else 1)
  if len(values) == 1:
    return f'{values[0]:.1f} (1)'
  return f'{values.mean():.1f} ± {values.std(ddof=1):.1f} ({len(values)})'


def _budget(measured: Measured | None) -> str:
  """Numbers, and their bytes as float32 and as stored, in thousands."""
  if measured is None or not measured.budget:
    return _DASH
  return ' / '.join(_short(count / 1000) for count in measured.budget)


def _grid(drawn, costs) -> str:
  rows = []
  for line in drawn:
    row, column = line.place
    cost = costs.get(row, {}).get(column)
    minutes = [
      _DASH if cost is None else _short(cost * 1e15 / speed / 60)
      for speed in SPEEDS.values()
    ]
    rows.append(
      [
        row,
        column,
        line.printed or _DASH,
        _text(line.measured),
        _budget(line.measured),
        _DASH if line.points is None else f'{line.points:+.1f}',
        _DASH if line.deviations is None else f'{line.deviations:+.1f}',
        line.verdict,
        _DASH if cost is None else _short(cost),
        *minutes,
      ]
    )
  return report.markdown(_HEADER, rows)


def _short(value: float) -> str:
  return f'{value:.2g}' if value < 10 else f'{value:.0f}'


def _totals(known, drawn) -> str:
  verdicts = ('ok', 'off', 'open', 'measured', 'printed')
  rows = []
  for name, table in known.items():
    counts = [sum(x.verdict == v for x in drawn[name]) for v in verdicts]
    rows.append([table.title, *counts])
  rows.append(['**all**', *(sum(r[1 + i] for r in rows) for i in range(5))])
  return report.markdown(
    ['table', *verdicts], [[str(word) for word in row] for row in rows]
  )


def _distinct(drawn) -> str:
  """How many measurements there are: tables share runs."""
  measured = [x for lines in drawn.values() for x in lines if x.measured]
  values = {line.measured.last for line in measured}
  good = {line.measured.last for line in measured if line.verdict == 'ok'}
  return (
    f'Tables have runs in common: the {len(measured)} measured cells are '
    f'{len(values)} measurements, of which {len(good)} are ok somewhere.'
  )


def _reasons(drawn) -> Iterator[str]:
  for line in drawn:
    if line.measured is not None and line.measured.reason:
      yield f'- {" · ".join(line.place)}: {line.measured.reason}'


def _made(cells: Iterable[Measured | None]) -> Iterator[str]:
  """How what was measured was made, a line for all that was made alike."""
  alike: dict[str, list[Measured]] = {}
  for measured in cells:
    if measured is not None:
      key = json.dumps([measured.record, measured.made], sort_keys=True)
      alike.setdefault(key, []).append(measured)
  for group in alike.values():
    yield _how(group)


def _how(group) -> str:
  record, made = group[0].record, group[0].made
  seconds = sum(record['seconds'].values())
  evaluating = sum(measured.seconds for measured in group)
  return (
    f'- `{record["run"]}`, seed {made["seed"]}: {made["machine"]}, '
    f'{made["date"]}, commit {made["commit"] or "unknown"}, {seconds:.0f} s of '
    f'condensation and networks, {evaluating:.0f} s of evaluation'
  )


def _reduced(table, size, data, cells) -> str:
  places = [(r, c) for r in table.rows for c in table.columns]
  order = {place: number for number, place in enumerate(places)}
  known = sorted(cells, key=lambda p: (order.get(p, len(places)), p))
  rows = [
    [*place, _text(cells[place]), _budget(cells[place])] for place in known
  ]
  header = ['row', 'column', 'measured', 'budget']
  other = f'on `{data}`, ' if data else ''
  note = (
    f'At size {size} ({other}{_SIZES[size]}; not to be compared with print):'
  )
  made = _made(cells[place] for place in known)
  return '\n\n'.join([note, report.markdown(header, rows), *made])


def measured_texts(
  folder: pathlib.Path, known: Mapping[str, Table]
) -> dict[tuple[str, ...], str]:
  """What is recorded: `(table, size, data, row, column)` -> its text.

  Args:
    folder: of the records.
    known: name -> table at size `'reference'`, whose verdicts are told.
  """
  found = _records.read(folder)
  texts = {}
  for where, cells in found.items():
    name, *rest = where
    judged = name in known and rest == ['reference', '']
    for place, measured in cells.items():
      text = _text(measured)
      if judged:
        text += f', {_line(known[name], place, measured).verdict}'
      texts[(*where, *place)] = text
  return texts


def changes(
  before: Mapping[tuple[str, ...], str], after: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
  """What is new, another number or gone, a sentence each."""
  for place, text in after.items():
    old = before.get(place)
    if old != text:
      was = 'new' if old is None else f'before: {old}'
      yield f'{_said(place)}: {text} ({was})'
  for place in sorted(before.keys() - after.keys()):
    yield f'{_said(place)}: gone (before: {before[place]})'


def _said(place) -> str:
  return ' · '.join(word for word in place if word)
