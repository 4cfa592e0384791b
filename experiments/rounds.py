"""Training networks on real images in rounds, with a state after each."""

import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from checkpoint import Checkpoints
from progress import Progress
from workdir import Interrupted

from dcjax import inner, sharding
from dcjax.base import Variables


def train_rounds(
  loop: inner.InnerLoop,
  keys: jax.Array,
  rounds: int,
  data_at: Callable[[int], inner.InnerData],
  *,
  settings: str,
  folder: str | os.PathLike[str] | None = None,
  title: str = 'training',
  stop: Any = None,
  mesh: jax.sharding.Mesh | None = None,
  after: Callable[[int, float], None] | None = None,
) -> Variables:
  """Trains networks of one shape, all of them in every round.

  Args:
    loop: whose `update` is one round; see `inner.train_on_real`.
    keys: `[E]`, one for each network.
    rounds: how many there are in all.
    data_at: number of a round -> its data.
    settings: tells one training from another.
    folder: keeps the state after every round; a training that finds one there
      goes on with it, bit for bit. None keeps nothing.
    title: of the progress.
    stop: whether the program was asked to stop, or None.
    mesh: devices that hold the networks, all of them each, where the loop
      spreads its batches over them; None for one device.
    after: called after every round with the number of rounds done in all, and
      the seconds of this one; compilation does not count.

  Returns:
    `Variables` with leaves `[E, ...]`.

  Raises:
    ValueError: `folder` holds the state of a training with other settings.
    Interrupted: if a stop was asked for.
  """
  begin, train_once = _programs(loop, mesh)
  if mesh is not None:
    keys = sharding.place(keys, sharding.replicated(mesh))
  kept = None if folder is None else Checkpoints(pathlib.Path(folder).resolve())
  like = _placed(jax.eval_shape(begin, keys), mesh)
  states, done = _saved(kept, like, settings, folder)
  states = begin(keys) if states is None else states
  progress = Progress(title, rounds, done, 'epoch')
  once = _timed(train_once, keys, data_at, progress)
  try:
    for number in range(done, rounds):
      states, loss, seconds = once(states, number)
      if after is not None:
        after(number + 1, seconds)
      if kept is not None:
        kept.save(number + 1, states, {'settings': settings})
      progress.update(number + 1, f'loss {loss:.4g}')
      if stop is not None and stop.agreed() and number + 1 < rounds:
        raise Interrupted(
          f'stopped while {title}; the same command goes on from here'
        )
  finally:
    progress.close()
    if kept is not None:
      kept.close()
  return states.variables


def _timed(train_once, keys, data_at, progress):
  """`(states, number) -> (states, loss, seconds)`, without compilation."""
  programs = []

  def once(states, number):
    began, data = time.monotonic(), data_at(number)
    if not programs:
      with progress.aside():
        programs.append(train_once.lower(keys, states, data).compile())
      began = time.monotonic()
    states, losses = programs[0](keys, states, data)
    return states, float(jnp.mean(losses)), time.monotonic() - began

  return once


def _placed(shapes, mesh):
  """Says of the shapes of a state on which devices it is to lie."""
  if mesh is None:
    return shapes
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=sharding.replicated(mesh)
    ),
    shapes,
  )


def _programs(loop, mesh):
  """Compiled: `keys -> states`, and `(keys, states, data) -> (..., losses)`."""

  def begin(keys):
    return jax.lax.map(lambda key: loop.init(key, None), keys)

  def train_once(keys, states, data):
    def one(pair):
      state, metrics = loop.update(*pair, data, None)
      return state, metrics['loss']

    return jax.lax.map(one, (keys, states))

  places = {} if mesh is None else {'out_shardings': sharding.replicated(mesh)}
  return (
    jax.jit(begin, **places),
    jax.jit(train_once, donate_argnums=1, **places),
  )


def _saved(kept, like, settings, folder):
  """Returns the saved states and how many rounds they have seen, or none."""
  step = None if kept is None else kept.latest()
  if step is None:
    return None, 0
  states, note = kept.restore(step, like)
  if note['settings'] != settings:
    kept.close()
    raise ValueError(
      f'{folder}: holds an unfinished pool of other settings; delete the '
      'folder, or name another --pool'
    )
  return states, step
