"""Runs side by side: accuracy against bytes and seconds, and a gallery."""

import os
import pathlib
import urllib.parse
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcjax import files
from dcjax.runs.report import _bytes, _figure, _pictures, _svg
from dcjax.runs.report._groups import Group, Run, grouped
from dcjax.runs.report._headline import SETS, accuracy, difference, verdict
from dcjax.runs.report._html import (
  Markup,
  duration,
  escape,
  is_number,
  link,
  markdown,
  note,
  page,
  picture,
  section,
  size,
  table as html_table,
)

_HEADER = (
  'runs',
  'seeds',
  'condensed',
  'over its start',
  'start',
  'random',
  'herding',
  'as stored',
  'as float32',
  'condensing',
)
_BASELINES = ('random', 'herding')
_FEW = 8  # groups that have a line in a legend of their own
_THUMB = 240


def _row(group: Group) -> list[str]:
  ours, start = group.entry('condensed'), group.entry('initial')
  gain = None if start is None else difference(ours or {}, start)
  budget = group.budget()
  entries = (group.entry(name) for name in ('initial', *_BASELINES))
  return [
    str(len(group.runs)),
    accuracy(ours or {}),
    '–' if gain is None else verdict(gain),
    *('–' if entry is None else accuracy(entry) for entry in entries),
    size(budget.stored) if budget.stored else '–',
    size(budget.float32) if budget.float32 else '–',
    duration(group.seconds()),
  ]


def table(runs: Sequence[Run]) -> str:
  """Returns a Markdown table, one row for runs that differ in their seed."""
  groups = grouped(runs)
  return markdown(_HEADER, [[group.name, *_row(group)] for group in groups])


def plots(runs: Sequence[Run]) -> list[_svg.Plot]:
  """Accuracy against bytes and against seconds, for every data set.

  Baselines are dashed; the frontier is the best accuracy for so many bytes, or
  seconds, or fewer. Spreads are standard deviations over seeds, or over the
  networks of a single run.
  """
  found = []
  for name in dict.fromkeys(run.results.get('dataset') for run in runs):
    groups = [
      group
      for group in grouped(runs)
      if group.runs[0].results.get('dataset') == name
    ]
    found += [_by_bytes(name, groups), _by_time(name, groups)]
  return found


def _points(groups, x_of):
  """A series for each group, or for each method where there are many."""
  rows: dict[str, list] = {}
  for group in groups:
    method = group.runs[0].results.get('method')
    name = group.name if len(groups) <= _FEW else str(method)
    entry = group.entry('condensed')
    place = (x_of(group), 100 * entry['last_mean'])
    point = (*place, 100 * (entry.get('last_std') or 0), group.name)
    rows.setdefault(name, []).append(point)
  for i, (name, points) in enumerate(rows.items()):
    x, y, spread, labels = zip(*sorted(points), strict=True)
    labels = tuple(
      f'{label}: {v:.1f} ± {s:.1f} %'
      for label, v, s in zip(labels, y, spread, strict=True)
    )
    yield _svg.Series(name, x, y, spread, 'dots', i, labels=labels)


def _frontier(points):
  """The best so far, from the smallest to the largest."""
  best, kept = -1.0, []
  for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
    if y > best:
      best = y
      kept.append((x, y))
  x, y = zip(*kept, strict=True)
  return _svg.Series('frontier', x, y, kind='steps', colour=7)


def _by_bytes(dataset, groups):
  sized = [g for g in groups if g.budget().stored]
  series = list(_points(sized, lambda group: group.budget().stored))
  every = [(x, y) for s in series for x, y in zip(s.x, s.y, strict=True)]
  for i, name in enumerate(_BASELINES):
    points = {}
    for group in groups:
      entry = group.entry(name)
      real = entry and _bytes.real_images(
        group.runs[0].results, entry.get('images', 0)
      )
      if real:
        points[real.stored] = 100 * entry['last_mean']
    if points:
      x, y = zip(*sorted(points.items()), strict=True)
      series.append(
        _svg.Series(SETS[name], x, y, colour=len(series) + i, dashed=True)
      )
      every += zip(x, y, strict=True)
  series += _whole(groups, len(series) + 2)
  if every:
    series.insert(0, _frontier(every))
  return _svg.Plot(
    f'{dataset}: accuracy against bytes as stored; real images as they come',
    series,
    'bytes',
    log_x=bool(every),
    x_format=size,
  )


def _whole(groups, colour):
  for group in groups:
    entry = group.entry('whole')
    if entry is not None:
      level = [100 * entry['last_mean']]
      yield _svg.Series(SETS['whole'], (), level, (), 'level', colour, True)
      return


