"""A run from data to report: condense, save, evaluate, show."""

import pathlib
from typing import Any

import builder
import evaluations
import jax
import outer_loop
import stages
from ml_collections import ConfigDict
from plan import describe
from progress import say
from workdir import Interrupted, Workdir

from dcjax import artefact, networks, sharding


def run(
  config: ConfigDict,
  workdir: str,
  command: list[str],
  *,
  devices_per_class: int = 0,
  profile: bool = False,
) -> dict[str, Any]:
  """Runs an experiment, or goes on with it, or says that it is finished.

  On several devices or processes it is the same run: all processes call this,
  the first one writes.

  Args:
    config: the settings; see `experiments/configs`.
    workdir: the run's folder.
    command: how the program was started, for the messages.
    devices_per_class: devices that share the images of a class; 0 decides.
    profile: whether to trace an outer iteration into the folder.

  Returns:
    The contents of `results.json`.

  Raises:
    ValueError: if a setting, the data or an earlier run's files are unusable,
      or numbers become infinite; a folder without a checkpoint is then free
      for other settings.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  import statistics_run  # which in turn needs this module

  if config.method in statistics_run.METHODS:
    return statistics_run.run(
      config, workdir, command, devices_per_class=devices_per_class
    )
  folder = Workdir(workdir, config, command)
  if folder.results() is not None:
    say(f'finished already: see {folder.path / "report.html"}')
    return folder.results()
  use_compilation_cache()
  parts = builder.build(config, devices_per_class)
  folder.claim()
  keys = run_keys(config.seed)
  say(describe(parts, folder.path))
  doubt = networks.warn_condensation(config.network.to_dict())
  if doubt is not None:
    say(f'warning: {doubt}')
  with folder.graceful_stop() as stop:
    try:
      params, seconds = outer_loop.condense(
        parts, folder, everywhere(parts, keys), stop, profile
      )
    except Exception:
      folder.release()
      raise
    condensed = stages.make_artefact(parts, params)
    if sharding.is_main():
      artefact.save(folder.path / 'condensed.npz', condensed)
    evaluations.evaluate_all(parts, folder, keys, params, stop)
    results = stages.summarise(parts, folder, condensed, seconds)
    if sharding.is_main():
      stages.show(parts, folder, keys, condensed, results)
  folder.write_json('results.json', results)
  say_end(results, folder.path)
  return results


def run_keys(seed: int) -> dict[str, jax.Array]:
  names = ('init', 'condense', 'evaluate', 'random', 'herding')
  key = jax.random.key(seed)
  return {n: jax.random.fold_in(key, i) for i, n in enumerate(names)}


def everywhere(
  parts: builder.Run, keys: dict[str, jax.Array]
) -> dict[str, jax.Array]:
  """Puts the condensation's key on all devices; each uses the rest alone."""
  if parts.mesh is None:
    return keys
  everywhere = sharding.replicated(parts.mesh)
  return keys | {'condense': sharding.place(keys['condense'], everywhere)}


def use_compilation_cache():
  """Keeps compiled programs, so that resuming starts in seconds."""
  if jax.config.jax_compilation_cache_dir is None:
    cache = pathlib.Path.home() / '.cache' / 'dcjax' / 'compiled'
    jax.config.update('jax_compilation_cache_dir', str(cache))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def say_end(results: dict[str, Any], path: pathlib.Path) -> None:
  """Prints the accuracies of a finished run, and where its files are."""
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
