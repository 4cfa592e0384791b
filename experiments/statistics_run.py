"""A run of RDED, SRe2L, CDA, G-VBSM or EDC, from data to report.

Its stages are observers, statistics, start, synthesis, labels and evaluation.
Each leaves its file in the run's folder and is never repeated once finished.
"""

import time
from typing import Any, NamedTuple

import builder
import experiment
import jax
import numpy as np
import observers
import squeeze
import stages
import statistics_parts
import statistics_plan
import students
import synthesis
from _stage_files import Stages
from ml_collections import ConfigDict
from outlook import Outlook
from progress import duration, say
from statistics_parts import Parts
from workdir import Interrupted, Workdir

from dcjax import (
  artefact,
  coresets,
  formations,
  labelling,
  methods,
  sharding,
)
from dcjax.artefact import Artefact

METHODS = statistics_parts.METHODS


class Finished(NamedTuple):
  """What is known once the images are there.

  Attributes:
    start: `[C, N, H, W, D]`, where they came from.
    observers: by role.
    labels: of the condensed set.
    condensed: the artefact.
  """

  start: np.ndarray
  observers: observers.Observers
  labels: students.Labels
  condensed: Artefact


def run(
  config: ConfigDict,
  workdir: str,
  command: list[str],
  *,
  devices_per_class: int = 0,
) -> dict[str, Any]:
  """Runs an experiment, or goes on with it, or says that it is finished.

  On several devices or processes it is the same run: all processes call this,
  the first one writes.

  Args:
    config: the settings; see `configs/statistics.py`.
    workdir: the run's folder.
    command: how the program was started, for the messages.
    devices_per_class: see `sharding.make_mesh`.

  Returns:
    The contents of `results.json`.

  Raises:
    ValueError: if a setting, the data or an earlier stage's file is unusable.
    FileNotFoundError: if the data or a state dict are not there.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  folder = Workdir(workdir, config, command)
  if folder.results() is not None:
    say(f'finished already: see {folder.path / "report.html"}')
    return folder.results()
  experiment.use_compilation_cache()
  parts = statistics_parts.build(config, devices_per_class)
  wanted = observers.plans(config, parts.dataset)
  if config.method != 'rded':  # what is wrong with it is heard of now
    synthesis.make_condenser(parts, [p.network for p in wanted['matching']])
  folder.claim()
  left = statistics_plan.expected(parts, wanted, folder)
  say(statistics_plan.describe(parts, wanted, folder, left))
  try:
    with folder.graceful_stop() as stop:
      finished = make_set(parts, wanted, folder, stop, left)
      _evaluate(parts, folder, finished, stop, left)
  except Interrupted:
    raise
  except Exception:
    folder.release()
    raise
  finally:
    if parts.dataset.stream is not None:
      parts.dataset.stream.close()
  results = _summarise(parts, folder, finished)
  if sharding.is_main():
    stages.write_pages(
      folder, _viewable(parts, finished), parts.dataset.value_range, results
    )
  folder.write_json('results.json', results)
  experiment.say_end(results, folder.path)
  return results


def keys(seed: int) -> dict[str, jax.Array]:
  """The keys of a run by what they decide."""
  root = jax.random.key(seed)
  known = experiment.run_keys(seed)
  return known | {'labels': jax.random.fold_in(root, 100)}


def make_set(
  parts: Parts,
  wanted: dict[str, tuple[observers.Plan, ...]],
  folder: Workdir,
  stop: Any,
  outlook: Outlook | None = None,
) -> Finished:
  """Runs all stages but evaluation, or goes on with them.

  Args:
    parts: of the run.
    wanted: see `observers.plans`.
    folder: of the run.
    stop: whether the run was asked to stop.
    outlook: hears how long everything takes.
  """
  left = outlook or Outlook({})
  config, record = parts.config, Stages(folder)
  data, drawn = observers.data_identity(parts.dataset), keys(config.seed)
  began = time.monotonic()
  found = observers.obtain(parts, wanted, folder.path, stop, left)
  say(f'observers: ready in {duration(time.monotonic() - began)}')
  looking = found['matching']
  start = squeeze.start(parts, looking, drawn['init'], record, data)
  left.finish('start', '')
  images, seconds = start, record.seconds.get('start', 0.0)
  if config.method != 'rded':
    real = squeeze.targets(parts, looking, record, data, folder.path, left)
    images, seconds = synthesis.synthesise(
      parts,
      synthesis.make_condenser(parts, [o.plan.network for o in looking]),
      methods.ObserverData(tuple(o.variables for o in looking), real),
      start,
      drawn['condense'],
      folder,
      stop,
      left,
    )
    say(f'synthesis: done in {duration(seconds)}')
  labels = students.relabel(
    parts, found['labelling'], images, drawn['labels'], record
  )
  left.finish('labels', '')
  made = make_artefact(parts, images, labels, found)
  if sharding.is_main():
    artefact.save(folder.path / 'condensed.npz', made)
  return Finished(start, found, labels, made)


def make_artefact(
  parts: Parts,
  images: np.ndarray,
  labels: students.Labels,
  found: observers.Observers,
) -> Artefact:
  """The condensed set with everything needed to use it.

  Args:
    parts: of the run.
    images: `[C, N, H, W, D]` in [0, 1].
    labels: of the set; stored ones lie beside the artefact.
    found: the observers.
  """
  config, dataset = parts.config, parts.dataset
  section = config.evaluation
  beside = {'labels_file': 'labels.npz'} if labels.stored is not None else {}
  return Artefact(
    params={'images': np.asarray(images)},
    spec=dict(formations.identity().spec),
    mean=dataset.mean,
    std=dataset.std,
    class_names=dataset.class_names,
    labels=labels.soft,
    label_regime=labels.name,
    protocol={
      'network': parts.network.name,
      **parts.protocol._asdict(),
      'loss': section.loss,
      'hard_weight': section.hard_weight,
      'temperature': section.temperature,
      'smallest_crop': section.smallest_crop,
      'flips': parts.flips,
      'mix': section.mix,
      'mix_alpha': section.mix_alpha,
      'teachers': [o.plan.word for o in found['labelling']],
      **beside,
    },
    provenance={
      'method': config.method,
      'dataset': dataset.name,
      'ipc': config.ipc,
      'seed': config.seed,
      'config': _portable(config),
      'versions': stages.versions(),
    },
  )


def _portable(config):
  """The settings without the paths of this machine."""
  plain = stages.portable(config)
  plain['observers']['dir'] = ''
  for role in observers.ROLES:
    parted = [word.partition('@') for word in plain['observers'][role]]
    plain['observers'][role] = [
      word + at + file.rpartition('/')[2] for word, at, file in parted
    ]
  return plain


def _evaluate(parts, folder, finished, stop, left):
  """Trains students on the condensed set and the baselines, each once."""
  config, drawn = parts.config, keys(parts.config.seed)
  teachers = finished.observers['labelling']
  school = students.Students(parts, teachers, stop, left)
  for name, of, word in statistics_plan.evaluations(config):
    if name in folder.evaluations():
      continue
    images = _images(parts, finished, of, drawn)
    labels = _labels(parts, finished, of, images, drawn)
    entry = school.run(name, images, labels, drawn['evaluate'], word)
    folder.add_evaluation(name, entry)
    if stop.agreed():
      raise Interrupted(
        f'stopped after evaluating {name}; the same command goes on from here'
      )


def _images(parts, finished, name, drawn):
  if name == 'initial':
    return finished.start
  if name.startswith('condensed'):
    return np.asarray(finished.condensed.params['images'])
  counts, ipc = parts.dataset.counts, parts.config.ipc
  chosen = coresets.random(drawn['random'], counts, ipc)
  return builder.real_images(parts.dataset, chosen)


def _labels(parts, finished, name, images, drawn):
  """A baseline is labelled as the condensed set is, unless it says 'hard'."""
  if name.endswith('_hard'):
    return students.HARD
  if name == 'condensed':
    return finished.labels
  teachers = finished.observers['labelling']
  return students.make_labels(parts, teachers, images, drawn['labels'])


def _summarise(parts, folder, finished) -> dict[str, Any]:
  """Collects `results.json`."""
  config, entries = parts.config, folder.evaluations()
  found, labels = finished.observers, finished.labels
  stored = artefact.storage(finished.condensed)
  last = folder.metrics()[-1:] or [{'seconds': 0.0}]
  every = observers.summary(found)
  teachers = labelling.teacher_bytes([o.variables for o in found['labelling']])
  return {
    'method': config.method,
    'dataset': parts.dataset.name,
    'ipc': config.ipc,
    'formation': dict(finished.condensed.spec),
    'headline': 'condensed',
    'evaluations': entries,
    'observers': every,
    'storage': stored,
    'bytes': {
      'images': stored['images']['float32_bytes'],
      'labels': labels.nbytes,
      'teachers': teachers if labels.regime == 'online' else 0,
    },
    'seconds': {
      'observers': round(sum(o['seconds'] for o in every), 3),
      **Stages(folder).seconds,
      'condense': round(last[0]['seconds'], 3),
      'evaluate': round(sum(e['seconds'] for e in entries.values()), 3),
    },
    'environment': stages.environment(),
    'checkpoints': [],
    'config_file': folder.config_file,
    'label_regime': labels.name,
  }


def _viewable(parts, finished):
  """Real, initial and condensed images to look at."""
  drawn = keys(parts.config.seed)
  real = _images(parts, finished, 'random', drawn)
  condensed = _images(parts, finished, 'condensed', drawn)
  return {'real': real, 'initial': finished.start, 'condensed': condensed}
