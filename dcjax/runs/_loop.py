"""The one resumable loop: outer iterations, image batches, epochs, pieces."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import sharding
from dcjax.base import PyTree
from dcjax.runs import _watch
from dcjax.runs._checkpoint import CheckpointError, Checkpoints
from dcjax.runs._folder import CHECKPOINTS
from dcjax.runs._progress import Progress, duration, say
from dcjax.runs._stage import Work

_SAVE_AFTER = 20  # seconds between checkpoints
_ABSURD = 1e8  # of networks and images, far beyond what trains


class Task(NamedTuple):
  """What is done again and again.

  Attributes:
    stage: whose output it makes.
    title: of the progress, such as `'condensing'`.
    unit: what is counted.
    total: how many there are.
    like: number of pieces done -> shapes of the state, with the devices that
      it lies on.
    begin: `() -> state`, lying as `like(0)` says.
    prepare: `(state, number) -> piece`; compiles what is not compiled yet, and
      its time does not count.
    record: `(number, metrics, seconds in all, seconds of the piece) -> ` a line
      of `metrics.jsonl`; None: of none.
    numbers: `state -> ` what must stay finite.
    problem: `state -> ` what is wrong with numbers that are finite, or None.
    advice: what to do where something is.
    warn: `metrics -> ` what is wrong, or None.
    after: number of pieces done -> what is done with the state then, such as an
      evaluation; it does not count.
  """

  stage: str
  title: str
  unit: str
  total: int
  like: Callable[[int], PyTree]
  begin: Callable[[], PyTree]
  prepare: Callable[[PyTree, int], Callable[[PyTree], tuple[PyTree, dict]]]
  record: Callable[[int, dict, float, float], dict[str, Any]] | None = None
  numbers: Callable[[PyTree], PyTree] = lambda state: ()
  problem: Callable[[PyTree], str | None] = lambda state: None
  advice: str = 'try a smaller learning rate'
  warn: Callable[[dict], str | None] = lambda metrics: None
  after: Mapping[int, Callable[[PyTree, float], None]] = {}


def loop(work: Work, task: Task, key: str) -> tuple[PyTree, float]:
  """Makes all pieces that are left, with a checkpoint every 20 seconds.

  Args:
    work: of the run.
    task: what is done.
    key: digest of all that decides the state; a checkpoint of another one is
      refused.

  Returns:
    The state after the last piece, and the seconds of all pieces.

  Raises:
    ValueError: if numbers become infinite, or a checkpoint is damaged or
      belongs to something else.
    Interrupted: if a stop was asked for; everything is saved.
  """
  name = re.sub(r'[^\w.]+', '-', task.stage)[:80]
  checkpoints = Checkpoints(work.folder.path / CHECKPOINTS / name)
  try:
    return _loop(work, task, key, checkpoints)
  finally:
    checkpoints.close()


def _loop(work, task, key, checkpoints):
  state, done, seconds = _restored(work, task, key, checkpoints)
  # A kill may have come between a checkpoint and what was to follow.
  if done < task.total:
    _follow(task, done, state, seconds)
  progress = Progress(task.title, task.total, done, task.unit)
  warned, traced = None, min(done + 1, task.total - 1)
  try:
    for number in range(done, task.total):
      with progress.aside():
        piece = task.prepare(state, number)
      profile = work.folder.path / 'profile'
      with _watch.trace(profile, work.profile and number == traced):
        began = time.monotonic()
        state, metrics = piece(state)
        work.stop.wait_for(metrics['loss'])
        took = time.monotonic() - began
      seconds, done = seconds + took, number + 1
      warned = _warn(task, metrics, done, warned)
      _check_finite(task, done, metrics, state, checkpoints.latest())
      _note(work, task, number, metrics, seconds, took)
      progress.update(done, f'loss {float(np.mean(metrics["loss"])):.4g}')
      _save(work, task, key, state, done, seconds, checkpoints)
      with progress.aside():
        if done < task.total:
          _follow(task, done, state, seconds)
  finally:
    progress.close()
  return state, seconds


def _restored(work, task, key, checkpoints):
  """The newest checkpoint, or the start."""
  step = checkpoints.latest()
  if task.record is not None:
    work.folder.keep_metrics(step or 0)
  if step is None:
    return task.begin(), 0, 0.0
  state, note = checkpoints.restore(step, task.like(step))
  if note['key'] != key:
    raise CheckpointError(
      f'{work.folder.path / CHECKPOINTS}: the state of {task.stage!r} was made '
      'from other settings or data; use another --workdir, or delete that '
      'folder to begin again'
    )
  say(f'resuming {task.title} after {step} of {task.total}')
  return state, step, note['seconds']


def _follow(task, done, state, seconds):
  if done in task.after:
    task.after[done](state, seconds)


def _note(work, task, number, metrics, seconds, took):
  if task.record is not None:
    record = task.record(number, metrics, seconds, took)
    work.folder.append_metrics(record)
    work.writer.scalars(record['outer'], record)
  share = (number + 1) / task.total
  work.outlook.update(task.stage, share, 1 / task.total, took)


def _warn(task, metrics, done, said):
  """Says what is wrong, when that is new."""
  problem = task.warn(metrics)
  if problem is not None and said is None:
    say(f'warning: {task.unit} {done}: {problem}')
  return problem


def _check_finite(task, done, metrics, state, saved):
  finite = np.isfinite(np.asarray(metrics['loss'])).ravel()
  reach = [float(most) for most in _reach(task.numbers(state))]
  # A last step can break the stored numbers before any loss sees them.
  if not finite.all():
    what = f'the loss is not finite (step {int(np.argmin(finite)) + 1} of it)'
  elif not np.isfinite(reach).all():
    what = 'the numbers are not finite'
  elif max(reach, default=0) > _ABSURD:
    what = f'the numbers reach {max(reach):.2g}'
  else:
    what = task.problem(state)
  if what is None:
    return
  raise ValueError(
    f'{task.title} diverged: {what} at {task.unit} {done}; {task.advice}; '
    f'nothing of this {task.unit} was saved'
    + ('' if saved is None else '; use another --workdir')
  )


@jax.jit
def _reach(numbers):
  """The largest magnitude of each array of floats."""
  return [
    jnp.abs(leaf).max()
    for leaf in jax.tree.leaves(numbers)
    if leaf.size and jnp.issubdtype(leaf.dtype, jnp.floating)
  ]


def _save(work, task, key, state, done, seconds, checkpoints):
  """Saves where due; ends the run where it was asked to stop."""
  asked = work.stop.agreed()
  late = sharding.agree(work.folder.seconds_since_save() > _SAVE_AFTER)
  if asked or late or done == task.total or done in task.after:
    checkpoints.save(done, state, {'key': key, 'seconds': seconds})
    work.folder.mark_saved()
  if asked and done < task.total:
    work.stop.check(f'{task.title} after {task.unit} {done} of {task.total}')


def compiled(
  program: Callable[..., Any], *like: PyTree, donate: int = 1, **places: Any
) -> Callable[..., Any]:
  """Compiles a program for arrays that lie as told, and says how long it took.

  From shapes, not from arrays: a fresh state and a restored one then share one
  program.

  Args:
    program: what is compiled.
    *like: shapes of its arguments, with their devices.
    donate: argument whose memory the result takes.
    **places: options of `jax.jit`.
  """
  began = time.monotonic()
  made = (
    jax.jit(program, donate_argnums=donate, **places).lower(*like).compile()
  )
  # Who is done first would not wait long for the others inside the program.
  sharding.barrier('compiled')
  if time.monotonic() - began > 1:
    say(f'compiled in {duration(time.monotonic() - began)}')
  return made
