"""Task-incremental learning: sets with the same labels, one after another.

  python experiments/tasks.py --workdir=runs/tasks
    --config=experiments/configs/applications/tasks.py:mnist+usps
    --config.data_dir=DATA

Each step trains on all images of its task with the memories of the earlier
ones, then fine-tunes on memories alone: E2E's recipe, with and without
distillation. The folder holds `report.md`, `report.html` and `curves.png`; the
same command goes on after a stop.
"""

from typing import Any

import application
import domains
import jax
import small_sets
import stepwise
from ml_collections import ConfigDict

from dcjax import applications


def run(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Makes the memories, learns task by task, and writes the report.

  Args:
    config: see `configs/applications/tasks.py`.
    workdir: the folder; what it holds already is not repeated.

  Returns:
    `'MEMORY'` and `'MEMORY, no distillation'` -> the accuracy matrices
    `[S, T, T]`, as nested lists.

  Raises:
    ValueError: if a setting is unusable, or tasks differ in classes or shape.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  datasets = domains.load(config, config.tasks)
  making = small_sets.making_of(config)
  for dataset in datasets:
    small_sets.check(config.memories, making, dataset)
  with application.opened(config, workdir) as folder:
    tasks = {
      name: [domains.task(d, name, making, folder) for d in datasets]
      for name in config.memories
    }
    matrices = {}
    for distil in (True, False) if config.distillation.weight else (False,):
      learners = _learners(config, datasets[0], distil)
      for name, learned in tasks.items():
        label = name if distil else f'{name}, no distillation'
        matrices[label] = _learn(config, learners, label, learned, folder)
    _report(config, matrices, folder)
  return matrices


def _learners(config, dataset, distil):
  """For the training on a task, and for the balanced fine-tuning."""
  network = application.network_of(config, dataset)
  settings = (
    applications.Distillation(**config.distillation) if distil else None
  )
  return [
    application.learner_of(network, dataset, section, settings)
    for section in (config.training, config.balancing)
  ]


def _learn(config, learners, label, tasks, folder):
  """The accuracy matrices `[S, T, T]` with one memory."""
  key = jax.random.key(config.seed)

  def go_on(**options):
    return applications.task_incremental(
      *learners,
      tasks,
      key,
      passes=_passes(config),
      num_seeds=config.seeds,
      **options,
    )

  return stepwise.learn(
    folder,
    label,
    [task.name for task in tasks],
    go_on,
    lambda: learners[0].init(applications.seed_keys(key, config.seeds)),
  )


def _passes(config):
  """The papers count iterations; here whole passes come closest to them."""
  size = config.training.batch_size
  return lambda images: max(1, round(config.iterations / -(-images // size)))


def _report(config, matrices, folder):
  curves = {
    name: applications.seen_accuracy(matrix)
    for name, matrix in matrices.items()
  }
  numbers = list(range(1, len(config.tasks) + 1))
  application.draw_curves(
    folder.path / 'curves.png', numbers, curves, 'tasks seen'
  )
  rows = [
    [name, *(application.percents(values[:, i - 1]) for i in numbers)]
    for name, values in curves.items()
  ]
  page = application.Page(
    'Task-incremental learning: ' + ', '.join(config.tasks),
    (
      f'Mean test accuracy in percent over the tasks seen, {config.ipc} images '
      f'per class and task in memory, mean ± std of {config.seeds} networks. '
      'Each task counts alike.',
      f'About {config.iterations} iterations on a task with the memories of '
      f'earlier ones, then {config.balancing.epochs} passes over all memories.',
    ),
    {
      'Accuracy over the tasks seen': (
        ['memory', *(f'+ {task}' for task in config.tasks)],
        rows,
      ),
      'Metrics': stepwise.metric_table(matrices),
    },
    'curves.png',
  )
  application.write(folder, page, {'matrices': stepwise.without_nan(matrices)})


if __name__ == '__main__':
  application.launch(run)
