"""Learning several sets of the same classes: one after another, or adapting."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from dcjax.applications._incremental import (
  Progress,
  StepResult,
  Test,
  of_step,
  padded_row,
)
from dcjax.applications._lessons import Lesson, accuracies, fold_each, teach
from dcjax.base import Batch, Key, Variables
from dcjax.evaluation import Evaluator, TrainingSet, seed_keys, training_set


class Task(NamedTuple):
  """One of several sets that share their classes, such as handwritten digits.

  Attributes:
    name: for messages.
    images: `[M, H, W, D]` in [0, 1], training.
    labels: `[M]` integers in `0..K-1`.
    test: images `[M', H, W, D]` as the learner takes them, and labels.
    memory: `Batch` of the few images kept, `[K, N, H, W, D]` in [0, 1], with
      labels `[K, N, K]`.
    class_names: `K`, compared across tasks.
  """

  name: str
  images: np.ndarray
  labels: np.ndarray
  test: Test
  memory: Batch
  class_names: tuple[str, ...]


def check_alike(tasks: Sequence[Task]) -> None:
  """Raises a ValueError unless tasks agree in classes and image shape."""
  first = tasks[0]
  for task in tasks[1:]:
    if task.class_names != first.class_names:
      raise ValueError(
        f'{task.name} has classes {list(task.class_names)} and {first.name} '
        f'{list(first.class_names)}: must be the same'
      )
    if task.images.shape[1:] != first.images.shape[1:]:
      raise ValueError(
        f'{task.name} has images {task.images.shape[1:]} and {first.name} '
        f'{first.images.shape[1:]}: must be of one shape'
      )


def task_incremental(
  learner: Evaluator,
  balancer: Evaluator,
  tasks: Sequence[Task],
  key: Key,
  *,
  passes: Callable[[int], int],
  num_seeds: int = 1,
  first: int = 0,
  previous: Variables | None = None,
  progress: Progress | None = None,
) -> Iterator[StepResult]:
  """Learns tasks over shared classes one after another: E2E's recipe.

  Castro et al. (2018) as DC uses it (Zhao et al., 2021, first version): each
  step trains on all images of the new task with the memories of the old ones,
  distilling from the networks before, then fine-tunes on the memories of all
  tasks so far, which are balanced, distilling from the networks just trained.
  With one head for all tasks, all its outputs are distilled.

  Args:
    learner: for the main training, an evaluator on `lessons`, whose
      `distillation` decides whether there is any, as does the balancer's.
    balancer: for the fine-tuning; its protocol names the epochs.
    tasks: in the order of learning, see `Task`.
    key: decides networks and training.
    passes: images in the training set -> passes over it.
    num_seeds: `S`.
    first: step to go on with.
    previous: the networks of step `first - 1`.
    progress: called with step and fraction done of the main training.

  Yields:
    A `StepResult` for each step from `first`.

  Raises:
    ValueError: if tasks differ in classes or image shape, or `previous` is
      missing.
  """
  check_alike(tasks)
  if first and previous is None:
    raise ValueError(f'first {first}: previous must be the networks before it')
  kept = tasks[0].memory.images.shape[1] * len(tasks[0].class_names)
  longest = max(len(t.labels) for t in tasks) + kept * (len(tasks) - 1)
  keys = seed_keys(key, num_seeds)
  whole = np.ones(len(tasks[0].class_names), bool)
  for step in range(first, len(tasks)):
    step_keys = fold_each(keys, step)
    start = learner.init(step_keys) if previous is None else previous
    data = _with_memories(tasks[step], tasks[:step], longest)
    previous = teach(
      learner,
      step_keys,
      Lesson(data, whole if step else ~whole, start),
      start,
      epochs=passes(int(data.count)),
      progress=of_step(progress, step),
    )
    if step:
      balanced = _memories(tasks[: step + 1], kept * len(tasks))
      previous = teach(
        balancer,
        fold_each(step_keys, 1),
        Lesson(balanced, whole, previous),
        previous,
      )
    row = accuracies(learner, previous, [task.test for task in tasks])
    yield StepResult(step, padded_row(row, step), previous)


def _memories(tasks, padded_to):
  images, labels = _kept(tasks)
  return training_set(images, labels, len(tasks[0].class_names), padded_to)


def _with_memories(task, before, padded_to):
  labels = np.eye(len(task.class_names), dtype=np.float32)[task.labels]
  parts = [(task.images, labels), *([_kept(before)] if before else [])]
  images, labels = map(np.concatenate, zip(*parts, strict=True))
  return training_set(images, labels, len(task.class_names), padded_to)


def _kept(tasks):
  """The images that tasks keep `[M, H, W, D]`, and their labels `[M, K]`."""
  images, labels = (
    np.concatenate([np.asarray(array) for array in arrays])
    for arrays in zip(*(task.memory[:2] for task in tasks), strict=True)
  )
  return (
    images.reshape(-1, *images.shape[2:]),
    labels.reshape(-1, labels.shape[-1]),
  )


def adapt(
  learner: Evaluator,
  variables: Variables,
  target: Batch,
  test: Test,
  key: Key,
  *,
  padded_to: int | None = None,
) -> np.ndarray:
  """Few-shot domain adaptation: fine-tunes source networks on a target set.

  Zhao et al. (2021, first version, Table 4): networks that were trained on a
  whole source set see a few target images, selected or condensed.

  Args:
    learner: an evaluator on labelled images; its protocol is that of the
      fine-tuning.
    variables: of the source networks, leaves with a leading axis `S`; `teach`
      makes them, and they stay as they are.
    target: images `[K, M, H, W, D]` in [0, 1], labels `[K, M, K]`.
    test: the target's test images as stored, and labels.
    key: of the fine-tuning.
    padded_to: most images of any target set, so that one program serves all.

  Returns:
    `[S]` accuracies on the target's test set, fractions in [0, 1].

  Raises:
    ValueError: if `padded_to` is smaller than the target set.
  """
  seeds = next(iter(jax.tree.leaves(variables))).shape[0]
  data = batch_set(target, target.labels.shape[-1], padded_to)
  adapted = teach(learner, seed_keys(key, seeds), data, variables)
  return accuracies(learner, adapted, [test])[:, 0]


def batch_set(
  batch: Batch, num_classes: int, padded_to: int | None = None
) -> TrainingSet:
  """Makes a training set of images that are sorted by class.

  Args:
    batch: images `[C, M, H, W, D]` in [0, 1], labels `[C, M, K]`.
    num_classes: `K`.
    padded_to: see `evaluation.training_set`.
  """
  images, labels = np.asarray(batch.images), np.asarray(batch.labels)
  return training_set(
    images.reshape(-1, *images.shape[2:]),
    labels.reshape(-1, labels.shape[-1]),
    num_classes,
    padded_to,
  )
