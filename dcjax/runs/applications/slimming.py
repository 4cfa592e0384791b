"""Data-free network slimming: small sets repair a pruned network.

Networks with BatchNorm are trained on the real images. From then on these are
gone: channels are pruned, and the pruned network learns on a small set what the
whole one says of it.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from dcjax import applications, labelling
from dcjax.data import Dataset
from dcjax.evaluation import Evaluator, seed_keys
from dcjax.runs import _stage
from dcjax.runs._sets import whole
from dcjax.runs.applications import _pages as pages, _sets, _shared as shared
from dcjax.runs.settings import Settings

WHOLE = 'whole network'


class _Slimming(NamedTuple):
  """What the networks of a run are trained and tested with."""

  at_work: shared.AtWork
  dataset: Dataset
  learners: dict[str, Evaluator]  # by section


def run(
  chosen: Settings, workdir: Any, *, dataset=None, **options: Any
) -> dict[str, dict[str, Any]]:
  """Trains, prunes, fine-tunes on each small set, and writes the report.

  Returns:
    Set -> test accuracies of `S` networks: `whole`, after `sparsity` training,
    `pruned` and `tuned`; `parameters` before and `left`, `[S]`; `widths` of the
    narrow networks, `[S, layers]`.

  Raises:
    ValueError: if a setting is unusable, or the network cannot be slimmed.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  config = chosen.config
  applications.check_slimmable(shared.network_spec(config))
  dataset = shared.load(config, dataset)
  _sets.check(config.sets.names, config, dataset)
  learners = _learners(config, dataset)
  with shared.opened(chosen, workdir, **options) as at_work:
    sets = _sets.batches(
      dataset, config.sets.names, at_work.making, at_work.path / 'sets'
    )
    job = _Slimming(at_work, dataset, learners)
    networks = _whole_networks(job)
    found = {
      name: at_work.measure(
        name, functools.partial(_slim, job, name, training, networks)
      )
      for name, training in _padded(sets, dataset.num_classes).items()
    }
    _report(at_work, found)
  return found


def _learners(config, dataset):
  """The three trainings; from the second on the whole network teaches."""
  network, section = shared.network_of(config, dataset), config.tuning
  loss = labelling.student_loss(
    section.loss,
    hard_weight=section.hard_weight,
    temperature=section.temperature,
  )
  taught = functools.partial(
    labelling.online, [network], loss, own_teachers=True
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
    'whole': shared.learner_of(config, network, dataset, config.whole),
    'sparsity': shared.learner_of(
      config,
      network,
      dataset,
      config.sparsity,
      taught,
      wrap_optimizer=sparse,
    ),
    'tuning': shared.learner_of(config, network, dataset, section, taught),
  }


def _selection(config):
  return functools.partial(applications.select_channels, ratio=config.ratio)


def _keys(config, number):
  key = jax.random.fold_in(jax.random.key(config.seed), number)
  return seed_keys(key, config.seeds)


def _whole_networks(job):
  """`S` networks trained on the real images, once."""
  at_work, dataset = job.at_work, job.dataset
  learner, keys = job.learners['whole'], _keys(at_work.config, 0)
  start = learner.init(keys)

  def train():
    training = applications.batch_set(whole(dataset), dataset.num_classes)
    with at_work.progress(f'training on {dataset.name}') as tell:
      return applications.teach(learner, keys, training, start, progress=tell)

  kind = shared.variables_kind(start)
  return at_work.stage('networks/whole', train, kind)


def _padded(sets, num_classes):
  """The sets in one size: one program serves all."""
  longest = max(int(np.prod(batch.images.shape[:2])) for batch in sets.values())
  return {
    name: applications.batch_set(batch, num_classes, longest)
    for name, batch in sets.items()
  }


def _slim(job, name, training, full):
  """Prunes all networks and repairs them on one small set."""
  config = job.at_work.config
  sparse = full
  if config.sparsity.strength:
    sparse = _taught(job, 'sparsity', name, training, full, full)
  kept = jax.vmap(_selection(config))(sparse)
  pruned = jax.vmap(applications.mask_channels)(sparse, kept)
  tuned = _taught(job, 'tuning', name, training, pruned, full)
  stages = dict(whole=full, sparsity=sparse, pruned=pruned, tuned=tuned)
  return {
    **{stage: _accuracy(job, stages[stage]) for stage in stages},
    **_narrow(job, name, tuned, kept),
  }


def _taught(job, section, name, training, networks, teacher):
  learner = job.learners[section]
  keys = _keys(job.at_work.config, 1 if section == 'sparsity' else 2)
  taught = labelling.TaughtSet(training, (teacher,))
  with job.at_work.progress(f'{section} on {name}') as tell:
    return applications.teach(learner, keys, taught, networks, progress=tell)


def _accuracy(job, networks):
  test = (job.dataset.test_images, job.dataset.test_labels)
  found = applications.accuracies(job.learners['whole'], networks, [test])
  return found[:, 0].tolist()


def _narrow(job, name, networks, kept):
  """Cuts the channels out, keeps what is left, and counts it."""
  at_work = job.at_work
  entry: dict[str, Any] = {'parameters': [], 'left': [], 'widths': []}
  # Each network has shapes of its own now.
  for seed in range(at_work.config.seeds):
    full, mask = jax.tree.map(lambda x, i=seed: x[i], (networks, kept))
    narrow = applications.remove_channels(full, mask)
    cell = f'networks/{name} {seed}'
    at_work.stage(cell, lambda narrow=narrow: narrow, _stage.tree())
    spec = applications.slim_spec(shared.network_spec(at_work.config), mask)
    entry['parameters'].append(_size(full))
    entry['left'].append(_size(narrow))
    entry['widths'].append(list(map(int, spec['width'])))
  return entry


def _size(variables):
  return sum(int(leaf.size) for leaf in jax.tree.leaves(variables.params))


def _report(at_work, found):
  config = at_work.config
  stages = ('whole', 'sparsity', 'pruned', 'tuned')
  rows = [
    [
      name,
      *(pages.percents(entry[stage]) for stage in stages),
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
  first = next(iter(found.values()))
  tuned = {WHOLE: first['whole']} | {n: e['tuned'] for n, e in found.items()}
  page = pages.Page(
    f'Network slimming: {shared.network_spec(config)["name"]} on '
    f'{config.data}, {config.ratio:.0%} of the channels, {config.ipc} images '
    'per class',
    _notes(config),
    {'Test accuracy and size': (header, rows)},
    pages.levels('Test accuracy after fine-tuning', tuned),
  )
  pages.write(at_work, page, {'slimming': found})


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
