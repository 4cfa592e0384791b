"""Makes a table: runs what is missing, measures, writes after every run."""

import hashlib
import json
import pathlib
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from dcjax import records
from dcjax.runs import _commands, _results, _run, _stage, settings
from dcjax.runs._artefact import environment
from dcjax.runs._progress import duration, say
from dcjax.runs.tables import _measure, _pages, _records
from dcjax.runs.tables._settings import config_of, name_of
from dcjax.runs.tables._types import Cell, Place, Run, Table

RECORD = 'table.json'
# What a cell needs whose data are not there.
_TITLES = {'imagenet10': 'ImageNet', 'imagenet100': 'ImageNet'}


# `(name of a run, place -> entry, seconds of its stages)`.
Keep = Callable[[str, Mapping[Place, Any], Mapping[str, float]], None]


class Job(NamedTuple):
  """A run of a table and all cells that read it.

  Attributes:
    name: of its folder.
    run: as the table names it.
    config: its settings.
    cells: (row, column) -> cell.
  """

  name: str
  run: Run
  config: ConfigDict
  cells: dict[Place, Cell]


def make(
  table: Table,
  size: str,
  workdir: str | pathlib.Path,
  *,
  overrides: Mapping[str, Any] | None = None,
  only: str = '',
  columns: Sequence[str] = (),
  command: Sequence[str] = (),
  store: str | pathlib.Path | None = None,
  recorded: str = '',
  keep: Keep | None = None,
) -> _pages.Page:
  """Makes a table, or goes on with it.

  Runs lie in `workdir/runs`, and tables in one folder share them. After every
  run `table.md`, `table.html` and, for a figure, `table.svg` are written. Runs
  whose data are not there wait: the pages say so, and the others are made.

  Args:
    table: what is made.
    size: `'reference'`, `'short'` or `'smoke'`.
    workdir: the table's folder.
    overrides: dotted config field -> value, for every run.
    only: part of the label of a row or of the name of a run; others wait.
    columns: labels of those that are measured; all by default.
    command: how to go on, for the pages.
    store: where runs share networks; a folder of the table by default.
    recorded: the command as cells remember it.
    keep: called with what is known of every run that is finished.

  Returns:
    What the pages show at the end.

  Raises:
    ValueError: if a name, argument or field is unknown, or nothing is left by
      `only`.
    FileNotFoundError: if no run finds its data; the pages say so.
    Interrupted: after Ctrl-C or SIGTERM; the same call goes on.
  """
  folder = pathlib.Path(workdir).expanduser().resolve()
  everything = jobs(table, size, overrides)
  chosen = choose(_within(everything, table, columns), only)
  folder.mkdir(parents=True, exist_ok=True)
  say(f'{table.title}: {len(chosen)} runs, size {size}, in {folder}')
  whole = {job.name: job for job in everything}
  spent: list[float] = []
  needs: dict[str, str] = {}
  text = shlex.join(command)
  for position, job in enumerate(chosen):
    left = sum(not _is_done(folder, j, size) for j in chosen[position:])
    _announce(f'run {position + 1} of {len(chosen)}', job, left, spent)
    if not _is_done(folder, job, size):
      began = time.monotonic()
      try:
        _work(folder, job, size, store or folder / 'shared', recorded)
        spent.append(time.monotonic() - began)
      except FileNotFoundError as error:
        if error.errno is not None:  # the system's: not a loader's sentence
          raise
        needs[job.name] = str(error)
        say(f'waits for its data: {error}')
    if keep is not None and job.name not in needs:
      found = _found(folder, whole[job.name], size)
      keep(job.name, found, _recorded(folder)[job.name]['seconds'])
    _pages.write(folder, _page(folder, table, size, everything, text, needs))
  page = _page(folder, table, size, everything, text, needs)
  _pages.write(folder, page)
  say(f'table: {folder / "table.html"}')
  if page.said and not page.measured:
    raise FileNotFoundError(next(iter(page.said.values())))
  return page


def jobs(
  table: Table, size: str, overrides: Mapping[str, Any] | None = None
) -> list[Job]:
  """Returns the runs of a table in the order of their first cells.

  Raises:
    ValueError: if a setting is unknown.
  """
  made: dict[str, Job] = {}
  for place, cell in table.cells.items():
    name = name_of(cell.run, size, overrides)
    if name not in made:
      config = config_of(cell.run, size, overrides)
      made[name] = Job(name, cell.run, config, {})
    made[name].cells[place] = cell
  return list(made.values())


def _within(jobs, table, columns):
  """Keeps the cells of these columns."""
  if not columns:
    return jobs
  for column in columns:
    if column not in table.columns:
      raise ValueError(f'columns {column!r}: must be one of {table.columns}')
  kept = [
    job._replace(cells={p: c for p, c in job.cells.items() if p[1] in columns})
    for job in jobs
  ]
  return [job for job in kept if job.cells]


