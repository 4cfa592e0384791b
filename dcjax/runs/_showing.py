"""The pictures and the page of a run, while it runs and when it is done."""

import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dcjax import files, sharding
from dcjax.runs import _build, _condense, _variants, report
from dcjax.runs._build import Built
from dcjax.runs._folder import FILM, RESULTS, Folder
from dcjax.runs._outlook import Outlook
from dcjax.runs._progress import say
from dcjax.runs._stage import Made
from dcjax.runs._variants import Looks

_MOST_FRAMES = 40
Tell = Callable[..., None]


def teller(
  built: Built,
  folder: Folder,
  outlook: Outlook,
  made: Made,
  write: Callable[..., None],
  living: bool = True,
) -> Tell:
  """Returns what keeps the page of a run true while it runs.

  Args:
    built: the objects of the run.
    folder: of the run.
    outlook: what is left of it.
    made: stages so far.
    write: `_results.tell`.
    living: False for a run without a page; nothing is then told.

  Nothing is told of a run that was finished before and makes more evaluations:
  its page stays until the new one is whole.

  Returns:
    `tell(params=None, outer=0, state='running', message='')`: with params, the
    set after so many iterations is noted and its picture kept; without, the
    page is written. What goes wrong in it does not end a run.
  """
  noted: dict[str, Looks] = {}

  def tell(params=None, outer=0, state='running', message=''):
    if not living or not sharding.is_main():
      return
    if (folder.path / RESULTS).exists():  # finished before: its page stays
      return
    try:
      if params is not None:
        formation = _build.evaluation_formation(built)
        params = jax.tree.map(jnp.asarray, params)
        params = _build.finished(built, params)
        noted['now'] = _variants.looks(formation, params)
        _keep(built, folder, noted['now'], outer)
        return
      where = report.State(
        state, outlook.done(), outlook.total(), time.time(), message
      )
      write(built, folder, made, where, noted.get('now'))
    except Exception as error:
      say(f'warning: the report could not be rewritten ({error})')

  return tell


def _keep(built, folder, looks, outer):
  path = folder.path / FILM / f'{outer:07d}.png'
  path.parent.mkdir(exist_ok=True)
  picture = _variants.picture(built, looks, small=True)
  with files.replacing(path) as stream:
    stream.write(report.encode_png(picture, 1))


def show(
  built: Built,
  folder: Folder,
  made: Made,
  results: Mapping[str, Any],
  *,
  now: Looks | None = None,
  state: report.State | None = None,
) -> None:
  """Writes `images.png` and `report.html`, from the first process.

  Args:
    built: the objects of the run.
    folder: of the run.
    made: stages so far.
    results: see `report.write_report`.
    now: the set along the way; that of the artefact once it is there.
    state: where the run is; None: finished.
  """
  if not sharding.is_main():
    return
  condensed = made('artefact') if 'artefact' in made.outputs else None
  start = None
  if 'start' in made.outputs:
    found = jax.tree.map(jnp.asarray, _condense.unflattened(made('start')))
    start = _variants.looks(built.formation, found)
  if condensed is not None:
    now = _variants.looks_of(condensed)
  now = now or start
  if now is None:
    return
  picture = _variants.picture(built, now)
  report.save_png(folder.path / 'images.png', picture)
  beside: dict[str, Any] = {}
  if condensed is not None:
    variables = made('embedding') if 'embedding' in made.outputs else None
    beside = report.pictures_of(built, condensed, variables)
  report.write_report(
    folder.path,
    config=folder.config,
    results=results,
    metrics=folder.metrics(),
    variants=_variants.variants(built, now, start),
    frames=_frames(built, folder.path, results, start, now),
    pictures=beside,
    state=state,
  )


def _frames(built, folder: pathlib.Path, results, start, now):
  """What is said of each picture of the film, and its file."""
  kept = {int(p.stem): p for p in (folder / FILM).glob('*.png')}
  if start is None or not kept:
    return ()
  known = {p['outer']: p for p in results.get('checkpoints') or ()}
  done = built.config.get('outer', 0) if 'storage' in results else 0
  frames = []
  for outer in _variants.film_points(kept, _MOST_FRAMES):
    if not done or outer < done:
      frames.append((_said(outer, known), kept[outer].read_bytes()))
  first, last = (
    report.encode_png(_variants.picture(built, looks, small=True), 1)
    for looks in (start, now)
  )
  frames.insert(0, ('start' + _accuracy(known.get(0)), first))
  if 'storage' in results:
    frames.append(('condensed' + _accuracy(known.get(done)), last))
  return frames


def _said(outer, known):
  return f'after {outer} iterations{_accuracy(known.get(outer))}'


def _accuracy(point):
  return '' if point is None else f': {100 * point["accuracy_mean"]:.1f} %'
