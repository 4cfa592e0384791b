"""Class-incremental learning with small sets as memories.

  python experiments/continual.py --workdir=runs/continual
    --config=experiments/configs/applications/continual.py:cifar10
    --config.data.dir=DATA

Each step's memory is made from its own classes alone. Networks learn from the
memories of all steps so far: from scratch (GDumb, DM) or going on from the step
before, with a wider classifier and distillation (IDC). The folder holds
`report.md`, `report.html` and `curves.png`; the same command goes on after a
stop.
"""

from typing import Any

import application
import builder
import jax
import numpy as np
import small_sets
import stepwise
from ml_collections import ConfigDict

from dcjax import applications, networks
from dcjax.data import Dataset
from dcjax.utils import check_choice

MODES = ('scratch', 'continued')


def run(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Makes the memories, learns step by step, and writes the report.

  Args:
    config: see `configs/applications/continual.py`.
    workdir: the folder; what it holds already is not repeated.

  Returns:
    `'MODE, MEMORY'` -> the accuracy matrices `[S, T, T]`, as nested lists.

  Raises:
    ValueError: if a setting or the class order is unusable.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  dataset = builder.load_dataset(config)
  order = config.order or range(dataset.num_classes)
  groups = applications.split_classes(
    np.array(order), dataset.num_classes, config.steps
  )
  for mode in config.modes:
    check_choice('modes', mode, MODES)
  making = small_sets.making_of(config)
  small_sets.check(config.memories, making, dataset)
  steps = [small_sets.only_classes(dataset, group) for group in groups]
  with application.opened(config, workdir) as folder:
    memories = {
      name: _memories(steps, name, making, folder) for name in config.memories
    }
    learners = {mode: _learner(config, dataset, mode) for mode in config.modes}
    matrices = {
      f'{mode}, {name}': _learn(
        config, learners[mode], mode, name, made, steps, folder
      )
      for mode in config.modes
      for name, made in memories.items()
    }
    _report(config, groups, memories, matrices, folder)
  return matrices


def _memories(steps, name, making, folder):
  """The memory of every step, each made once."""
  place = folder.path / 'memories'
  return [
    small_sets.make(
      data,
      name,
      making,
      place / f'step{i}' / small_sets.slug(name),
      folder.stop,
    )
    for i, data in enumerate(steps)
  ]


def _learner(config, dataset, mode):
  settings = None
  if mode == 'continued' and config.distillation.weight:
    settings = applications.Distillation(**config.distillation)
  network = application.network_of(config, dataset)
  return application.learner_of(network, dataset, config.training, settings)


def _axes(config, data: Dataset, num_classes: int):
  spec = config.network.to_dict()
  return applications.output_axes(
    *(networks.build(spec, data.image_shape, num_classes - n) for n in (1, 0))
  )


def _learn(config, learner, mode, name, made, steps, folder):
  """The accuracy matrices `[S, T, T]` of one memory in one mode."""
  num_classes = sum(data.num_classes for data in steps)
  axes = _axes(config, steps[0], num_classes) if mode == 'continued' else None
  key, batches = jax.random.key(config.seed), [m.batch() for m in made]

  def go_on(**options):
    return applications.class_incremental(
      learner,
      batches,
      _tests(steps),
      key,
      num_seeds=config.seeds,
      axes=axes,
      **options,
    )

  return stepwise.learn(
    folder,
    f'{mode}, {name}',
    [f'step {i}' for i in range(len(steps))],
    go_on,
    lambda: learner.init(applications.seed_keys(key, config.seeds)),
  )


def _tests(steps):
  """Test images of each step with the labels of the whole classifier."""
  each = steps[0].num_classes
  return [
    (data.test_images, data.test_labels + i * each)
    for i, data in enumerate(steps)
  ]


def _report(config, groups, memories, matrices, folder):
  seen = [groups.shape[1] * (i + 1) for i in range(len(groups))]
  curves = {
    name: applications.seen_accuracy(matrix)
    for name, matrix in matrices.items()
  }
  application.draw_curves(
    folder.path / 'curves.png', seen, curves, 'classes seen'
  )
  page = application.Page(
    f'Class-incremental learning: {config.data.name}, {len(groups)} steps of '
    f'{groups.shape[1]} classes, {config.ipc} images per class',
    (
      f'Test accuracy in percent over all classes seen, mean ± std of '
      f'{config.seeds} networks; "scratch": new networks in every step; '
      '"continued": the networks of the step before with a wider classifier, '
      f'distillation weight {config.distillation.weight}.',
      'With R[i, j] the accuracy on step j after step i: average, mean over '
      'steps of the accuracy over seen classes; final, mean over j of R[T-1, '
      'j]; forgetting, mean over j < T-1 of the best earlier R[l, j] less '
      'R[T-1, j]; backward transfer, mean over j < T-1 of R[T-1, j] - R[j, j]. '
      'All steps count alike.',
      'Classes by step: '
      + ' | '.join(' '.join(map(str, group)) for group in groups),
    ),
    {
      'Accuracy over the classes seen': _curve_table(seen, curves),
      'Metrics': stepwise.metric_table(matrices),
      'Storage of the whole memory': _storage_table(memories),
    },
    'curves.png',
  )
  application.write(folder, page, {'matrices': stepwise.without_nan(matrices)})


def _curve_table(seen, curves):
  rows = [
    [name, *(application.percents(values[:, i]) for i in range(len(seen)))]
    for name, values in curves.items()
  ]
  return ['memory', *(f'{count} classes' for count in seen)], rows


def _storage_table(memories):
  rows = []
  for name, made in memories.items():
    numbers, size = np.sum([application.stored(m) for m in made], axis=0)
    shape = made[0].batch().images.shape
    rows.append([name, f'{numbers:,}', f'{size:,}', shape[1]])
  header = ['memory', 'numbers', 'float32 bytes', 'images trained on per class']
  return header, rows


if __name__ == '__main__':
  application.launch(run)
