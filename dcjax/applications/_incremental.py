"""Class-incremental learning from condensed memories."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dcjax.applications._lessons import Lesson, accuracies, fold_each, teach
from dcjax.applications._outputs import renew_outputs
from dcjax.base import Batch, Key, PyTree, Variables
from dcjax.evaluation import Evaluator, TrainingSet, seed_keys, training_set

Test = tuple[np.ndarray, np.ndarray]
Progress = Callable[[int, float], None]


class StepResult(NamedTuple):
  """What one step of continual learning leaves behind.

  Attributes:
    step: from 0.
    accuracy: `[S, T]` of `S` networks on the test images of each step, NaN for
      steps still to come: a row of the accuracy matrix.
    variables: the networks, leaves with a leading axis `S`.
  """

  step: int
  accuracy: np.ndarray
  variables: Variables


def split_classes(
  order: ArrayLike, num_classes: int, num_steps: int
) -> np.ndarray:
  """Deals classes out to the steps of class-incremental learning.

  Args:
    order: `[C]`, every class of `0..C-1` once, in the order of learning.
    num_classes: `C`.
    num_steps: `T`, a divisor of `C`.

  Returns:
    `[T, C / T]` classes of each step, ascending within a step.

  Raises:
    ValueError: naming the classes that come twice, are missing or do not exist,
      or if the steps would differ in size.

  Example:
    >>> split_classes([2, 0, 3, 1], 4, 2)
    array([[0, 2],
           [1, 3]])
  """
  numbers = np.asarray(order)
  if numbers.ndim != 1 or numbers.dtype.kind not in 'iu':
    raise ValueError(f'class order {order!r}: must be a list of whole numbers')
  known = np.arange(num_classes)
  values, counts = np.unique(numbers, return_counts=True)
  for what, wrong in (
    ('repeats', values[counts > 1]),
    ('misses', np.setdiff1d(known, values)),
    ('names, but the data do not have,', np.setdiff1d(values, known)),
  ):
    if wrong.size:
      raise ValueError(
        f'class order {what} {wrong.tolist()}: must hold every class of '
        f'0..{num_classes - 1} once'
      )
  if num_steps < 1 or num_classes % num_steps:
    raise ValueError(
      f'steps {num_steps}: must divide the {num_classes} classes evenly'
    )
  return np.sort(numbers.reshape(num_steps, -1), axis=1)


def published_class_order(num_classes: int, seed: int = 0) -> np.ndarray:
  """The class orders of DM's continual learning, which IDC and FRePo share.

  NumPy's permutation after `seed`; IDC uses seed 0, in five steps on CIFAR-100.

  Args:
    num_classes: `C`.
    seed: DM averages over 0 to 4.

  Returns:
    `[C]`.
  """
  # The old generator is what makes the order the published one.
  return np.random.RandomState(seed).permutation(num_classes)


def class_incremental(
  learner: Evaluator,
  memories: Sequence[Batch],
  tests: Sequence[Test],
  key: Key,
  *,
  num_seeds: int = 1,
  axes: PyTree | None = None,
  first: int = 0,
  previous: Variables | None = None,
  progress: Progress | None = None,
) -> Iterator[StepResult]:
  """Learns classes step by step from memories alone.

  In step `i` networks train on the union of the memories of steps `0..i`, and
  are tested on all classes seen. With `axes` they go on from the step before:
  the classifier is widened and the old classes are distilled if the learner
  does that (Kim et al., 2022, section 5.3); without, they start afresh in every
  step (GDumb, Prabhu et al., 2020; DM, Zhao & Bilen, 2023). Absent classes have
  no output; DM's code leaves them one.

  Args:
    learner: an evaluator on `lessons`; its network has all `C` classes.
    memories: for each of `T` steps a `Batch` of its `C / T` classes: images
      `[C / T, M, H, W, D]` in [0, 1], labels `[C / T, M, C / T]` over the
      step's own classes, or None for hard ones; weights are not read. Class
      `c` of step `i` is class `i C / T + c` of the network.
    tests: for each step, images as stored and labels `[M']` of the network's
      classes.
    key: decides networks and training.
    num_seeds: `S`.
    axes: see `output_axes`; None: from scratch.
    first: step to go on with.
    previous: the networks of step `first - 1`, for going on with `axes`.
    progress: called with step and fraction done.

  Yields:
    A `StepResult` for each step from `first`.

  Raises:
    ValueError: if memories and tests are not as many, memories differ in shape,
      or `previous` is missing.
  """
  steps = len(tests)
  _check_memories(memories, steps)
  if axes is not None and first and previous is None:
    raise ValueError(f'first {first}: previous must be the networks before it')
  per_step = memories[0].images.shape[0]
  keys = seed_keys(key, num_seeds)
  for step in range(first, steps):
    present, old = (
      np.arange(per_step * steps) < per_step * n for n in (step + 1, step)
    )
    step_keys = fold_each(keys, step)
    variables = fresh = learner.init(step_keys)
    images = union(memories[: step + 1], steps)
    lesson = Lesson(images, np.zeros_like(present), fresh)
    if axes is not None and previous is not None:
      variables = _renewed(previous, fresh, jnp.asarray(old), axes)
      lesson = Lesson(images, old, previous)
    previous = teach(
      learner,
      step_keys,
      lesson,
      variables,
      present=present,
      progress=of_step(progress, step),
    )
    # All tests, so that every step asks about as many images.
    row = accuracies(learner, previous, tests, jnp.asarray(present))
    yield StepResult(step, padded_row(row, step), previous)


def union(memories: Sequence[Batch], num_steps: int) -> TrainingSet:
  """Joins memories of the first steps, padded to the size of all of them.

  Args:
    memories: of each step, images `[C / T, M, H, W, D]` and labels `[C / T, M,
      C / T]`, or None for hard ones.
    num_steps: `T`.

  Returns:
    Labels are over all `C` classes; those of a step's images are 0 for the
    classes of other steps. See `class_incremental`.

  Raises:
    ValueError: if labels do not fit their images.
  """
  images = np.concatenate([np.asarray(m.images) for m in memories])
  per_step, each = memories[0].images.shape[:2]
  num_classes = per_step * num_steps
  labels = np.concatenate(
    [_labels_of(m, i, num_classes) for i, m in enumerate(memories)]
  )
  return training_set(
    images.reshape(-1, *images.shape[2:]),
    labels.reshape(-1, num_classes),
    num_classes,
    padded_to=num_classes * each,
  )


def _labels_of(memory, step, num_classes):
  """Labels `[C / T, M, C]` of a step's images, over the classes of all."""
  classes, each = memory.images.shape[:2]
  own = np.eye(classes, dtype=np.float32)[:, None].repeat(each, 1)
  if memory.labels is not None:
    own = np.asarray(memory.labels, np.float32)
  if own.shape != (classes, each, classes):
    raise ValueError(
      f'memory of step {step}: labels {own.shape} must be {classes} x {each} x '
      f"{classes}, over the step's own classes"
    )
  labels = np.zeros((classes, each, num_classes), np.float32)
  labels[..., step * classes : (step + 1) * classes] = own
  return labels


def _check_memories(memories, steps):
  shapes = [np.shape(m.images) for m in memories]
  if len(shapes) != steps or not shapes:
    raise ValueError(
      f'{len(shapes)} memories and {steps} tests: must be one of each a step'
    )
  if len(set(shapes)) > 1:
    raise ValueError(
      f'memories have shapes {sorted(set(shapes))}: must be alike, so that '
      'every step has the same storage'
    )


def _renewed(previous, fresh, kept, axes):
  return jax.vmap(lambda v, f: renew_outputs(v, f, kept, axes))(previous, fresh)


def of_step(
  progress: Progress | None, step: int
) -> Callable[[float], None] | None:
  """Progress of one step; None stays None."""
  return None if progress is None else lambda done: progress(step, done)


def padded_row(row: np.ndarray, step: int) -> np.ndarray:
  """Accuracies `[S, T]` with NaN for the steps after `step`."""
  return np.where(np.arange(row.shape[1]) <= step, row, np.nan)
