"""Architecture search: a small set ranks networks in the whole set's place.

  python experiments/search.py --workdir=runs/search
    --config=experiments/configs/applications/search.py:fashion_mnist
    --config.data.dir=DATA

Every network of a grid of ConvNets is trained on each small set and on the
whole set; the seeds of a network train together, in one program. The folder
holds `report.md`, `report.html`, `ranking.png` and `networks.csv`; the same
command goes on after a stop.
"""

from typing import Any, NamedTuple

import application
import builder
import cells
import jax
import numpy as np
import small_sets
import whole_set
from ml_collections import ConfigDict
from progress import say

from dcjax import applications, evaluation, networks
from dcjax.base import Batch
from dcjax.data import Dataset
from dcjax.utils import check_at_least

WHOLE = 'whole'


def run(config: ConfigDict, workdir: str) -> dict[str, Any]:
  """Trains all networks on all sets, compares rankings, writes the report.

  Args:
    config: see `configs/applications/search.py`.
    workdir: the folder; what it holds already is not repeated.

  Returns:
    Set -> `applications.Ranking` against the whole set, as a dict.

  Raises:
    ValueError: if a setting is unusable.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  dataset = small_sets.at_most(builder.load_dataset(config), config.most_images)
  making = small_sets.making_of(config)
  small_sets.check(config.proxies, making, dataset)
  check_at_least('top', config.top, 1)
  choices = {axis: tuple(v) for axis, v in config.grid.items() if v}
  grid = applications.convnet_grid(choices or None)
  for spec in grid.values():  # What cannot be built is heard of now.
    networks.build(spec, dataset.image_shape, dataset.num_classes)
  with application.opened(config, workdir) as folder:
    sets = small_sets.batches(
      dataset, config.proxies, making, folder.path / 'sets', folder.stop
    )
    sets[WHOLE] = whole_set.images(dataset)
    measured = _measure_all(_Search(config, dataset, sets, folder), grid)
    return _report(config, dataset.num_classes, measured, folder)


class _Search(NamedTuple):
  """What every network of a search is trained and tested with."""

  config: ConfigDict
  dataset: Dataset
  sets: dict[str, Batch]
  folder: application.Folder


def _measure_all(search, grid):
  """Set -> network -> what is recorded of it."""
  measured = {name: {} for name in search.sets}
  left = sum(
    f'{label}, {name}' not in search.folder.record
    for name in search.sets
    for label in grid
  )
  say(f'{len(grid)} networks, {left} trainings to make')
  for label, spec in grid.items():
    for name in search.sets:
      measured[name][label] = search.folder.measure(
        f'{label}, {name}',
        lambda label=label, spec=spec, name=name: _train(
          search, label, spec, name
        ),
      )
    # Programs of a network serve it alone.
    jax.clear_caches()
  return measured


def _train(search, label, spec, name):
  config, dataset, sets, folder = search
  section = config.whole if name == WHOLE else config.proxy
  protocol = application.protocol_of(section)._replace(test_points=(1.0,))
  evaluator = evaluation.evaluator(
    networks.build(spec, dataset.image_shape, dataset.num_classes),
    dataset.test_images,
    dataset.test_labels,
    protocol=protocol,
    **application.treatments(dataset, section.family, section.cutmix),
  )
  with folder.progress(f'{label} on {name}') as report:
    result = evaluation.evaluate(
      evaluator,
      applications.batch_set(
        sets[name], dataset.num_classes, _padded_to(sets, name)
      ),
      jax.random.key(config.seed),
      protocol=protocol,
      num_seeds=section.seeds,
      progress=report,
    )
  return result.summary()


def _padded_to(sets, name):
  """One size for all small sets: one program for each network."""
  if name == WHOLE:
    return None
  small = (batch for other, batch in sets.items() if other != WHOLE)
  return max(int(np.prod(batch.images.shape[:2])) for batch in small)


def _accuracies(entries):
  return np.array([entry['last_mean'] for entry in entries.values()])


def _report(config, num_classes, measured, folder):
  whole = measured[WHOLE]
  truth, labels = _accuracies(whole), list(whole)
  # Networks that learn nothing tie, and would flatter any proxy.
  learned = truth > 1.5 / num_classes
  rows, rankings = [], {}
  for name, entries in measured.items():
    proxy = _accuracies(entries)
    found = applications.rank_networks(proxy, truth, config.top)
    rankings[name] = found._asdict()
    rows.append(
      [
        name,
        f'{found.spearman:.2f}',
        f'{applications.spearman(proxy[learned], truth[learned]):.2f}',
        f'{found.spearman_top:.2f}',
        f'{found.overlap:.2f}',
        labels[found.chosen],
        cells.accuracy(whole[labels[found.chosen]]),
        f'{100 * found.regret:.1f}',
        f'{sum(e["seconds"] for e in entries.values()):.0f}',
      ]
    )
  _write_files(folder, measured)
  page = application.Page(
    f'Architecture search: {config.data.name}, {len(labels)} ConvNets, '
    f'{config.ipc} images per class',
    (
      'Networks are ranked by test accuracy after training on a small set, and '
      'after training on the whole set. Spearman correlation over all networks,'
      ' over those that learn on the whole set (above 1.5 times chance), and '
      f'over the {config.top} best on the whole set; overlap of the best '
      f'{config.top}; whole-set accuracy (percent) of the network that the '
      'small set chooses, and how far it is from the best. Seconds are of all '
      f'trainings, compilation included: {config.proxy.seeds} networks each on '
      f'small sets, {config.whole.seeds} on the whole set.',
    ),
    {'Rankings': (_HEADER, rows)},
    'ranking.png',
  )
  application.write(folder, page, {'rankings': without_nan(rankings)})
  return rankings


_HEADER = (
  'trained on',
  'all',
  'learning',
  'top',
  'overlap',
  'chosen network',
  'its accuracy',
  'regret',
  'seconds',
)


def without_nan(rankings: dict[str, dict[str, Any]]) -> dict[str, Any]:
  """Rankings with None for correlations that have no value."""
  return {
    name: {k: None if v != v else v for k, v in ranking.items()}
    for name, ranking in rankings.items()
  }


def _write_files(folder, measured):
  whole = measured[WHOLE]
  points = {
    name: (_accuracies(entries), _accuracies(whole))
    for name, entries in measured.items()
    if name != WHOLE
  }
  application.draw_points(
    folder.path / 'ranking.png',
    points,
    'accuracy after training on the small set, %',
    'accuracy after training on the whole set, %',
  )
  header = (f'{name} {k}' for name in measured for k in ('mean', 'std'))
  lines = [','.join(['network', *header])]
  for label in whole:
    numbers = (
      f'{entries[label][f"last_{k}"]:.6f}'
      for entries in measured.values()
      for k in ('mean', 'std')
    )
    lines.append(','.join([label, *numbers]))
  cells.write(folder.path / 'networks.csv', '\n'.join(lines) + '\n')


if __name__ == '__main__':
  application.launch(run)
