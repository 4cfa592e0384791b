"""What cells read from a run: each is a stage of it, made once."""

import math
from typing import Any

import numpy as np

from dcjax import artefact, specs
from dcjax.artefact import Artefact
from dcjax.runs import (
  _augment,
  _build,
  _evaluate,
  _own_test as _own,
  _pipelines,
  settings,
)
from dcjax.runs._run import Opened
from dcjax.runs._stage import MEMORY, RECORD, Stage, needed, run
from dcjax.runs._wanted import Wanted
from dcjax.runs.tables._gradients import class_gradients, gradient_norms
from dcjax.runs.tables._loss import matching_loss
from dcjax.runs.tables._packing import packed
from dcjax.runs.tables._settings import sized, slugs
from dcjax.runs.tables._types import (
  Accuracy,
  ClassGradient,
  GradientNorm,
  MatchingLoss,
  Measure,
  OwnTest,
  RecordedLoss,
)

# Passes over the whole set: IDC's full-data training, and what DC's Table T2
# calls "just enough for convergence"; neither paper says more.
_WHOLE_EPOCHS = {'idc': 300, 'dc': 100}


def key_of(measure: Measure, size: str) -> str:
  """Returns the name under which a measurement is recorded."""
  if not isinstance(measure, Accuracy):
    return measure.key
  words = [measure.images]
  if measure.network is not None:
    words.append(f'network={specs.word(sized(measure.network, size))}')
  if measure.epochs_divisor != 1:
    words.append(f'epochs/{measure.epochs_divisor}')
  if measure.pack != 1:
    words.append(f'pack={measure.pack}')
  return ' '.join([*words, *slugs(measure.changes)])


def measured(at_work: Opened, measure: Measure, size: str) -> dict[str, Any]:
  """Makes a measurement of a run, or finds it.

  Args:
    at_work: the run; of its stages those are made that this one needs.
    measure: what is measured.
    size: of the table.

  Returns:
    An entry with `last_mean` and `last_std`.

  Raises:
    ValueError: if an evaluation is not possible.
    Interrupted: after a stop was asked for; what is done is recorded.
  """
  name = key_of(measure, size)
  if isinstance(measure, Accuracy):
    return _accuracy(at_work, measure, size, name)
  if isinstance(measure, OwnTest):
    return _of_its_own(at_work)
  make = _NUMBERS[type(measure)]

  def found(condensed):
    return _summary(np.atleast_1d(make(at_work, condensed, measure)))

  stage = Stage(f'measure/{name}', found, ('artefact',), {}, RECORD)
  return _made(at_work, [stage])


def budget(at_work: Opened, measure: Measure) -> dict[str, int]:
  """What networks learned from, counted three ways.

  Args:
    at_work: the run, which has made the measurement.
    measure: what was measured.

  Returns:
    'numbers' of images, labels, decoder and scales; 'float32_bytes', four for
    each; and 'stored_bytes', in the types that are stored. Whitening, which
    test images need, is not in it.
  """
  built = at_work.built
  images = getattr(measure, 'images', 'condensed')
  if images in ('condensed', 'initial') and 'artefact' in at_work.made.outputs:
    sizes = artefact.storage(at_work.made('artefact'))
    parts = [s for n, s in sizes.items() if n not in ('preprocessing', 'total')]
    numbers = sum(part['numbers'] for part in parts)
    stored = sum(part['disk_bytes'] for part in parts)
  else:
    count = built.dataset.num_classes * built.config.ipc
    if images == 'whole':
      count = len(built.dataset.labels)
    numbers = count * math.prod(built.dataset.image_shape)
    stored = numbers * built.dataset.images.dtype.itemsize
  return {
    'numbers': numbers,
    'float32_bytes': 4 * numbers,
    'stored_bytes': stored,
  }


def _made(at_work, stages):
  """The output of the last of these stages, made with all it needs."""
  own = {stage.name for stage in stages}
  inputs = {name for stage in stages for name in stage.inputs} - own
  before = [
    stage
    for stage in needed(at_work.pipeline.stages, inputs)
    if stage.name not in at_work.made.outputs
  ]
  made = run([*before, *stages], at_work.work, at_work.made)
  return made(stages[-1].name)


