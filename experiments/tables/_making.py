"""Makes a table: runs what is missing, measures, writes after every run."""

import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict
from progress import duration, say
from workdir import Interrupted, Workdir

import tables
from tables import _measure, _pages
from tables._settings import arguments_of, config_of, name_of
from tables._types import Cell, Place, Run, Table

_CONFIGS = 'experiments/configs'
# What a cell needs whose data are not there.
_TITLES = {'imagenet10': 'ImageNet', 'imagenet100': 'ImageNet'}


class Job(NamedTuple):
  """A run of a table and all cells that read it.

  Attributes:
    run: as the table names it.
    folder: its `Workdir`.
    config: its settings.
    command: that makes the same run alone, but for changed fields.
    cells: (row, column) -> cell.
  """

  run: Run
  folder: Workdir
  config: ConfigDict
  command: list[str]
  cells: dict[Place, Cell]


def make(
  text: str,
  workdir: str,
  *,
  overrides: Mapping[str, Any] | None = None,
  only: str = '',
  command: str = '',
) -> _pages.Page:
  """Makes a table, or goes on with it.

  Runs lie in `workdir/runs`, and tables in one folder share them. After every
  run `table.md`, `table.html` and, for a figure, `table.png` are written. Runs
  whose data are not there wait: the pages say so, and the others are made.

  Args:
    text: `NAME[:size=...][,dataset=...]`.
    workdir: the table's folder.
    overrides: dotted config field -> value, for every run.
    only: part of the label of a row or of the name of a run; others wait.
    command: how to go on, for the pages.

  Returns:
    What the pages show at the end.

  Raises:
    ValueError: if a name, argument or field is unknown, or nothing is left by
      `only`.
    Interrupted: after Ctrl-C or SIGTERM; the same call goes on.

  Example:
    >>> make('idc_table7:size=smoke', 'runs/factors')
  """
  name, size, dataset = tables.parse(text)
  table = tables.load(name, size, dataset)
  folder = pathlib.Path(workdir).expanduser().resolve()
  everything = jobs(table, size, folder / 'runs', overrides)
  chosen = choose(everything, only)
  folder.mkdir(parents=True, exist_ok=True)
  say(f'{table.title}: {len(chosen)} runs, size {size}, in {folder}')
  spent, needs = [], {}
  for position, job in enumerate(chosen):
    left = sum(not _is_finished(later, size) for later in chosen[position:])
    _announce(f'run {position + 1} of {len(chosen)}', job, left, spent)
    try:
      _work(job, size, spent)
    except FileNotFoundError as error:
      if error.errno is not None:  # the system's: not a loader's sentence
        raise
      needs[job.folder.path.name] = str(error)
      say(f'waits for its data: {error}')
    _pages.write(folder, page_of(table, size, everything, command, needs))
  page = page_of(table, size, everything, command, needs)
  _pages.write(folder, page)
  say(f'table: {folder / "table.html"}')
  return page


def jobs(
  table: Table,
  size: str,
  folder: pathlib.Path,
  overrides: Mapping[str, Any] | None,
) -> list[Job]:
  """Returns the runs of a table in the order of their first cells.

  Raises:
    ValueError: if a setting is unknown, or a folder belongs to another run.
  """
  made = {}
  for place, cell in table.cells.items():
    name = name_of(cell.run, size, overrides)
    if name not in made:
      config = config_of(cell.run, size, overrides)
      file = f'{_CONFIGS}/{cell.run.recipe}.py'
      command = ['run.py', f'--config={file}:{arguments_of(cell.run, size)}']
      workdir = Workdir(str(folder / name), config, command)
      made[name] = Job(cell.run, workdir, config, command, {})
    made[name].cells[place] = cell
  return list(made.values())


def choose(jobs: Sequence[Job], only: str) -> list[Job]:
  """Keeps the runs whose name, or one of whose rows, contains `only`.

  Where a row is meant, only its cells are kept.

  Raises:
    ValueError: if nothing is left; lists rows and runs.
  """
  chosen = []
  for job in jobs:
    cells = job.cells
    if only not in job.folder.path.name:
      cells = {p: cell for p, cell in cells.items() if only in p[0]}
    if cells:
      chosen.append(job._replace(cells=cells))
  if not chosen:
    rows = sorted({row for job in jobs for row, _ in job.cells})
    names = [job.folder.path.name for job in jobs]
    raise ValueError(f'only {only!r}: must be part of one of {rows + names}')
  return chosen


def _announce(which, job, left, spent):
  known = f'{which}: {job.folder.path.name}'
  if spent and left:
    known += f'; about {duration(left * sum(spent) / len(spent))} left'
  say(known)


def _work(job, size, spent):
  """Condenses if it is not done, and measures what the cells ask for."""
  import experiment

  began, fresh = time.monotonic(), False
  if job.folder.results() is None:
    fresh = True
    experiment.run(job.config, str(job.folder.path), job.command)
    jax.clear_caches()
  measures = [cell.measure for cell in job.cells.values()]
  with job.folder.graceful_stop() as stop:
    run = _measure.Finished(job.folder, job.config, size, stop)
    fresh |= _measure.measure_all(run, measures) > 0
    if stop.agreed():
      raise Interrupted('stopped; the same command goes on from here')
  if fresh:
    spent.append(time.monotonic() - began)


def page_of(
  table: Table,
  size: str,
  jobs: Sequence[Job],
  command: str,
  needs: Mapping[str, str] | None = None,
) -> _pages.Page:
  """Returns what the pages show, from what the run folders hold by now.

  Args:
    table: the table.
    size: its size.
    jobs: all its runs.
    command: how to go on.
    needs: name of a run -> what its missing data's loader said.
  """
  measured, lines, missing, said = {}, [], {}, {}
  needs = needs or {}
  for job in jobs:
    found = _measured(job, size)
    measured |= found
    keys = {p: _measure.key_of(job.cells[p].measure, size) for p in found}
    name = job.folder.path.name
    if name in needs:
      title = _TITLES.get(job.run.dataset, job.run.dataset)
      missing |= dict.fromkeys(job.cells.keys() - found.keys(), title)
      said.setdefault(title, needs[name])
    lines.append(
      _pages.RunLine(
        name,
        'needs data' if name in needs else _state(job, found),
        json.loads(job.config.to_json_best_effort()),
        job.folder.results(),
        {key: found[place] for place, key in keys.items()},
      )
    )
  return _pages.Page(table, size, measured, lines, command, missing, said)


def _measured(job, size):
  """Returns what is known of a run's cells."""
  entries = _measure.recorded(job.folder)
  keys = {p: _measure.key_of(c.measure, size) for p, c in job.cells.items()}
  return {place: entries[key] for place, key in keys.items() if key in entries}


def _is_finished(job, size):
  return len(_measured(job, size)) == len(job.cells)


def _state(job, found):
  if len(found) == len(job.cells):
    return 'finished'
  if job.folder.results() is not None:
    return f'{len(found)} of {len(job.cells)} cells'
  return 'started' if job.folder.path.exists() else 'waiting'
