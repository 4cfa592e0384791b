"""Data-free network slimming: small sets repair a pruned network.

  python experiments/slimming.py --workdir=runs/slimming
    --config=experiments/configs/applications/slimming.py:fashion_mnist
    --config.data.dir=DATA

Networks with BatchNorm are trained on the real images. From then on these are
gone: channels are pruned, and the pruned network learns on a small set what the
whole one says of it. The folder holds `report.md`, `report.html`, `bars.png`
and the narrow networks; the same command goes on after a stop.
"""

import functools
from typing import Any, NamedTuple

import application
import builder
import jax
import numpy as np
import small_sets
import stepwise
import whole_set
from ml_collections import ConfigDict

from dcjax import applications, labelling
from dcjax.applications import Learner, Lesson
from dcjax.data import Dataset
from dcjax.utils import check_at_least

WHOLE = 'whole network'


class _Slimming(NamedTuple):
  """What the networks of a run are trained and tested with."""

  config: ConfigDict
  dataset: Dataset
  learners: dict[str, Learner]  # by section
  folder: application.Folder


def run(config: ConfigDict, workdir: str) -> dict[str, dict[str, Any]]:
  """Trains, prunes, fine-tunes on each small set, and writes the report.

  Args:
    config: see `configs/applications/slimming.py`.
    workdir: the folder; what it holds already is not repeated.

  Returns:
    Set -> test accuracies of `S` networks: `whole`, after `sparsity` training,
    `pruned` and `tuned`; `parameters` before and `left`, `[S]`; `widths` of the
    narrow networks, `[S, layers]`.

  Raises:
    ValueError: if a setting is unusable, or the network cannot be slimmed.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  check_at_least('sparsity.strength', config.sparsity.strength, 0)
  applications.check_slimmable(config.network.to_dict())
  dataset = small_sets.at_most(builder.load_dataset(config), config.most_images)
  making = small_sets.making_of(config)
  small_sets.check(config.methods, making, dataset)
  learners = _learners(config, dataset)
  with application.opened(config, workdir) as folder:
    sets = small_sets.batches(
      dataset, config.methods, making, folder.path / 'sets', folder.stop
    )
    work = _Slimming(config, dataset, learners, folder)
    networks = _whole_networks(work)
    found = {
      name: folder.measure(
        name, functools.partial(_slim, work, name, data, networks)
      )
      for name, data in _padded(sets, dataset.num_classes).items()
    }
    _report(config, found, folder)
  return found


def _learners(config, dataset):
  """The three trainings; from the second on the whole network teaches."""
  network, section = application.network_of(config, dataset), config.tuning
  loss = labelling.online(
    [network],
    labelling.student_loss(
      section.loss,
      hard_weight=section.hard_weight,
      temperature=section.temperature,
    ),
  )
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  # A ratio out of range is heard of now.
  kept = jax.eval_shape(_selection(config), shapes)
  sparse = functools.partial(
    applications.with_sparsity,
    layers=tuple(kept),
    strength=config.sparsity.strength,
  )
  return {
    'whole': application.learner_of(network, dataset, config.whole),
    'sparsity': application.learner_of(
      network, dataset, config.sparsity, loss=loss, wrap_optimizer=sparse
    ),
    'tuning': application.learner_of(network, dataset, section, loss=loss),
  }


def _selection(config):
  return functools.partial(applications.select_channels, ratio=config.ratio)


def _keys(config, number):
  key = jax.random.fold_in(jax.random.key(config.seed), number)
  return applications.seed_keys(key, config.seeds)


def _whole_networks(work):
  """`S` networks trained on the real images, once."""
  learner, keys = work.learners['whole'], _keys(work.config, 0)
  start = learner.init(keys)
  file = work.folder.path / 'networks' / 'whole.msgpack'
  if file.is_file():
    return stepwise.load_networks(file, start)
  real = whole_set.images(work.dataset)
  data = applications.batch_set(real, work.dataset.num_classes)
  with work.folder.progress(f'training on {work.dataset.name}') as report:
    trained = applications.teach(learner, keys, data, start, progress=report)
  stepwise.save_networks(file, trained)
  return trained


def _padded(sets, num_classes):
  """The sets in one size: one program serves all."""
  longest = max(int(np.prod(batch.images.shape[:2])) for batch in sets.values())
  return {
    name: applications.batch_set(batch, num_classes, longest)
    for name, batch in sets.items()
  }


def _slim(work, name, data, whole):
  """Prunes all networks and repairs them on one small set."""
  config = work.config
  sparse = whole
  if config.sparsity.strength:
    sparse = _taught(work, 'sparsity', name, data, whole, whole)
  kept = jax.vmap(_selection(config))(sparse)
  pruned = jax.vmap(applications.mask_channels)(sparse, kept)
  tuned = _taught(work, 'tuning', name, data, pruned, whole)
  stages = dict(whole=whole, sparsity=sparse, pruned=pruned, tuned=tuned)
  return {
    **{stage: _accuracy(work, stages[stage]) for stage in stages},
    **_narrow(work, name, tuned, kept),
  }


def _taught(work, section, name, data, networks, teacher):
  learner, every = work.learners[section], np.ones(data.labels.shape[1], bool)
  keys = _keys(work.config, 1 if section == 'sparsity' else 2)
  lesson = Lesson(every, ~every, (teacher,))
  with work.folder.progress(f'{section} on {name}') as report:
    return applications.teach(
      learner, keys, data, networks, lesson, progress=report
    )


def _accuracy(work, networks):
  test = (work.dataset.test_images, work.dataset.test_labels)
  found = applications.accuracies(work.learners['whole'], networks, [test])
  return found[:, 0].tolist()


def _narrow(work, name, networks, kept):
  """Cuts the channels out, keeps what is left, and counts it."""
  place = work.folder.path / 'networks' / small_sets.slug(name)
  entry = {'parameters': [], 'left': [], 'widths': []}
  # Each network has shapes of its own now.
  for seed in range(work.config.seeds):
    whole, mask = jax.tree.map(lambda x, i=seed: x[i], (networks, kept))
    narrow = applications.remove_channels(whole, mask)
    stepwise.save_networks(place / f'{seed}.msgpack', narrow)
    spec = applications.slim_spec(work.config.network.to_dict(), mask)
    entry['parameters'].append(_size(whole))
    entry['left'].append(_size(narrow))
    entry['widths'].append(list(spec['width']))
  return entry


def _size(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables.params))


def _report(config, found, folder):
  stages = ('whole', 'sparsity', 'pruned', 'tuned')
  rows = [
    [
      name,
      *(application.percents(entry[stage]) for stage in stages),
      *(f'{np.mean(entry[n]):,.0f}' for n in ('parameters', 'left')),
    ]
    for name, entry in found.items()
  ]
  header = [
    'small set',
    'whole network',
    'after sparsity training',
    'pruned',
    'fine-tuned',
    'parameters',
    'left',
  ]
  page = application.Page(
    f'Network slimming: {config.network.name} on {config.data.name}, '
    f'{config.ratio:.0%} of the channels, {config.ipc} images per class',
    _notes(config),
    {'Test accuracy and size': (header, rows)},
    'bars.png',
  )
  first = next(iter(found.values()))
  bars = {WHOLE: first['whole']} | {n: e['tuned'] for n, e in found.items()}
  application.draw_bars(folder.path / page.plot, bars)
  application.write(folder, page, {'slimming': found})


def _notes(config):
  sparse = (
    'Before pruning the network trained on the small set with a penalty on its '
    f'BatchNorm scales, strength {config.sparsity.strength:g}.'
    if config.sparsity.strength
    else 'There was no sparsity training.'
  )
  return (
    f'Test accuracy in percent, mean ± std of {config.seeds} networks that '
    'were trained on the real images, pruned by one threshold over all '
    'BatchNorm scales, and fine-tuned on a small set alone. The whole network '
    'labels what the pruned one sees, the random real images too.',
    sparse,
  )


if __name__ == '__main__':
  application.launch(run)
