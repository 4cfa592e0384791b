"""A run from data to report: condense, save, evaluate, show."""

import pathlib
import time
from typing import Any

import builder
import evaluations
import jax
import numpy as np
import stages
from checkpoint import Checkpoints
from ml_collections import ConfigDict
from plan import describe
from progress import Progress, duration, say
from workdir import Interrupted, Workdir

from dcjax import artefact, networks


def run(config: ConfigDict, workdir: str, command: list[str]) -> dict[str, Any]:
  """Runs an experiment, or goes on with it, or says that it is finished.

  Args:
    config: the settings; see `experiments/configs`.
    workdir: the run's folder.
    command: how the program was started, for the messages.

  Returns:
    The contents of `results.json`.

  Raises:
    ValueError: if a setting, the data or an earlier run's files are unusable,
      or numbers become infinite; a folder without a checkpoint is then free
      for other settings.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  folder = Workdir(workdir, config, command)
  if folder.results() is not None:
    say(f'finished already: see {folder.path / "report.html"}')
    return folder.results()
  use_compilation_cache()
  parts = builder.build(config)
  folder.claim()
  keys = run_keys(config.seed)
  say(describe(parts, folder.path))
  doubt = networks.warn_condensation(config.network.to_dict())
  if doubt is not None:
    say(f'warning: {doubt}')
  with folder.graceful_stop() as stop:
    try:
      state, seconds = _condense(parts, folder, keys, stop)
    except Exception:
      folder.release()
      raise
    condensed = stages.make_artefact(parts, state.params)
    artefact.save(folder.path / 'condensed.npz', condensed)
    evaluations.evaluate_all(parts, folder, keys, state.params, stop)
    results = stages.summarise(parts, folder, condensed, seconds)
    stages.show(parts, folder, keys, condensed, results)
  folder.write_json('results.json', results)
  _say_end(results, folder.path)
  return results


def run_keys(seed: int) -> dict[str, jax.Array]:
  names = ('init', 'condense', 'evaluate', 'random', 'herding')
  key = jax.random.key(seed)
  return {n: jax.random.fold_in(key, i) for i, n in enumerate(names)}


def use_compilation_cache():
  """Keeps compiled programs, so that resuming starts in seconds."""
  if jax.config.jax_compilation_cache_dir is None:
    cache = pathlib.Path.home() / '.cache' / 'dcjax' / 'compiled'
    jax.config.update('jax_compilation_cache_dir', str(cache))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def _condense(parts, folder, keys, stop):
  """Runs the outer iterations that are left."""
  total = parts.config.schedule.outer
  checkpoints = Checkpoints(folder.path / 'checkpoints')
  state, done, seconds = _start(parts, folder, keys, checkpoints)
  if done == total:
    checkpoints.close()
    return state, seconds
  due = _evaluation_points(parts.config)
  if done in due:  # A kill may have come between checkpoint and evaluation.
    evaluations.evaluate_checkpoint(
      parts, folder, keys, state.params, done, seconds, stop
    )
  compiled, compile_seconds = _compile(parts, keys, state)
  say(f'compiled in {duration(compile_seconds)}')
  progress = Progress('condensing', total, done, 'outer')
  for outer in range(done, total):
    began = time.monotonic()
    state, metrics = compiled(keys['condense'], state, parts.inner_data)
    stop.wait_for(metrics['loss'])
    seconds += time.monotonic() - began
    record = _record(outer, state, metrics, seconds, parts.config)
    _check_finite(record, state, metrics, parts, checkpoints.latest())
    folder.append_metrics(record)
    progress.update(outer + 1, f'loss {record["loss"]:.4g}')
    if stop.asked or _save_due(outer + 1, total, due, checkpoints, folder):
      checkpoints.save(outer + 1, state, {'seconds': seconds})
      folder.mark_saved()
    if stop.asked:
      progress.close()
      raise Interrupted(
        f'stopped after outer iteration {outer + 1} of {total}; everything is '
        'saved, the same command goes on from here'
      )
    if outer + 1 in due and outer + 1 < total:
      with progress.aside():
        evaluations.evaluate_checkpoint(
          parts, folder, keys, state.params, outer + 1, seconds, stop
        )
  progress.close()
  checkpoints.close()
  return state, seconds


def _start(parts, folder, keys, checkpoints):
  """Restores the newest checkpoint, or draws a new state."""

  params = builder.initial_params(parts, keys['init'])
  init = jax.jit(parts.condenser.init)
  step = checkpoints.latest()
  if step is None:
    folder.keep_metrics(0)
    return init(keys['condense'], params, parts.inner_data), 0, 0.0
  like = jax.eval_shape(init, keys['condense'], params, parts.inner_data)
  state, progress = checkpoints.restore(step, like)
  folder.keep_metrics(step)
  say(f'resuming after outer iteration {step} of {parts.config.schedule.outer}')
  return state, step, progress['seconds']


def _compile(parts, keys, state):
  began = time.monotonic()
  compiled = (
    jax.jit(parts.condenser.period, donate_argnums=1)
    .lower(keys['condense'], state, parts.inner_data)
    .compile()
  )
  return compiled, time.monotonic() - began


def _evaluation_points(config):
  total = config.schedule.outer
  return {max(1, round(f * total)) for f in config.evaluation.at}


def _save_due(done, total, due, checkpoints, folder):
  return done == total or done in due or folder.seconds_since_save() > 20


def _record(outer, state, metrics, seconds, config):
  means = {k: float(np.mean(v)) for k, v in metrics.items()}
  steps = (outer + 1) * config.schedule.inner
  return {
    'outer': outer + 1,
    'step': steps,
    **means,
    'seconds': round(seconds, 3),
    'steps_per_second': round(steps / seconds, 4),
  }


def _check_finite(record, state, metrics, parts, saved):
  finite = np.isfinite(np.asarray(metrics['loss']))
  stored = jax.tree.leaves(state.params)
  if finite.all() and all(np.isfinite(leaf).all() for leaf in stored):
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


def _say_end(results, path):
  for name, entry in results['evaluations'].items():
    say(
      f'  {name:>10}: {100 * entry["last_mean"]:5.1f} ± '
      f'{100 * entry["last_std"]:.1f} %  (trained on {entry["images"]} images)'
    )
  say(f'condensed set: {path / "condensed.npz"}')
  say(f'report:        {path / "report.html"}')
  say(
    f'next: python -c "import dcjax; print(dcjax.load(\''
    f'{path / "condensed.npz"}\').numpy()[0].shape)"'
  )


__all__ = ['Interrupted', 'run']
