"""The outer iterations of a run: compile, step, watch, save, resume."""

import time
from typing import Any

import builder
import evaluations
import jax
import jax.numpy as jnp
import numpy as np
import plan
import watch
from checkpoint import Checkpoints
from progress import Progress, duration, say
from workdir import Interrupted

from dcjax import methods, sharding


def condense(parts, folder, keys, stop, profile=False) -> tuple[Any, float]:
  """Runs the outer iterations that are left.

  Args:
    parts: a `builder.Run`.
    folder: its `Workdir`.
    keys: see `experiment.run_keys`, on all devices.
    stop: whether the run was asked to stop.
    profile: whether to trace one outer iteration into the folder.

  Returns:
    The stored numbers in host memory, and the seconds of all iterations.

  Raises:
    ValueError: if numbers become infinite.
    Interrupted: if it was asked to stop; everything is saved.
  """
  checkpoints = Checkpoints(folder.path / 'checkpoints')
  try:
    state, seconds = _condense(parts, folder, keys, stop, checkpoints, profile)
    return sharding.to_host(state.params), seconds
  finally:
    checkpoints.close()
    if parts.dataset.stream is not None:
      parts.dataset.stream.close()


def _condense(parts, folder, keys, stop, checkpoints, profile):
  total = parts.config.schedule.outer
  state, done, seconds = _start(parts, folder, keys, checkpoints)
  if done == total:
    return state, seconds
  if parts.dataset.stream is not None and parts.mesh is None:
    parts.dataset.stream.prefetch(done)  # while the program is compiled
  due = _evaluation_points(parts.config)

  def evaluate(outer):
    evaluations.evaluate_checkpoint(
      parts,
      folder,
      keys,
      sharding.to_host(state.params),
      outer,
      seconds,
      stop,
    )

  if done in due:  # A kill may have come between checkpoint and evaluation.
    evaluate(done)
  compiled, compile_seconds = _compile(parts, keys, state)
  say(f'compiled in {duration(compile_seconds)}')
  progress = Progress('condensing', total, done, 'outer')
  warned = None
  traced = min(done + 1, total - 1) if profile else None
  for outer in range(done, total):
    data = builder.data_at(parts, outer)
    with watch.trace(folder.path / 'profile', outer == traced):
      began = time.monotonic()
      state, metrics = compiled(keys['condense'], state, data)
      stop.wait_for(metrics['loss'])
      seconds += time.monotonic() - began
    record = _record(outer, metrics, seconds, time.monotonic() - began, parts)
    warned = _warn(metrics, record, warned)
    _check_finite(record, state, metrics, parts, checkpoints.latest())
    folder.append_metrics(record)
    progress.update(outer + 1, f'loss {record["loss"]:.4g}')
    if outer == done and seconds > 5 and total - done > 1:
      say(plan.whole_run(parts, seconds, outer + 1))
    asked = stop.agreed()
    if asked or _save_due(outer + 1, total, due, checkpoints, folder):
      checkpoints.save(outer + 1, state, {'seconds': seconds})
      folder.mark_saved()
    if asked:
      progress.close()
      raise Interrupted(
        f'stopped after outer iteration {outer + 1} of {total}; everything is '
        'saved, the same command goes on from here'
      )
    if outer + 1 in due and outer + 1 < total:
      with progress.aside():
        evaluate(outer + 1)
  progress.close()
  return state, seconds


def _start(parts, folder, keys, checkpoints):
  """Restores the newest checkpoint, or draws a new state."""
  params = builder.initial_params(parts, keys['init'])
  # Also in one piece for every device: the state's place is decided here.
  shapes = jax.eval_shape(
    parts.condenser.init, keys['condense'], params, parts.inner_data
  )
  init = jax.jit(parts.condenser.init, **_places(parts, shapes))
  step = checkpoints.latest()
  if step is None:
    folder.keep_metrics(0)
    return init(keys['condense'], params, parts.inner_data), 0, 0.0
  state, progress = checkpoints.restore(step, _placed(parts, shapes))
  folder.keep_metrics(step)
  say(f'resuming after outer iteration {step} of {parts.config.schedule.outer}')
  return state, step, progress['seconds']


def _places(parts, shapes, *more) -> dict[str, Any]:
  """Where results go, as an option of `jax.jit`; `more` is on every device."""
  if parts.mesh is None:
    return {}
  state = _shardings(parts, shapes)
  everywhere = sharding.replicated(parts.mesh)
  return {
    'out_shardings': (state, *(everywhere for _ in more)) if more else state
  }


def _shardings(parts, shapes):
  return sharding.state_shardings(parts.mesh, shapes, parts.dataset.num_classes)


def _placed(parts, shapes):
  """The shapes of a state with the devices that a restored one goes to."""
  if parts.mesh is None:
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    places = jax.tree.map(lambda _: one, shapes)
  else:
    places = _shardings(parts, shapes)
  return jax.tree.map(
    lambda shape, place: jax.ShapeDtypeStruct(
      shape.shape, shape.dtype, sharding=place
    ),
    shapes,
    places,
  )


def _compile(parts, keys, state):
  began = time.monotonic()
  compiled = (
    jax.jit(
      parts.condenser.period,
      donate_argnums=1,
      **_places(parts, state, 'metrics'),
    )
    .lower(keys['condense'], state, parts.inner_data)
    .compile()
  )
  # Who is done first would not wait long for the others inside the program.
  sharding.barrier('compiled')
  return compiled, time.monotonic() - began


def _warn(metrics, record, said):
  """Says what is wrong with a discriminator, when that is new."""
  problem = methods.discriminator_problem(metrics)
  if problem is not None and said is None:
    say(f'warning: outer iteration {record["outer"]}: {problem}')
  return problem


def _evaluation_points(config):
  total = config.schedule.outer
  return {max(1, round(f * total)) for f in config.evaluation.at}


def _save_due(done, total, due, checkpoints, folder):
  late = sharding.agree(folder.seconds_since_save() > 20)
  return done == total or done in due or late


def _record(outer, metrics, seconds, latest, parts):
  means = {k: float(np.mean(v)) for k, v in metrics.items()}
  inner = parts.config.schedule.inner
  steps = (outer + 1) * inner
  return {
    'outer': outer + 1,
    'step': steps,
    **means,
    'seconds': round(seconds, 3),
    'steps_per_second': round(steps / seconds, 4),
    'memory_bytes': watch.memory_bytes(),
    'utilisation': watch.utilisation(parts, latest),
  }


def _check_finite(record, state, metrics, parts, saved):
  finite = np.isfinite(np.asarray(metrics['loss']))
  stored = jax.tree.leaves(state.params)
  if finite.all() and all(bool(jnp.isfinite(s).all()) for s in stored):
    return
  # A last step can break the stored numbers before any loss sees them.
  what = 'condensed set is' if finite.all() else 'loss is'
  step = len(finite) if finite.all() else int(np.argmin(finite)) + 1
  raise ValueError(
    f'the {what} not finite at outer iteration {record["outer"]}, step '
    f'{step} of it: images.learning_rate {parts.learning_rate:.4g} (after '
    'scaling) is probably too large; nothing of this iteration was saved; try '
    'a smaller one' + ('' if saved is None else ' in another --workdir')
  )
