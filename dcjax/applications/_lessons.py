"""Networks that go on learning, and hold on to what they were."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.applications._outputs import distillation_loss
from dcjax.base import Array, Augment, Network, Variables
from dcjax.evaluation import Evaluator
from dcjax.feeds import Feed, TrainingSet, labelled
from dcjax.losses import cross_entropy
from dcjax.training import Mix
from dcjax.utils import check_at_least


class Distillation(NamedTuple):
  """How a network holds on to what it was; see `distillation_loss`.

  Attributes:
    temperature: `T`, above 0.
    weight: beta; 0: no distillation.
  """

  temperature: float = 2.0
  weight: float = 1.0


class Lesson(NamedTuple):
  """What networks learn, and who is remembered; see `lessons`.

  Attributes:
    images: see `evaluation.training_set`.
    old: `[K]` bool, classes whose outputs are distilled; none: no distillation.
    teacher: `Variables` with a leading axis `S`, the networks before.
  """

  images: TrainingSet
  old: Array
  teacher: Variables


class _LessonBatch(NamedTuple):
  """A `Batch` with the logits `[B, K]` of the network before."""

  images: Array
  labels: Array
  weights: Array
  answers: Array
  old: Array


def lessons(
  network: Network,
  distillation: Distillation | None = None,
  *,
  batch_size: int,
  augment: Augment | None = None,
  mix: Mix | None = None,
) -> Feed:
  """Labelled images, and what each network said of them before.

  Args:
    network: the one that learns, and was before.
    distillation: on the old classes; None: none ever.
    batch_size: of the training.
    augment: normalisation and augmentation.
    mix: CutMix, after augmentation. The teacher sees what the student sees.

  Returns:
    A feed on a `Lesson`.

  Raises:
    ValueError: if the temperature is not above 0, or the weight negative.
  """
  plain = labelled(batch_size, augment=augment, mix=mix)
  feed = Feed(
    lambda key, data: plain.init(key, data.images),
    lambda key, state, data: plain.next(key, state, data.images),
    lambda data: plain.steps(data.images),
    own=Lesson(False, False, True),
  )
  if distillation is None:
    return feed
  temperature, weight = distillation
  if not temperature > 0:
    raise ValueError(f'temperature {temperature}: must be above 0')
  check_at_least('weight', weight, 0)

  def next_fn(key, state, data):
    state, batch = plain.next(key, state, data.images)
    answers = network.apply(data.teacher, batch.images, False)[0].logits
    return state, _LessonBatch(*batch[:3], answers, data.old)

  def loss(logits, batch):
    return cross_entropy(logits, batch) + distillation_loss(
      logits,
      batch.answers,
      batch.old,
      temperature=temperature,
      weight=weight,
      weights=batch.weights,
    )

  return feed._replace(next=next_fn, loss=loss)


def fold_each(keys: Array, number: int) -> Array:
  """Folds a number into each of the keys `[S]`."""
  return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def teach(
  learner: Evaluator,
  keys: Array,
  data: Any,
  variables: Variables,
  *,
  present: Array | None = None,
  epochs: int | None = None,
  pieces: int = 20,
  progress: Callable[[float], None] | None = None,
) -> Variables:
  """Trains networks on a set, from where they stand.

  From fresh networks it is what `evaluation.evaluate` does, number for number.
  Shapes stay the same while the training sets are padded to one size: then
  everything compiles once.

  Args:
    learner: see `evaluation.evaluator`.
    keys: `[S]`, consumed.
    data: what its feed takes; see `evaluation.training_set` and `Lesson`.
    variables: leaves with a leading axis `S`.
    present: `[K]` bool, classes that have an output; None: all.
    epochs: passes; None: the protocol's, for which its schedule is made.
    pieces: compiled calls the training is cut into, for progress.
    progress: called with the fraction done.

  Returns:
    The networks afterwards.
  """
  total = learner.protocol.epochs if epochs is None else epochs
  state = learner.start(keys, data, variables)
  size = max(1, total // pieces)
  for done in range(0, total, size):
    passes = min(size, total - done)
    state, _ = learner.train(keys, data, state, passes, present)
    if progress is not None:
      jax.block_until_ready(state)
      progress((done + passes) / total)
  return learner.tested(state)


def accuracies(
  learner: Evaluator,
  variables: Variables,
  tests: Sequence[tuple[np.ndarray, np.ndarray]],
  present: Array | None = None,
) -> np.ndarray:
  """Tests networks on several sets; the largest of the present outputs wins.

  Args:
    learner: see `evaluation.evaluator`.
    variables: leaves with a leading axis `S`.
    tests: of each set, images `[M, H, W, D]` as stored and labels `[M]`.
    present: `[K]` bool, classes that have an output; None: all.

  Returns:
    `[S, len(tests)]` fractions in [0, 1].
  """
  images = jnp.concatenate([jnp.asarray(images) for images, _ in tests])
  answers = learner.logits(variables, images, present)
  labels = np.concatenate([labels for _, labels in tests])
  right = np.asarray(jnp.argmax(answers, axis=-1)) == labels
  ends = np.cumsum([len(labels) for _, labels in tests])[:-1]
  return np.stack([part.mean(1) for part in np.split(right, ends, 1)], axis=1)