def choose(jobs: Sequence[Job], only: str) -> list[Job]:
  """Keeps the runs whose name, or one of whose rows, contains `only`.

  Where a row is meant, only its cells are kept; a row that is called so means
  itself alone, not those whose labels contain it.

  Raises:
    ValueError: if nothing is left; lists rows and runs.
  """
  chosen = []
  exact = any(only == row for job in jobs for row, _ in job.cells)
  for job in jobs:
    cells = job.cells
    if exact:
      cells = {p: cell for p, cell in cells.items() if only == p[0]}
    elif only not in job.name:
      cells = {p: cell for p, cell in cells.items() if only in p[0]}
    if cells:
      chosen.append(job._replace(cells=cells))
  if not jobs:
    raise ValueError('this table is printed only: nothing here makes its cells')
  if not chosen:
    rows = sorted({row for job in jobs for row, _ in job.cells})
    known = [job.name for job in jobs]
    raise ValueError(f'only {only!r}: must be part of one of {rows + known}')
  return chosen


def _announce(which, job, left, spent):
  known = f'{which}: {job.name}'
  if spent and left:
    known += f'; about {duration(left * sum(spent) / len(spent))} left'
  say(known)


def _work(folder, job, size, store, recorded):
  """Measures what the cells ask for; condenses only if one needs it."""
  where = folder / 'runs' / job.name
  chosen = settings.resolve(job.config)
  command = _commands.of_settings(chosen)
  with _run.opened(
    chosen, where, store=store, command=command, living=True
  ) as at_work:
    keys = _stage.keys_of(at_work.pipeline.stages)
    made = _records.made_now(
      recorded, environment(), chosen.config.seed, keys['artefact']
    )
    # Other tables in the folder may have asked this run for more.
    entries = _entries(folder, job)
    for cell in job.cells.values():
      key = _measure.key_of(cell.measure, size)
      if key not in entries:
        found = _measure.measured(at_work, cell.measure, size)
        budget = _measure.budget(at_work, cell.measure)
        entries[key] = {**found, 'budget': budget, 'made': made}
    if 'artefact' in at_work.made.outputs:
      _results.finish_part(at_work, _told(entries))
    seconds = {
      n: s
      for n, s in at_work.made.seconds.items()
      if not n.startswith(('evaluate/', 'measure/', 'set/'))
    }
  jax.clear_caches()
  record = _recorded(folder)
  record[job.name] = {
    'entries': entries,
    'seconds': seconds,
    'settings': _digest(job),
  }
  records.write(folder / RECORD, record)


def _told(entries):
  """The accuracies of the entries, of which a report can tell."""
  return {n: dict(e) for n, e in entries.items() if 'images' in e}


def _recorded(folder):
  path = folder / RECORD
  return records.read(path) if path.is_file() else {}


def _found(folder, job, size):
  """What is known of a run's cells."""
  entries = _entries(folder, job)
  keys = {p: _measure.key_of(c.measure, size) for p, c in job.cells.items()}
  return {p: entries[key] for p, key in keys.items() if key in entries}


def _entries(folder, job):
  """What was measured of a run under its settings of now.

  Under others, what did not change is found again in the run's folder.
  """
  known = _recorded(folder).get(job.name, {})
  return known['entries'] if known.get('settings') == _digest(job) else {}


def _digest(job):
  plain = settings.resolve(job.config).plain() | {'data_dir': ''}
  text = json.dumps(plain, sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()


def _is_done(folder, job, size):
  return len(_found(folder, job, size)) == len(job.cells)


def _page(folder, table, size, jobs, command, needs) -> _pages.Page:
  """What the pages show, from what is recorded by now."""
  measured, lines, missing, said = {}, [], {}, {}
  for job in jobs:
    found = _found(folder, job, size)
    measured |= found
    if job.name in needs:
      title = _TITLES.get(job.run.dataset, job.run.dataset)
      missing |= dict.fromkeys(job.cells.keys() - found.keys(), title)
      said.setdefault(title, needs[job.name])
    lines.append(
      _pages.RunLine(
        job.name,
        'needs data' if job.name in needs else _state(folder, job, found),
        settings.resolve(job.config).plain(),
        _recorded(folder).get(job.name, {}),
      )
    )
  places = {place: job.name for job in jobs for place in job.cells}
  return _pages.Page(
    table, size, measured, lines, command, missing, said, places
  )


def _state(folder, job, found):
  if len(found) == len(job.cells):
    return 'finished'
  if found:
    return f'{len(found)} of {len(job.cells)} cells'
  return 'started' if (folder / 'runs' / job.name).exists() else 'waiting'
