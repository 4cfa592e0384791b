"""Task-incremental learning: sets with the same labels, one after another.

Each step trains on all images of its task with the memories of the earlier
ones, then fine-tunes on memories alone: E2E's recipe, with and without
distillation.
"""

import functools
from typing import Any

import jax

from dcjax import applications
from dcjax.evaluation import seed_keys
from dcjax.runs.applications import (
  _pages as pages,
  _sets,
  _shared as shared,
  _stepwise,
)
from dcjax.runs.settings import Settings


def run(
  chosen: Settings, workdir: Any, *, dataset=None, **options: Any
) -> dict[str, Any]:
  """Makes the memories, learns task by task, and writes the report.

  Returns:
    `'MEMORY'` and `'MEMORY, no distillation'` -> the accuracy matrices
    `[S, T, T]`, as nested lists.

  Raises:
    ValueError: if a setting or `dataset` is unusable, or tasks differ in their
      classes or shape.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  if dataset is not None:
    raise ValueError(f'dataset {dataset.name!r}: `data` names several sets')
  config = chosen.config
  datasets = shared.domains(config)
  for one in datasets:
    _sets.check(config.sets.names, config, one)
  with shared.opened(chosen, workdir, **options) as at_work:
    tasks = {
      name: [shared.task(d, name, at_work) for d in datasets]
      for name in config.sets.names
    }
    matrices = {}
    for distil in (True, False) if config.distillation.weight else (False,):
      learners = _learners(config, datasets[0], distil)
      for name, learned in tasks.items():
        label = name if distil else f'{name}, no distillation'
        matrices[label] = _learn(at_work, learners, label, learned)
    _report(at_work, [d.name for d in datasets], matrices)
  return matrices


def _learners(config, dataset, distil):
  """For the training on a task, and for the balanced fine-tuning."""
  network = shared.network_of(config, dataset)
  settings = (
    applications.Distillation(**config.distillation) if distil else None
  )
  lessons = functools.partial(applications.lessons, network, settings)
  return [
    shared.learner_of(config, network, dataset, section, lessons)
    for section in (config.training, config.balancing)
  ]


def _learn(at_work, learners, label, tasks):
  """The accuracy matrices `[S, T, T]` with one memory."""
  config = at_work.config
  key = jax.random.key(config.seed)
  size = config.training.batch_size

  # The papers count iterations; here whole passes come closest to them.
  def passes(images):
    return max(1, round(config.iterations / -(-images // size)))

  def go_on(**options):
    return applications.task_incremental(
      *learners,
      tasks,
      key,
      passes=passes,
      num_seeds=config.seeds,
      **options,
    )

  return _stepwise.learn(
    at_work,
    label,
    [task.name for task in tasks],
    go_on,
    lambda: learners[0].init(seed_keys(key, config.seeds)),
  )


def _report(at_work, names, matrices):
  config = at_work.config
  curves = {
    name: applications.seen_accuracy(matrix)
    for name, matrix in matrices.items()
  }
  numbers = list(range(1, len(names) + 1))
  rows = [
    [name, *(pages.percents(values[:, i - 1]) for i in numbers)]
    for name, values in curves.items()
  ]
  page = pages.Page(
    'Task-incremental learning: ' + ', '.join(names),
    (
      f'Mean test accuracy in percent over the tasks seen, {config.ipc} images '
      f'per class and task in memory, mean ± std of {config.seeds} networks. '
      'Each task counts alike.',
      f'About {config.iterations} iterations on a task with the memories of '
      f'earlier ones, then {config.balancing.epochs} passes over all memories.',
    ),
    {
      'Accuracy over the tasks seen': (
        ['memory', *(f'+ {name}' for name in names)],
        rows,
      ),
      'Metrics': _stepwise.metric_table(matrices),
    },
    pages.curves('Accuracy over the tasks seen', numbers, curves, 'tasks seen'),
  )
  pages.write(at_work, page, {'matrices': _stepwise.without_nan(matrices)})
