"""Few-shot domain adaptation: source networks see a small target set.

  python experiments/adaptation.py --workdir=runs/adaptation
    --config=experiments/configs/applications/adaptation.py:mnist+usps
    --config.data_dir=DATA

Networks that were trained on a whole source set are fine-tuned on a few target
images, condensed or selected. The folder holds `report.md` and `report.html`;
the same command goes on after a stop.
"""

import application
import cells
import domains
import jax
import numpy as np
import small_sets
import stepwise
from ml_collections import ConfigDict

from dcjax import applications

NONE = 'no adaptation'


def run(config: ConfigDict, workdir: str) -> dict[str, list[float]]:
  """Trains on the source, adapts to the target, and writes the report.

  Args:
    config: see `configs/applications/adaptation.py`.
    workdir: the folder; what it holds already is not repeated.

  Returns:
    Method, or `'no adaptation'`, -> `[S]` accuracies on the target's test set.

  Raises:
    ValueError: if a setting is unusable, or the domains differ in classes.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  source, target = _load(config)
  making = small_sets.making_of(config)
  small_sets.check(config.methods, making, target)
  with application.opened(config, workdir) as folder:
    sets = {
      name: domains.task(target, name, making, folder).memory
      for name in config.methods
    }
    networks = _source_networks(config, source, folder)
    found = _adapted(config, source, target, networks, sets, folder)
    _report(config, found, folder)
  return found


def _load(config):
  if len(config.domains) != 2:
    raise ValueError(
      f'domains {tuple(config.domains)}: must be SOURCE+TARGET, two data sets'
    )
  return domains.load(config, config.domains)


def _source_networks(config, source, folder):
  """`S` networks trained on the whole source set, once."""
  network = application.network_of(config, source)
  learner = application.learner_of(network, source, config.source)
  keys = applications.seed_keys(jax.random.key(config.seed), config.seeds)
  file, start = folder.path / 'networks' / 'source.msgpack', learner.init(keys)
  if file.is_file():
    return stepwise.load_networks(file, start)
  with folder.progress(f'training on {source.name}') as report:
    data = domains.all_images(source)
    trained = applications.teach(learner, keys, data, start, progress=report)
  stepwise.save_networks(file, trained)
  return trained


def _adapted(config, source, target, networks, sets, folder):
  network = application.network_of(config, source)
  # Normalised as on the source: the networks know no other images.
  learner = application.learner_of(network, source, config.adapting)
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
    name: folder.measure(name, make)['accuracy']
    for name, make in makers.items()
  }


def _report(config, found, folder):
  source, target = config.domains
  rows = [
    [
      name,
      0 if name == NONE else config.ipc,
      cells.percent(*application.mean_std(values)),
    ]
    for name, values in found.items()
  ]
  page = application.Page(
    f'Few-shot domain adaptation: {source} to {target}',
    (
      f'Test accuracy in percent on {target}, mean ± std of {config.seeds} '
      f'networks that were trained on {source} and fine-tuned on a few images '
      f'of {target}.',
    ),
    {
      'Accuracy on the target': (
        ['target images', 'stored per class', 'accuracy'],
        rows,
      )
    },
    'bars.png',
  )
  application.draw_bars(folder.path / 'bars.png', found)
  application.write(folder, page, {'accuracy': found})


if __name__ == '__main__':
  application.launch(run)
