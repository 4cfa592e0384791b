"""Which stages a run has, in order."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax import artefact, fairness, files, formations, sharding, trees
from dcjax.runs import (
  _artefact,
  _build,
  _condense,
  _costs,
  _evaluate,
  _experts,
  _generator,
  _given,
  _labels,
  _networks,
  _observers,
  _own_test,
  _sets,
  _start,
  _statistics,
  _wanted,
  report,
)
from dcjax.runs._build import Built
from dcjax.runs._evaluate import Evaluations
from dcjax.runs._observers import Observer
from dcjax.runs._stage import ARTEFACT, MEMORY, RECORD, Made, Stage, Work, run
from dcjax.runs._wanted import Wanted
from dcjax.runs._writers import SILENT
from dcjax.utils import check_choice


class Pipeline(NamedTuple):
  """The stages of a run and what their results are told with.

  Attributes:
    stages: in order.
    observers: networks that look at the images or label them.
    asked: the evaluations.
  """

  stages: list[Stage]
  observers: list[Observer]
  asked: list[Wanted]


def data_stage(built: Built) -> Stage:
  """What tells the data of a run from any other: a digest of all images.

  Of a set that is larger than memory, of its first window and of its files,
  see `data.Windows.digest`.
  """
  dataset = built.dataset
  arrays = {
    n: getattr(dataset, n)
    for n in ('images', 'labels', 'test_images', 'test_labels')
  }
  settings = {
    'digest': trees.digest(arrays),
    'counts': built.real.counts.tolist(),
    'mean': list(map(float, dataset.mean)),
    'std': list(map(float, dataset.std)),
    'range': list(dataset.value_range),
  }
  if dataset.stream is not None:
    settings['files'] = dataset.stream.digest()
  files = settings.get('files', '')
  sharding.agree_on(f'{settings["digest"]}{files}', 'data')
  facts = {'name': dataset.name, 'classes': dataset.num_classes}
  return Stage('data', lambda: facts, (), settings, RECORD, sole=True)


def condensing(built: Built, work: Work, made: Made) -> Pipeline:
  """From data to evaluations, for every method."""
  config = built.config
  statistical = 'iterations' in config.method
  through = _given.looks_through_observers(built)
  start = _start.parse(built)['name']
  matching = statistical or through or start == 'rded'
  roles = ['matching'] * matching
  roles += ['labelling'] * (config.labels.regime != 'hard')
  _labels.check(built)
  if config.method.get('soft_labels') and not _start.needs_embeddings(built):
    raise ValueError(
      'method.soft_labels True: are those of class features; must be False '
      f'where method.condition is {config.method.condition!r}'
    )
  found = _observers.observers(built, roles)
  looking = [o for o in found if 'matching' in o.roles]
  teachers = [o for o in found if 'labelling' in o.roles]
  if config.method.name in ('sre2l', 'cda') and len(looking) > 1:
    raise ValueError(
      f'observers.matching {tuple(config.observers.matching)}: method '
      f'{config.method.name!r} looks through one network'
    )
  if matching and not looking:
    raise ValueError('observers.matching (): must name at least one network')
  stages = [data_stage(built)]
  for wanted in found:
    stage = _observers.observer_stage(built, work, wanted)
    stages.append(stage._replace(work=_costs.observer(built, wanted)))
  stages += _before_start(built, work)
  experts = [s.name for s in stages if s.name.startswith('experts/')]
  stages.append(_start.stage(built, looking, experts))
  inputs = [s.name for s in stages if s.name in ('pool', 'embeddings')]
  inputs += experts
  if statistical:
    measured = [_statistics.stage(built, o) for o in looking]
    stages += measured
    inputs = [o.stage for o in looking] + [s.name for s in measured]
  elif through:
    inputs += [o.stage for o in looking]
  shared = _evaluate.evaluations(built, work, teachers)
  if config.method.name == 'rded':
    alone = Stage(
      'condense', lambda _, start: start, ('data', 'start'), {}, MEMORY
    )
    stages.append(alone)
  else:
    along = _along_the_way(shared, made)
    seen = looking if statistical or through else ()
    stages.append(_condense.stage(built, work, seen, inputs, along))
  stages.append(_labels.stage(built, teachers))
  stages.append(_artefact.stage(built, teachers))
  asked = _wanted.wanted(config)
  return Pipeline([*stages, *evaluating(shared, asked)], found, asked)


def _before_start(built, work) -> list[Stage]:
  """Networks that others start from: a pool, embeddings, a generator."""
  stages = _experts.stages(built)
  if built.config.method.get('pool_networks'):
    stages.append(_networks.pool_stage(built, work))
  if _start.needs_embeddings(built):
    steps = _start.parse(built)['embedding_steps']
    stages.append(_networks.embedding_stage(built, work, steps))
    stages.append(_start.embeddings_stage(built))
  if _start.parse(built)['name'] == 'generator':
    stages.append(_generator.stage(built, work))
  return stages


def _along_the_way(shared: Evaluations, made: Made) -> _condense.After:
  """Evaluates the set as it is after an outer iteration, once."""
  built, config = shared.built, shared.built.config

  def evaluate(outer, params, seconds):
    name = f'outer_{outer}'
    formation = _build.evaluation_formation(built)
    params = jax.tree.map(jnp.asarray, params)
    batch = formation.decode(_build.finished(built, params))
    if shared.work.writer is not SILENT and built.dataset.zca is None:
      images = report.image_grid(
        batch.images, value_range=built.dataset.value_range
      )
      shared.work.writer.picture(outer, 'condensed', images)
    settings = {
      'outer': outer,
      'of': _condense.settings(built),
      'project': config.get('project', 'end'),
    }
    evaluated = _evaluate.stage(shared, Wanted(name, name))

    def make(*found):
      return {**evaluated.make(*found), 'outer': outer, 'at': seconds}

    shared.work.tell(params=params, outer=outer)
    inputs = ('data', 'start')
    own = Stage(f'set/{name}', lambda *_: batch, inputs, settings, MEMORY)
    run([own, evaluated._replace(make=make)], shared.work, made)

  return evaluate


def evaluating(shared: Evaluations, asked: Sequence[Wanted]) -> list[Stage]:
  """The sets that evaluations ask for, and the evaluations.

  Args:
    shared: see `_evaluate.evaluations`.
    asked: the evaluations.
  """
  built = shared.built
  names = [w.images for w in asked if w.images != 'fresh']
  stages = sets(built, shared.work, list(dict.fromkeys(names)))
  stages += [_evaluate.stage(shared, wanted) for wanted in asked]
  stages += _own_test.stages(built, asked)
  if built.config.evaluation.get('fair'):
    stages.append(_fair_stage(built, asked))
  return stages


def sets(built: Built, work: Work, names: Sequence[str]) -> list[Stage]:
  """The stages that hold sets of images, with what they are chosen by.

  Args:
    built: the objects of the run.
    work: of the run.
    names: `'condensed'`, `'initial'`, `'whole'` or coresets.
  """
  stages = []
  if any(name in _costs.BY_FEATURES for name in names):
    stages.append(_sets.features_stage(built, work))
  of = {'condensed': 'artefact', 'initial': 'start', 'whole': 'data'}
  for name in names:
    if name not in of:
      stages.append(_sets.selection_stage(built, work, name))
    stages.append(_sets.set_stage(built, name, of.get(name, f'select/{name}')))
  return stages


def _fair_stage(built, asked) -> Stage:
  """How fairly the set wins: HLR, IOR, LRS and ARS; see `dcjax.fairness`."""
  names = ('condensed', *_wanted.FAIR)
  known = {wanted.name for wanted in asked}
  used = [name for name in names if name in known]

  def make(*entries):
    found = dict(zip(used, entries, strict=True))
    return fairness.scores(
      {name: entry['per_seed_last'] for name, entry in found.items()}
    )

  inputs = tuple(f'evaluate/{name}' for name in used)
  return Stage('fair', make, inputs, {}, RECORD)


def given(built: Built, work: Work, made: Made) -> Pipeline:
  """Evaluates and scores a set that was made elsewhere.

  Raises:
    OSError: if it is not there.
    ValueError: if it cannot be read, or has another number of images a class
      than `ipc`, which the random images beside it have.
  """
  del made
  config = built.config
  if not config.file:
    raise ValueError('file: must name the set, as file=condensed.npz')
  with files.opened(config.file) as stream:
    content = hashlib.file_digest(stream, 'sha256').hexdigest()
  found = artefact.load_any(
    config.file,
    mean=built.dataset.mean,
    std=built.dataset.std,
    class_names=built.dataset.class_names,
    factor=config.factor,
    layout=config.layout,
  )
  found = _artefact.stored(built, found)
  built = built._replace(config=_with_ipc(built, found))
  # What its labels are, and how many images it decodes to, the file says.
  built = built._replace(formation=formations.build(found.spec))
  decoded = jax.eval_shape(found.batch).images.shape
  if decoded[2:] != built.dataset.image_shape:
    raise ValueError(
      f'{config.file}: images {list(decoded[2:])} must be of the size '
      f'{list(built.dataset.image_shape)} of {built.dataset.name}'
    )
  cause = {'content': content, 'layout': config.layout}
  cause |= _artefact.as_stored(built)
  stages = [
    data_stage(built),
    Stage('artefact', lambda _: found, ('data',), cause, ARTEFACT),
  ]
  shared = _evaluate.evaluations(built, work)
  asked = [w for w in _wanted.wanted(config) if w.images != 'initial']
  return Pipeline([*stages, *evaluating(shared, asked)], [], asked)


def _with_ipc(built, found):
  """The config with the images a class that a file stores."""
  config, stored = built.config, found.params.get('images')
  if stored is None or stored.shape[1] == config.ipc:
    return config
  if built.settings.origins.get('ipc') == 'said':
    raise ValueError(
      f'ipc {config.ipc}: {config.file} stores {stored.shape[1]} images a '
      f'class; leave ipc out, or say ipc={stored.shape[1]}'
    )
  config = config.copy_and_resolve_references()
  config.ipc = stored.shape[1]
  return config


PIPELINES = {'condense': condensing, 'given': given}


def pipeline(built: Built, work: Work, made: Made) -> Pipeline:
  """The pipeline of a config."""
  name = built.config.get('pipeline', 'condense')
  check_choice('pipeline', name, PIPELINES)
  return PIPELINES[name](built, work, made)
