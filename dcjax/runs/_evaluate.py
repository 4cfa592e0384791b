"""Evaluation: networks trained from scratch on a set, and tested."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import evaluation, labelling, networks, protocols
from dcjax.base import Network
from dcjax.evaluation import Evaluator
from dcjax.feeds import Feed
from dcjax.protocols import Protocol
from dcjax.runs import (
  _augment,
  _build,
  _by_class,
  _condense,
  _costs,
  _fresh,
  _labels,
  _wanted,
)
from dcjax.runs._build import Built
from dcjax.runs._labels import HARD, REGIMES
from dcjax.runs._observers import Observer
from dcjax.runs._progress import Progress
from dcjax.runs._sets import hard_batch
from dcjax.runs._stage import RECORD, Stage, Work
from dcjax.runs._wanted import Wanted

_FRESH_FOLD = 79
_ABSURD_LOSS = 1e4


class Evaluations(NamedTuple):
  """What the evaluations of a run share.

  Attributes:
    built: the objects of the run.
    work: of the run.
    teachers: the observers that label.
    tested: test networks by their word; '' is the run's own.
    programs: `(word, kind of labels, plain, protocol, whole) -> Evaluator`,
      made once each.
  """

  built: Built
  work: Work
  teachers: Sequence[Observer]
  tested: Mapping[str, Network]
  programs: Callable[..., Evaluator]


def evaluations(
  built: Built, work: Work, teachers: Sequence[Observer] = ()
) -> Evaluations:
  """Prepares the evaluations of a run; nothing is compiled yet.

  Raises:
    ValueError: if a test network is unknown or does not fit the data.
  """
  tested = {'': built.network}
  for word in built.config.evaluation.get('networks', ()):
    tested[word] = _build.build_network(
      'evaluation.networks', word, built.dataset
    )

  @functools.cache
  def program(word, kind, plain, protocol):
    own = built if not word else _with_network(built, word)
    feed = feed_of(own, kind, plain, protocol, teachers)
    return evaluator_of(own, tested[word], feed, protocol)

  return Evaluations(built, work, teachers, tested, program)


def _with_network(built, word):
  """The objects of a run with the augmentation of another test network."""
  chosen = _augment.strategies(
    built.config, built.dataset, networks.complete('', word)
  )
  return built._replace(strategies=chosen)


def stage(shared: Evaluations, asked: Wanted, name: str = '') -> Stage:
  """Trains networks on a set and tests them.

  Args:
    shared: see `evaluations`.
    asked: which evaluation.
    name: of the stage; `'evaluate/'` and that of the evaluation by default.
  """
  built, config = shared.built, shared.built.config
  protocol = _wanted.protocol(built, asked)
  fresh = asked.images == 'fresh'
  regime = 'hard' if asked.hard or fresh else config.labels.regime
  own = asked.images == 'condensed' and regime != 'hard'
  taught = shared.teachers if regime != 'hard' else ()
  inputs = ['data', 'condense' if fresh else f'set/{asked.images}']
  inputs += ['labels'] if own else []
  inputs += [o.stage for o in taught]

  def make(_, found, *made):
    if fresh:
      return _run_fresh(shared, asked, protocol, found)
    labels = HARD
    if own:
      labels, made = made[0], made[1:]
    elif regime != 'hard':
      labels = _labels.make(built, taught, made, found.images)
    if asked.hard and asked.images != 'whole':
      found = hard_batch(np.asarray(found.images))
    return _run(shared, asked, protocol, found, labels, made)

  network = shared.tested[asked.word]
  return Stage(
    name or f'evaluate/{asked.name}',
    make,
    tuple(inputs),
    _settings(built, asked, protocol, regime),
    RECORD,
    _costs.evaluation(
      built,
      network,
      _wanted.expected_images(built, asked),
      protocol.epochs,
      taught if regime == 'online' else (),
    ),
  )


def _settings(built, asked, protocol, regime):
  config, section = built.config, built.config.evaluation
  names = ('loss', 'hard_weight', 'temperature')
  return {
    'protocol': protocol._asdict(),
    'network': asked.word or config.network,
    'seeds': section.seeds,
    'seed': config.seed,
    'set': [asked.images, asked.hard, asked.plain, regime],
    'loss': [section[n] for n in names if regime != 'hard'],
    'augment': [
      config.augment.get('evaluate', 'auto'),
      config.augment.get('mix', 'auto'),
      dict(built.strategies),
      built.flips,
    ],
  }


def _run(shared, asked, protocol, batch, labels, made) -> dict[str, Any]:
  """Trains and tests; returns what is recorded."""
  built, began = shared.built, time.monotonic()
  classes = built.dataset.num_classes
  images = np.asarray(batch.images).reshape(-1, *built.dataset.image_shape)
  answers = batch.labels if labels.soft is None else labels.soft
  answers = np.asarray(answers).reshape(-1, classes)
  centred = asked.images in ('condensed', 'initial') and not asked.hard
  answers = _labels.as_loss_wants(built, protocol, answers, centred)
  rate = batch.step_size
  if rate is not None and not np.ndim(rate):  # not one for each step, as DD's
    protocol = protocols.at_step_size(protocol, rate)
  kind = labels.regime if labels.regime in ('online', 'stored') else 'plain'
  # Sets of several sizes share a program.
  padded = None
  if kind == 'plain' and asked.images != 'whole':
    padded = max(_wanted.longest(built), len(images))
  training: Any = evaluation.training_set(images, answers, classes, padded)
  variables = tuple(jax.tree.map(jnp.asarray, m['variables']) for m in made)
  if kind == 'online':
    training = labelling.TaughtSet(training, variables)
  elif kind == 'stored':
    labelling.check_stored(
      labels.stored,
      batch_size=protocol.batch_size,
      num_images=len(images),
      num_classes=classes,
    )
    stored = jax.tree.map(jnp.asarray, labels.stored)
    training = labelling.StoredSet(training, stored)
  program = shared.programs(asked.word, kind, asked.plain, protocol)
  result = train_and_test(shared, asked.name, program, training)
  online = labels.regime == 'online'
  told = _labels.regime_of(labels, answers)
  learned = labels.regime == 'hard' and told != REGIMES['hard']
  return {
    **result.summary(),
    **_by_class.told_apart(result.predicted, built.dataset, asked.name),
    **_counted(shared, asked, protocol, images.shape, told),
    'label_bytes': answers.nbytes if learned else labels.nbytes,
    'teacher_bytes': labelling.teacher_bytes(variables) if online else 0,
    'seconds': round(time.monotonic() - began, 3),
  }


def _counted(shared, asked, protocol, shape, regime):
  built, count = shared.built, shape[0]
  size = min(protocol.batch_size, count)
  return {
    'images': int(count),
    'bytes': 4 * int(np.prod(shape)),
    'network': shared.tested[asked.word].name,
    'epochs': protocol.epochs,
    'updates': protocol.epochs * -(-count // size),
    'learning_rate': float(protocol.learning_rate),
    'tests': len(built.dataset.test_labels),
    'label_regime': regime,
  }


def train_and_test(
  shared: Evaluations, name: str, program: Evaluator, training: Any
) -> evaluation.Evaluation:
  """Trains networks on a set with progress, and tests them.

  Args:
    shared: see `evaluations`.
    name: of the set.
    program: see `evaluation.evaluator`.
    training: what the program's feed takes.

  Raises:
    ValueError: if the training diverges.
    Interrupted: if a stop is asked for; this evaluation is then lost.
  """
  built, work = shared.built, shared.work
  protocol, dataset = program.protocol, built.dataset
  shown = name.replace('outer_', 'the set after outer iteration ')
  progress = Progress(f'evaluating {shown}', protocol.epochs, unit='ep')
  before = [0.0, 0.0]

  def report(done):
    now = time.monotonic()
    progress.update(round(done * protocol.epochs))
    seconds = now - before[1] if before[0] else 0.0  # the first is compiled
    work.outlook.update(f'evaluate/{name}', done, done - before[0], seconds)
    before[:] = done, now
    if done < 1:
      work.stop.check(f'while evaluating {name}')

  try:
    found = evaluation.evaluate(
      program,
      training,
      (dataset.test_images, dataset.test_labels),
      built.keys['evaluate'],
      num_seeds=built.config.evaluation.seeds,
      progress=report,
    )
  finally:
    progress.close()
  # So written that NaN is too large.
  if not (np.abs(found.loss) < _ABSURD_LOSS).all():
    raise ValueError(
      f'evaluating {name} diverged: the training loss is not finite, or above '
      f'{_ABSURD_LOSS:g}; try a smaller evaluation.learning_rate than '
      f'{protocol.learning_rate:g}'
    )
  return found


def evaluator_of(
  built: Built, network: Network, feed: Feed, protocol: Protocol
) -> Evaluator:
  """The programs of an evaluation."""
  return evaluation.evaluator(
    network,
    feed,
    protocol=protocol,
    normalise=built.normalise,
    scale=built.dataset.scale,
    seeds=built.placement.seeds(),
  )


def feed_of(
  built: Built,
  kind: str,
  plain: bool,
  protocol: Protocol,
  teachers: Sequence[Observer],
) -> Feed:
  """What networks are trained on, by the kind of its labels."""
  section = built.config.evaluation
  if kind != 'plain':
    loss = labelling.student_loss(
      section.loss,
      hard_weight=section.hard_weight,
      temperature=section.temperature,
    )
  if kind == 'stored':
    return labelling.replayed(loss, built.normalise)
  options = {
    'augment': _build.evaluation_augment(built, plain),
    'mix': _build.evaluation_mix(built, plain),
  }
  if kind == 'plain':
    return evaluation.feed(protocol, **options)
  return labelling.online(
    [o.network for o in teachers],
    loss,
    batch_size=protocol.batch_size,
    **options,
  )


def _run_fresh(shared, asked, protocol, flat) -> dict[str, Any]:
  """New codes in every batch: DiM's protocol, labelled so.

  Such a network sees up to epochs times as many different images as one that
  trains on the fixed set; it trains on as many batches.
  """
  built, began = shared.built, time.monotonic()
  dataset, count = built.dataset, built.dataset.num_classes * built.config.ipc
  size = min(protocol.batch_size, count)
  feed = evaluation.feed(protocol)._replace(
    init=lambda key, data: jnp.zeros((), jnp.int32),
    next=_fresh.batches(built, size),
    steps=lambda data: -(-count // size),
  )
  program = evaluator_of(built, built.network, feed, protocol)
  key = jax.random.fold_in(built.keys['evaluate'], _FRESH_FOLD)
  params = jax.tree.map(jnp.asarray, _condense.unflattened(flat))
  training = (built.formation.project(params), key)
  result = train_and_test(shared, asked.name, program, training)
  shown = protocol.epochs * -(-count // size) * size
  regime = 'hard, fresh samples in every batch'
  shape = (shown, *dataset.image_shape)
  return {
    **result.summary(),
    **_counted(shared, asked, protocol, shape, regime),
    'updates': shown // size,
    'label_bytes': 0,
    'teacher_bytes': 0,
    'seconds': round(time.monotonic() - began, 3),
  }
