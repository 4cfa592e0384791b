"""Class-incremental learning with small sets as memories.

Each step's memory is made from its own classes alone. Networks learn from the
memories of all steps so far: from scratch (GDumb, DM) or going on from the step
before, with a wider classifier and distillation (IDC).
"""

import functools
from typing import Any

import jax
import numpy as np

from dcjax import applications, data, networks
from dcjax.evaluation import seed_keys
from dcjax.runs.applications import (
  _pages as pages,
  _sets,
  _shared as shared,
  _stepwise,
)
from dcjax.runs.settings import Settings
from dcjax.utils import check_choice

MODES = ('scratch', 'continued')


def run(
  chosen: Settings, workdir: Any, *, dataset=None, **options: Any
) -> dict[str, Any]:
  """Makes the memories, learns step by step, and writes the report.

  Returns:
    `'MODE, MEMORY'` -> the accuracy matrices `[S, T, T]`, as nested lists.

  Raises:
    ValueError: if a setting or the class order is unusable.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  config = chosen.config
  dataset = shared.load(config, dataset)
  order = config.order or range(dataset.num_classes)
  groups = applications.split_classes(
    np.array(order), dataset.num_classes, config.steps
  )
  for mode in config.modes:
    check_choice('modes', mode, MODES)
  _sets.check(config.sets.names, config, dataset)
  steps = [data.only_classes(dataset, group) for group in groups]
  with shared.opened(chosen, workdir, **options) as at_work:
    memories = {
      name: _memories(steps, name, at_work) for name in config.sets.names
    }
    learners = {mode: _learner(config, dataset, mode) for mode in config.modes}
    matrices = {
      f'{mode}, {name}': _learn(
        at_work, learners[mode], mode, name, made, steps
      )
      for mode in config.modes
      for name, made in memories.items()
    }
    _report(at_work, groups, memories, matrices)
  return matrices


def _memories(steps, name, at_work):
  """The memory of every step, each made once."""
  place = at_work.path / 'memories'
  return [
    _sets.make(
      part, name, at_work.making, place / f'step{i}' / _sets.slug(name)
    )
    for i, part in enumerate(steps)
  ]


def _learner(config, dataset, mode):
  settings = None
  if mode == 'continued' and config.distillation.weight:
    settings = applications.Distillation(**config.distillation)
  network = shared.network_of(config, dataset)
  lessons = functools.partial(applications.lessons, network, settings)
  return shared.learner_of(config, network, dataset, config.training, lessons)


def _axes(config, dataset, num_classes):
  spec = shared.network_spec(config)
  return applications.output_axes(
    *(
      networks.build(spec, dataset.image_shape, num_classes - n) for n in (1, 0)
    )
  )


def _learn(at_work, learner, mode, name, made, steps):
  """The accuracy matrices `[S, T, T]` of one memory in one mode."""
  config = at_work.config
  num_classes = sum(part.num_classes for part in steps)
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

  return _stepwise.learn(
    at_work,
    f'{mode}, {name}',
    [f'step {i}' for i in range(len(steps))],
    go_on,
    lambda: learner.init(seed_keys(key, config.seeds)),
  )


def _tests(steps):
  """Test images of each step with the labels of the whole classifier."""
  each = steps[0].num_classes
  return [
    (part.test_images, part.test_labels + i * each)
    for i, part in enumerate(steps)
  ]


def _report(at_work, groups, memories, matrices):
  config = at_work.config
  seen = [groups.shape[1] * (i + 1) for i in range(len(groups))]
  curves = {
    name: applications.seen_accuracy(matrix)
    for name, matrix in matrices.items()
  }
  page = pages.Page(
    f'Class-incremental learning: {config.data}, {len(groups)} steps of '
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
      'Metrics': _stepwise.metric_table(matrices),
      'Storage of the whole memory': _storage_table(memories),
    },
    pages.curves(
      'Accuracy over the classes seen', seen, curves, 'classes seen'
    ),
  )
  pages.write(at_work, page, {'matrices': _stepwise.without_nan(matrices)})


def _curve_table(seen, curves):
  rows = [
    [name, *(pages.percents(values[:, i]) for i in range(len(seen)))]
    for name, values in curves.items()
  ]
  return ['memory', *(f'{count} classes' for count in seen)], rows


def _storage_table(memories):
  rows = []
  for name, made in memories.items():
    numbers, size = np.sum([shared.stored(m) for m in made], axis=0)
    shape = made[0].batch().images.shape
    rows.append([name, f'{numbers:,}', f'{size:,}', shape[1]])
  header = ['memory', 'numbers', 'float32 bytes', 'images trained on per class']
  return header, rows