def _by_time(dataset, groups):
  series = list(_points(groups, lambda group: group.seconds()))
  every = [(x, y) for s in series for x, y in zip(s.x, s.y, strict=True)]
  log = min(x for x, _ in every) > 0
  if len(groups) <= _FEW:
    for i, group in enumerate(groups):
      x, y = _curve(group, log)
      if len(x) > 1:
        series.append(_svg.Series('', x, y, colour=i))
  for i, name in enumerate(_BASELINES):
    entries = [group.entry(name) for group in groups]
    levels = {100 * e['last_mean'] for e in entries if e is not None}
    if len(levels) == 1:
      look = (), 'level', len(groups) + i, True
      series.append(_svg.Series(SETS[name], (), list(levels), *look))
  return _svg.Plot(
    f'{dataset}: accuracy against seconds of condensation',
    [_frontier(every), *series],
    'seconds of condensation',
    log_x=log,
  )


def _curve(group, log):
  """Mean seconds and accuracy of all seeds at their evaluations."""
  every = [run.results.get('checkpoints') or [] for run in group.runs]
  if len({len(points) for points in every}) != 1:
    return [], []
  rows = np.array(
    [[(p['seconds'], 100 * p['accuracy_mean']) for p in e] for e in every]
  ).reshape(len(every), -1, 2)
  means = rows.mean(0)
  means = means[means[:, 0] > 0] if log else means
  return means[:, 0].tolist(), means[:, 1].tolist()


def write_plot(runs: Sequence[Run], path: str) -> None:
  """Draws `plots` into one file; its ending decides the format.

  Raises:
    ValueError: if the format is unknown.
  """
  _figure.save(plots(runs), path)


def write_page(runs: Sequence[Run], path: str | os.PathLike[str]) -> None:
  """Writes a page with table, plots and a gallery that links to all reports.

  Args:
    runs: finished ones, and others for the gallery alone.
    path: file to write.

  Raises:
    OSError: if the file cannot be written.
  """
  place = pathlib.Path(path).expanduser().resolve()
  done = [run for run in runs if run.results]
  groups = grouped(done)
  rows = [[_links(group, place.parent), *_row(group)] for group in groups]
  drawn = ''.join(_svg.figure(plot) for plot in plots(done))
  title = f'{len(done)} runs' if len(done) != 1 else '1 run'
  body = [
    f'<h1>{escape(title)}</h1>',
    section('Side by side', html_table(_HEADER, rows)),
    note(
      'Test accuracy in percent, mean ± standard deviation over seeds, or over '
      'the networks of a single run; bytes of all that a network is trained on.'
    )
    if rows
    else '',
    section('Frontiers', f'<div class="row">{drawn}</div>' if drawn else ''),
    section('Gallery', _cards(runs, place.parent)),
  ]
  with files.replacing(place) as stream:
    stream.write(page(title, *body).encode())


def _links(group, start):
  names = (_linked(run, start, run.folder.name) for run in group.runs)
  return Markup(f'{escape(group.name)}<br>{", ".join(names)}')


def _linked(run, start, text):
  """A name, as a link where there is a report."""
  file = run.folder.expanduser().resolve() / 'report.html'
  if not file.is_file():
    return escape(text)
  return link(address(file, start), text).text


def address(file: pathlib.Path, start: pathlib.Path) -> str:
  """The address of a file in a page that lies in the folder `start`."""
  return urllib.parse.quote(os.path.relpath(file, start))


def _cards(runs: Sequence[Run], start: pathlib.Path) -> str:
  cards = ''.join(_card(run, start) for run in runs)
  return f'<div class="cards">{cards}</div>' if cards else ''


def _card(run: Run, start: pathlib.Path) -> str:
  name = _linked(run, start, run.folder.name)
  said: Any = 'not finished'
  if run.results:
    entries = run.results['evaluations']
    said = accuracy(entries['condensed'])
    if 'initial' in entries:
      gain = difference(entries['condensed'], entries['initial'])
      said += '' if gain is None else f'; over its start: {verdict(gain)}'
    seconds = run.results.get('seconds', {}).get('condense')
    if is_number(seconds):
      said += f'; {duration(seconds)}'
  return (
    f'<div class="card">{name}{_thumbnail(run.folder / "images.png")}'
    f'<span class="note">{escape(said)}</span></div>'
  )


def _thumbnail(file):
  if not file.is_file():
    return ''
  content = _pictures.shrunk(file, _THUMB)
  return f'<img src="{picture(content)}" alt="">'
