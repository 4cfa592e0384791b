"""A run: from settings to the report, or as far as it is wanted."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from dcjax import files, networks, sharding, specs
from dcjax.artefact import Artefact
from dcjax.base import Network
from dcjax.data import Dataset
from dcjax.runs import (
  _build,
  _commands,
  _costs,
  _pipelines,
  _results,
  _showing,
  _stage,
  _writers,
  settings,
)
from dcjax.runs._artefact import check_storage, versions
from dcjax.runs._build import Built
from dcjax.runs._folder import Folder, Interrupted, Stop
from dcjax.runs._outlook import Outlook
from dcjax.runs._pipelines import Pipeline
from dcjax.runs._progress import say
from dcjax.runs._stage import Made, Work
from dcjax.runs.settings import Settings
from dcjax.utils import check_choice

# Data sets that are one's own files.
_OWN = ('image_folder', 'npz', 'wav_folder')


class Opened(NamedTuple):
  """A run at work.

  Attributes:
    built: the objects of the run.
    work: of the run.
    made: stages so far.
    pipeline: all stages.
  """

  built: Built
  work: Work
  made: Made
  pipeline: Pipeline


def config_of(config: ConfigDict | str) -> ConfigDict:
  """A config, or the one that a word names.

  Args:
    config: `'idc:digits,smoke'` is the config `idc` with that argument.

  Raises:
    ValueError: if there is no such config, or a field or value is wrong.
  """
  if not isinstance(config, str):
    return config
  recipe, _, argument = config.partition(':')
  check_choice('config', recipe, settings.names())
  return settings.module(recipe).get_config(argument)


@contextlib.contextmanager
def opened(
  chosen: Settings,
  workdir: str | pathlib.Path,
  *,
  dataset: Dataset | None = None,
  network: Network | None = None,
  store: str | pathlib.Path | None = None,
  command: Sequence[str] = (),
  devices_per_class: int = 0,
  profile: bool = False,
  watch: Sequence[str] = (),
  stop: Stop | None = None,
  living: bool = False,
) -> Iterator[Opened]:
  """Builds a run and makes its folder its own, as long as it is open.

  Args:
    chosen: the settings.
    workdir: the run's folder.
    dataset: see `run`.
    network: see `run`.
    store: see `run`.
    command: see `run`.
    devices_per_class: see `run`.
    profile: see `run`.
    watch: see `run`.
    stop: of the run that this one is a part of.
    living: whether its page is kept while it runs.

  Raises:
    ValueError: if a setting, the data or an earlier run's files are unusable;
      a folder without anything finished is then free for other settings.
    FileNotFoundError: if the data are not there.
  """
  plain = chosen.plain() | _given(dataset, network)
  files.check_local('store', store)
  _writers.check(watch)
  _check_processes(plain)
  folder = Folder(workdir, plain, tuple(command))
  use_compilation_cache()
  built = _build.build(
    chosen,
    dataset=dataset,
    network=network,
    devices_per_class=devices_per_class,
  )
  check_storage(built)
  made, outlook = Made({}, {}, {}), Outlook()
  tell = _showing.teller(built, folder, outlook, made, _results.tell, living)
  with folder.owned(stop) as heard:
    writer = _writers.opened(watch, folder.path, plain)
    try:
      shared = None
      # Nothing tells apart what two networks that are handed over have made.
      if store is not None and network is None:
        shared = pathlib.Path(store).expanduser()
      work = Work(folder, heard, outlook, shared, profile, tell, writer)
      pipeline = _pipelines.pipeline(built, work, made)
      yield Opened(built, work, made, pipeline)
    except Interrupted:
      tell(state='stopped', message='The same command goes on from here.')
      folder.release()
      raise
    except Exception as error:
      tell(state='failed', message=str(error))
      folder.release()
      raise
    finally:
      writer.close()
      built.real.close()


def _check_processes(plain):
  """All processes of a run have the same settings and versions."""
  decisive = {n: v for n, v in plain.items() if n != 'data_dir'}
  said = json.dumps([decisive, versions()], sort_keys=True)
  sharding.agree_on(said, 'settings and versions')


def _given(dataset, network):
  """What was handed over instead of named, for the record."""
  found = {}
  if dataset is not None:
    found['dataset'] = dataset.name
  if network is not None:
    found['network'] = network.name
  return {'given': found} if found else {}


def run(
  config: ConfigDict | str,
  workdir: str | pathlib.Path,
  *,
  dataset: Dataset | None = None,
  network: Network | None = None,
  store: str | pathlib.Path | None = None,
  command: Sequence[str] = (),
  devices_per_class: int = 0,
  profile: bool = False,
  watch: Sequence[str] = (),
) -> dict[str, Any]:
  """Runs an experiment, or goes on with it, or says that it is finished.

  On several devices or processes it is the same run: all processes call this,
  the first one writes.

  Args:
    config: the settings; see `dcjax.runs.configs`, or a word such as
      `'idc:digits,smoke'`.
    workdir: the run's folder; the same folder resumes it.
    dataset: in place of the one that the config names.
    network: in place of the one that the config names.
    store: folder where runs find one another's observers, pools, generators
      and statistics; None, or a `network`, keeps them in `workdir`.
    command: how the program was started, for the report.
    devices_per_class: devices that share the images of a class; 0 decides.
    profile: whether to trace the second iteration of every loop.
    watch: where numbers and pictures go as the run goes on, beside
      `metrics.jsonl`: `'tensorboard'`, `'wandb'`.

  Returns:
    The contents of `results.json`.

  Raises:
    ValueError: if a setting, the data or an earlier run's files are unusable,
      or numbers become infinite.
    FileNotFoundError: if the data are not there; says how to get them.
    Interrupted: after Ctrl-C or SIGTERM; the same call goes on.

  Example:
    >>> results = dcjax.runs.run(  # doctest: +SKIP
    ...   'idc:digits,smoke', 'runs/digits')
    >>> results['evaluations']['condensed']['last_mean']  # doctest: +SKIP
  """
  files.check_local('workdir', workdir)
  files.check_local('store', store)
  chosen = settings.resolve(config_of(config))
  work = settings.module(chosen.config.recipe)
  if hasattr(work, 'run'):  # applications and tables
    if network is not None:
      raise ValueError(
        f'network {network.name!r}: config {chosen.config.recipe!r} builds its '
        'own; set its field `network`'
      )
    return work.run(
      chosen, workdir, store=store, command=command, dataset=dataset
    )
  if not command and dataset is network is None:
    command = _commands.of_settings(chosen)
  finished = _finished(chosen, workdir, command, _given(dataset, network))
  if finished is not None:
    return finished
  with opened(
    chosen,
    workdir,
    dataset=dataset,
    network=network,
    store=store,
    command=command,
    devices_per_class=devices_per_class,
    profile=profile,
    watch=watch,
    living=True,
  ) as at_work:
    return _work(at_work)


def _work(at_work: Opened) -> dict[str, Any]:
  built, work, made, pipeline = at_work
  missing = _stage.missing(pipeline.stages, work)
  if not missing and work.folder.results() is not None:
    return _said_to_be_finished(work.folder)
  left = _costs.outlook(missing)
  # The stages hold this run's outlook: it is filled, not replaced.
  work.outlook.__dict__.update(left.__dict__)
  say(_costs.describe(built, pipeline.stages, work.outlook))
  say(f'  in {work.folder.path}')
  doubt = networks.warn_condensation(
    networks.complete('network', built.config.network)
  )
  if doubt is not None and 'method' in built.config:
    say(f'warning: {doubt}')
  _stage.run(pipeline.stages, work, made)
  return _results.finish(built, work, made, pipeline)


def condensed(
  config: ConfigDict | str,
  workdir: str | pathlib.Path,
  *,
  stop: Stop | None = None,
  **options: Any,
) -> Artefact:
  """Runs an experiment up to its condensed set, without evaluations.

  Args:
    config: see `run`.
    workdir: see `run`.
    stop: of the run that this one is a part of.
    **options: `dataset`, `network`, `store`: see `run`.

  Raises:
    ValueError: see `run`.
    Interrupted: see `run`.
  """
  chosen = settings.resolve(config_of(config))
  with opened(chosen, workdir, stop=stop, **options) as at_work:
    stages = at_work.pipeline.stages
    names = [stage.name for stage in stages]
    upto = stages[: names.index('artefact') + 1]
    _stage.run(upto, at_work.work, at_work.made)
    return at_work.made('artefact')


def plan(
  config: ConfigDict | str,
  target: str,
  *,
  devices_per_class: int = 0,
  programs: Sequence[str] = (),
  say: Callable[[str], None] | None = None,
) -> str:
  """Says what a run would take on a machine; nothing of it is run.

  Its programs are made from shapes and compiled for the machine, of which only
  the compiler must be there, as must data whose sizes are not published.

  Args:
    config: see `run`.
    target: such as `'h100'`, `'v5e:4x8'` or `'cpu'`; see docs/pods.md.
    devices_per_class: see `run`.
    programs: only those whose names begin so (some take an hour); none: all.
    say: is given each line as soon as it is known.

  Returns:
    A page: memory, work, collectives and time of each program.

  Raises:
    ValueError: naming the field, its value and what is allowed.
    FileNotFoundError: if data of unknown sizes are not there.

  Example:
    >>> print(dcjax.runs.plan('idc:cifar10', 'h100'))  # doctest: +SKIP
  """
  from dcjax.runs import _plan  # compilers of machines that are not here

  chosen = settings.resolve(config_of(config))
  return _plan.page(chosen, target, devices_per_class, programs, say)


def _finished(chosen, workdir, command, given):
  """The results of a run that has nothing left to do, or None.

  One's own data may have changed where they lie: they are looked at first.
  """
  folder = Folder(workdir, chosen.plain() | given, tuple(command))
  own = specs.parse('data', chosen.config.data)['name'] in _OWN
  if own or 'dataset' in given.get('given', {}) or folder.results() is None:
    return None
  return _said_to_be_finished(folder)


def _said_to_be_finished(folder):
  say(f'finished already: see {folder.path / "report.html"}')
  return folder.results()


def use_compilation_cache() -> None:
  """Keeps compiled programs, so that resuming starts in seconds."""
  if getattr(jax.config, 'jax_compilation_cache_dir', None) is None:
    try:
      cache = pathlib.Path('~/.cache/dcjax/compiled').expanduser()
      cache.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or none that takes files
      return
    jax.config.update('jax_compilation_cache_dir', str(cache))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
