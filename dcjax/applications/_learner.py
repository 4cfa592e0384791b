"""A learner: the one training loop, from any start, on any of the outputs."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import training
from dcjax._students import optimizer_of, tested_variables
from dcjax.applications._outputs import distillation_loss, with_outputs
from dcjax.base import (
  Array,
  Augment,
  Batch,
  Key,
  Network,
  PyTree,
  Variables,
)
from dcjax.data import shuffler
from dcjax.evaluation import TrainingSet
from dcjax.matching import ClassStrategy, over_classes
from dcjax.objectives import cross_entropy
from dcjax.protocols import Protocol
from dcjax.training import Mix
from dcjax.utils import check_at_least

WrapOptimizer = Callable[
  [optax.GradientTransformation], optax.GradientTransformation
]


class Distillation(NamedTuple):
  """How a network holds on to what it was; see `distillation_loss`.

  Attributes:
    temperature: `T`, above 0.
    weight: beta; 0: no distillation.
  """

  temperature: float = 2.0
  weight: float = 1.0


class Lesson(NamedTuple):
  """Which outputs take part in a training, and who is remembered.

  Attributes:
    present: `[K]` bool, classes that have an output by now.
    old: `[K]` bool, classes whose outputs are distilled; none: no distillation.
    teacher: `Variables` with a leading axis `S`, the networks before; what the
      learner's own `loss` takes, with that axis, if it has one.
  """

  present: Array
  old: Array
  teacher: PyTree


class Learner(NamedTuple):
  """Compiled pieces that train and ask `S` networks; made by `learner`.

  Attributes:
    init: `keys [S] -> variables`, leaves with a leading axis `S`.
    start: `(keys [S], TrainingSet, variables) -> state`, with a new optimiser.
    train: `(keys [S], TrainingSet, state, Lesson, epochs) -> state`.
    logits: `(variables, images [M, H, W, D] as stored, present [K]) -> [S, M,
      K]`; logits of absent classes are below all others.
    protocol: of training.
  """

  init: Callable
  start: Callable
  train: Callable
  logits: Callable
  protocol: Protocol


def learner(
  network: Network,
  *,
  protocol: Protocol,
  normalise: Augment,
  scale: float = 1.0,
  augment: Augment | None = None,
  mix: Mix | None = None,
  distillation: Distillation | None = None,
  loss: Callable[[PyTree, Array, Batch, Array], Array] | None = None,
  wrap_optimizer: WrapOptimizer = lambda optimizer: optimizer,
  seeds: ClassStrategy = 'auto',
) -> Learner:
  """Prepares training that goes on from network to network.

  From fresh networks and with all outputs it is what `evaluation.evaluate`
  does, number for number. Shapes stay the same while the training sets are
  padded to one size: then everything compiles once.

  Args:
    network: with all the `K` classes that there will ever be.
    protocol: how it is trained, each time from the start of its schedule.
    normalise: of images that are asked about.
    scale: these are divided by it.
    augment: normalisation and augmentation of training images.
    mix: CutMix, after augmentation. The teacher sees what the student sees.
    distillation: on the old classes; None: none ever.
    loss: instead of cross-entropy with distillation, `(teacher, logits, batch,
      labels) -> []`, with the teacher of the lesson; see `labelling.online`.
    wrap_optimizer: changes the protocol's optimiser, whose state must stay of
      one structure; see `with_sparsity`.
    seeds: see `evaluation.evaluator`.

  Raises:
    ValueError: if the temperature is not above 0, the weight negative, or there
      is both a distillation and another loss.
  """
  if distillation is not None:
    _check(distillation)
    if loss is not None:
      raise ValueError(
        'loss: comes in place of distillation, which must be None'
      )
  over_seeds = functools.partial(over_classes, strategy=seeds)

  def init(keys):
    # As evaluation draws its networks: equal keys, equal networks.
    return over_seeds(lambda key: network.init(jax.random.split(key, 3)[0]))(
      keys
    )

  def start(keys, data, variables):
    one = functools.partial(_start, protocol, wrap_optimizer, data)
    return over_seeds(one)(keys, variables)

  def train(keys, data, state, lesson, epochs):
    student = with_outputs(network, lesson.present)

    def one(key, state, teacher):
      own = _loss(network, teacher, lesson.old, distillation)
      if loss is not None:
        own = functools.partial(loss, teacher)
      options = dict(augment=augment, mix=mix, loss=own)
      return _train(
        student, protocol, wrap_optimizer, data, key, state, epochs, **options
      )

    return over_seeds(one)(keys, state, lesson.teacher)

  def logits(variables, images, present):
    student = with_outputs(network, present)

    def ask(variables, batch):
      batch = normalise(jax.random.key(0), batch.astype(jnp.float32) / scale)
      return student.apply(variables, batch, False)[0].logits

    def one(variables):
      return training.in_batches(functools.partial(ask, variables), images)

    return over_seeds(one)(variables)

  return Learner(
    jax.jit(init),
    jax.jit(start),
    jax.jit(train, donate_argnums=2),
    jax.jit(logits),
    protocol,
  )


def _start(protocol, wrap, data, key, variables):
  walk, steps = _walk(data, protocol)
  # A copy: the state is donated, while the variables may teach.
  copied = jax.tree.map(jnp.copy, variables)
  return (
    training.start_from(copied, wrap(optimizer_of(protocol, steps))),
    walk.init(jax.random.split(key, 3)[1], data.count[None]),
  )


def _train(network, protocol, wrap, data, key, state, epochs, **options):
  """Passes over a set, from where network and walk stand."""
  walk, steps = _walk(data, protocol)

  def draw(key, source):
    source, places, weights = walk.next(key, data.count[None], source)
    chosen = places[0]
    batch = Batch(data.images[chosen], data.labels[chosen], weights[0])
    return source, batch

  return training.fit(
    network,
    wrap(optimizer_of(protocol, steps)),
    *state,
    draw,
    epochs * steps,
    jax.random.split(key, 3)[2],
    **options,
  )[:2]


def _check(distillation):
  if not distillation.temperature > 0:
    raise ValueError(f'temperature {distillation.temperature}: must be above 0')
  check_at_least('weight', distillation.weight, 0)


def _walk(data, protocol):
  """The walk through a set, and how many steps a pass has."""
  size = min(protocol.batch_size, data.images.shape[0])
  walk = shuffler(data.images.shape[0], protocol.batch_size, keep_last=True)
  return walk, -(-data.count // jnp.minimum(size, data.count))


def _loss(network, teacher, old, distillation):
  """Cross-entropy with the distillation; None: cross-entropy alone."""
  if distillation is None:
    return None

  def loss(logits, batch, labels):
    del labels
    # The teacher sees what the student sees, augmented and mixed.
    answers = network.apply(teacher, batch.images, False)[0].logits
    return cross_entropy(logits, batch) + distillation_loss(
      logits,
      answers,
      old,
      temperature=distillation.temperature,
      weight=distillation.weight,
      weights=batch.weights,
    )

  return loss


def seed_keys(key: Key, num_seeds: int) -> Array:
  """Keys `[S]` of networks, those that `evaluation.evaluate` takes.

  Args:
    key: network `i` has `fold_in(key, i)`.
    num_seeds: `S`, at least 1.

  Raises:
    ValueError: if `num_seeds` is below 1.
  """
  check_at_least('num_seeds', num_seeds, 1)
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_seeds))


def fold_each(keys: Array, number: int) -> Array:
  """Folds a number into each of the keys `[S]`."""
  return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def plain_lesson(variables: Variables, num_classes: int) -> Lesson:
  """A lesson of all classes without distillation.

  Args:
    variables: any with a leading axis `S`; not read.
    num_classes: `K`.
  """
  whole = jnp.ones(num_classes, bool)
  return Lesson(whole, ~whole, variables)


def teach(
  learner: Learner,
  keys: Array,
  data: TrainingSet,
  variables: Variables,
  lesson: Lesson | None = None,
  *,
  epochs: int | None = None,
  pieces: int = 20,
  progress: Callable[[float], None] | None = None,
) -> Variables:
  """Trains networks on a set, from where they stand.

  Args:
    learner: see `learner`.
    keys: `[S]`, consumed.
    data: see `evaluation.training_set`.
    variables: leaves with a leading axis `S`.
    lesson: None: `plain_lesson`.
    epochs: passes; None: the protocol's, for which its schedule is made.
    pieces: compiled calls the training is cut into, for progress.
    progress: called with the fraction done.

  Returns:
    The networks afterwards.
  """
  if lesson is None:
    lesson = plain_lesson(variables, data.labels.shape[1])
  total = learner.protocol.epochs if epochs is None else epochs
  state = learner.start(keys, data, variables)
  size = max(1, total // pieces)
  for done in range(0, total, size):
    passes = min(size, total - done)
    state = learner.train(keys, data, state, lesson, passes)
    if progress is not None:
      jax.block_until_ready(state)
      progress((done + passes) / total)
  return jax.vmap(lambda s: tested_variables(learner.protocol, s))(state[0])


def accuracies(
  learner: Learner,
  variables: Variables,
  tests: Sequence[tuple[np.ndarray, np.ndarray]],
  present: Array | None = None,
) -> np.ndarray:
  """Tests networks on several sets; the largest of the present outputs wins.

  Args:
    learner: see `learner`.
    variables: leaves with a leading axis `S`.
    tests: of each set, images `[M, H, W, D]` as stored and labels `[M]`.
    present: `[K]` bool, classes that have an output; None: all.

  Returns:
    `[S, len(tests)]` fractions in [0, 1].
  """
  if present is None:
    present = jnp.ones((), bool)
  images = jnp.concatenate([jnp.asarray(images) for images, _ in tests])
  answers = learner.logits(variables, images, present)
  labels = np.concatenate([labels for _, labels in tests])
  right = np.asarray(jnp.argmax(answers, axis=-1)) == labels
  ends = np.cumsum([len(labels) for _, labels in tests])[:-1]
  return np.stack([part.mean(1) for part in np.split(right, ends, 1)], axis=1)