def _of_its_own(at_work):
  """The test of the method's own: a kernel's, or the unrolled training's."""
  built = at_work.built
  own = _own.stages(built, [Wanted('condensed', 'condensed')])
  if not own:
    method = built.config.method.name
    raise ValueError(f'method {method!r}: has no test of its own')
  sets = _pipelines.sets(built, at_work.work, ['condensed'])
  return _made(at_work, [*sets, own[0]])


def _summary(values):
  """Mean and spread of the values `[E]` of several networks."""
  spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
  return {'last_mean': float(np.mean(values)), 'last_std': float(spread)}


def _loss(at_work, condensed, measure):
  return matching_loss(at_work.built, condensed, measure.percent)


def _recorded_loss(at_work, condensed, measure):
  """Looks the loss up in the run's metrics, one line an outer iteration."""
  del condensed
  lines = at_work.work.folder.metrics()
  return lines[-(-len(lines) * measure.percent // 100) - 1]['loss']


def _gradient_norm(at_work, condensed, measure):
  norms = gradient_norms(at_work.built, condensed, [measure.epochs])
  return norms[measure.data][:, 0]


def _class_gradient(at_work, condensed, measure):
  del condensed
  return class_gradients(at_work.built)[measure.what]


_NUMBERS = {
  MatchingLoss: _loss,
  RecordedLoss: _recorded_loss,
  GradientNorm: _gradient_norm,
  ClassGradient: _class_gradient,
}


def _accuracy(at_work, measure, size, name):
  """Trains the networks of a cell on its set of images."""
  built, asked = asked_of(at_work.built, measure, size, name)
  pipeline = at_work.pipeline
  teachers = [o for o in pipeline.observers if 'labelling' in o.roles]
  shared = _evaluate.evaluations(built, at_work.work, teachers)
  if measure.pack != 1:
    own = [_packed_stage(asked.images, measure.pack)]
  else:
    own = _pipelines.sets(built, at_work.work, [asked.images])
  stage = _evaluate.stage(shared, asked)
  return _made(at_work, [*own, stage])


def asked_of(
  built: _build.Built, measure: Accuracy, size: str, name: str = ''
) -> tuple[_build.Built, Wanted]:
  """The objects of a run as a cell changes them, and what it evaluates.

  Args:
    built: the objects of the run.
    measure: of the cell.
    size: of the table.
    name: of the evaluation.
  """
  changes = {**measure.changes}
  word = ''
  if measure.network is not None:
    word = specs.word(sized(measure.network, size))
    changes['evaluation.networks'] = (word,)
  config = built.config
  if measure.epochs_divisor != 1:
    epochs = config.evaluation.epochs // measure.epochs_divisor
    changes['evaluation.epochs'] = max(1, epochs)
  if size == 'reference':
    whole = _WHOLE_EPOCHS.get(config.evaluation.protocol, 0)
    changes['evaluation.whole_epochs'] = whole
  images = measure.images
  if measure.pack != 1:
    images = f'condensed pack={measure.pack}'
  return changed(built, changes), Wanted(name, images, word)


def _packed_stage(name, factor):
  def make(_, condensed: Artefact):
    return packed(condensed, factor).batch()

  inputs = ('data', 'artefact')
  return Stage(f'set/{name}', make, inputs, {'factor': factor}, MEMORY)


def changed(built: _build.Built, changes: dict[str, Any]) -> _build.Built:
  """The objects of a run under other settings of the evaluation."""
  if not changes:
    return built
  base = settings.module(built.config.recipe).get_config('own')
  said = {
    field: value
    for field, value in settings.flat(built.config.to_dict()).items()
    if built.settings.origins.get(field) == 'said' and field != 'data'
  }
  known = {
    field: built.config[field]
    for field in ('like', 'schedule', 'smoke', 'ipc', 'factor', 'network')
  }
  known = {n: v for n, v in known.items() if n != 'like' or v in _likes(built)}
  settings.set_fields(base, {**known, **said, **changes})
  chosen = settings.resolve(base)
  config = chosen.config
  config.data, config.like = built.config.data, built.config.like
  network = settings.networks.complete('network', config.network)
  return built._replace(
    settings=chosen,
    config=config,
    strategies=_augment.strategies(config, built.dataset, network),
    protocol=_build.protocol_of(config),
  )


def _likes(built):
  return settings.module(built.config.recipe).LIKE
