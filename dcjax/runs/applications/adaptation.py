"""Few-shot domain adaptation: source networks see a small target set.

Networks that were trained on a whole source set are fine-tuned on a few target
images, condensed or selected.
"""

from typing import Any

import jax
import numpy as np

from dcjax import applications
from dcjax.evaluation import seed_keys, training_set
from dcjax.runs.applications import _pages as pages, _sets, _shared as shared
from dcjax.runs.settings import Settings

NONE = 'no adaptation'


def run(
  chosen: Settings, workdir: Any, *, dataset=None, **options: Any
) -> dict[str, list[float]]:
  """Trains on the source, adapts to the target, and writes the report.

  Returns:
    Method, or `'no adaptation'`, -> `[S]` accuracies on the target's test set.

  Raises:
    ValueError: if a setting or `dataset` is unusable, or the domains differ in
      classes.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  if dataset is not None:
    raise ValueError(f'dataset {dataset.name!r}: `data` names several sets')
  config = chosen.config
  if len(config.data.split('+')) != 2:
    raise ValueError(
      f'data {config.data!r}: must be SOURCE+TARGET, two data sets'
    )
  source, target = shared.domains(config)
  _sets.check(config.sets.names, config, target)
  with shared.opened(chosen, workdir, **options) as at_work:
    sets = {
      name: shared.task(target, name, at_work).memory
      for name in config.sets.names
    }
    networks = _source_networks(at_work, source)
    found = _adapted(at_work, source, target, networks, sets)
    _report(at_work, source.name, target.name, found)
  return found


def _source_networks(at_work, source):
  """`S` networks trained on the whole source set, once."""
  config = at_work.config
  network = shared.network_of(config, source)
  learner = shared.learner_of(config, network, source, config.source)
  keys = seed_keys(jax.random.key(config.seed), config.seeds)
  start = learner.init(keys)

  def train():
    everything = training_set(
      source.images.astype(np.float32) / source.scale,
      source.labels,
      source.num_classes,
    )
    with at_work.progress(f'training on {source.name}') as tell:
      return applications.teach(learner, keys, everything, start, progress=tell)

  kind = shared.variables_kind(start)
  return at_work.stage('networks/source', train, kind)


def _adapted(at_work, source, target, networks, sets):
  config = at_work.config
  network = shared.network_of(config, source)
  # Normalised as on the source: the networks know no other images.
  learner = shared.learner_of(config, network, source, config.adapting)
  test = (target.test_images, target.test_labels)
  longest = max(np.prod(batch.images.shape[:2]) for batch in sets.values())
  key = jax.random.fold_in(jax.random.key(config.seed), 1)

  def plain():
    found = applications.accuracies(learner, networks, [test])[:, 0]
    return {'accuracy': found.tolist()}

  def adapt(batch):
    found = applications.adapt(
      learner, networks, batch, test, key, padded_to=int(longest)
    )
    return {'accuracy': found.tolist()}

  makers = {NONE: plain} | {
    name: lambda batch=batch: adapt(batch) for name, batch in sets.items()
  }
  return {
    name: at_work.measure(name, make)['accuracy']
    for name, make in makers.items()
  }


def _report(at_work, source, target, found):
  config = at_work.config
  rows = [
    [name, 0 if name == NONE else config.ipc, pages.percents(values)]
    for name, values in found.items()
  ]
  header = ['target images', 'stored per class', 'accuracy']
  page = pages.Page(
    f'Few-shot domain adaptation: {source} to {target}',
    (
      f'Test accuracy in percent on {target}, mean ± std of {config.seeds} '
      f'networks that were trained on {source} and fine-tuned on a few images '
      f'of {target}.',
    ),
    {'Accuracy on the target': (header, rows)},
    pages.levels('Accuracy on the target', found),
  )
  pages.write(at_work, page, {'accuracy': found})
