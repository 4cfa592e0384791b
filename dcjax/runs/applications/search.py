"""Architecture search: a small set ranks networks in the whole set's place.

Every network of a grid of ConvNets is trained on each small set and on the
whole set; the seeds of a network train together, in one program.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from dcjax import applications, evaluation, networks
from dcjax.base import Batch
from dcjax.data import Dataset
from dcjax.runs._folder import write_text
from dcjax.runs._progress import say
from dcjax.runs._sets import whole
from dcjax.runs.applications import _pages as pages, _sets, _shared as shared
from dcjax.runs.settings import Settings

WHOLE = 'whole'
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


class _Search(NamedTuple):
  """What every network of a search is trained and tested with."""

  at_work: shared.AtWork
  dataset: Dataset
  sets: dict[str, Batch]


def run(
  chosen: Settings, workdir: Any, *, dataset=None, **options: Any
) -> dict[str, Any]:
  """Trains all networks on all sets, compares rankings, writes the report.

  Returns:
    Set -> `applications.Ranking` against the whole set, as a dict.

  Raises:
    ValueError: if a setting is unusable.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  config = chosen.config
  dataset = shared.load(config, dataset)
  _sets.check(config.sets.names, config, dataset)
  choices = {axis: tuple(v) for axis, v in config.grid.items() if v}
  grid = applications.convnet_grid(choices or None)
  for spec in grid.values():  # What cannot be built is heard of now.
    networks.build(spec, dataset.image_shape, dataset.num_classes)
  with shared.opened(chosen, workdir, **options) as at_work:
    sets = _sets.batches(
      dataset, config.sets.names, at_work.making, at_work.path / 'sets'
    )
    sets[WHOLE] = whole(dataset)
    measured = _measure_all(_Search(at_work, dataset, sets), grid)
    return _report(at_work, dataset.num_classes, measured)


def _measure_all(search, grid):
  """Set -> network -> what is recorded of it."""
  measured: dict[str, dict[str, Any]] = {name: {} for name in search.sets}
  say(f'{len(grid)} networks, {len(grid) * len(search.sets)} trainings')
  for label, spec in grid.items():
    for name in search.sets:
      measured[name][label] = search.at_work.measure(
        f'{label}, {name}',
        lambda label=label, spec=spec, name=name: _train(
          search, label, spec, name
        ),
      )
    # Programs of a network serve it alone.
    jax.clear_caches()
  return measured


def _train(search, label, spec, name):
  at_work, dataset, sets = search
  config = at_work.config
  section = config.whole if name == WHOLE else config.proxy
  network = networks.build(spec, dataset.image_shape, dataset.num_classes)
  evaluator = shared.learner_of(config, network, dataset, section)
  with at_work.progress(f'{label} on {name}') as tell:
    result = evaluation.evaluate(
      evaluator,
      applications.batch_set(
        sets[name], dataset.num_classes, _padded_to(sets, name)
      ),
      (dataset.test_images, dataset.test_labels),
      jax.random.key(config.seed),
      num_seeds=section.seeds,
      progress=tell,
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


def _report(at_work, num_classes, measured):
  config, full = at_work.config, measured[WHOLE]
  truth, labels = _accuracies(full), list(full)
  # Networks that learn nothing tie, and would flatter any proxy.
  learned = truth > 1.5 / num_classes
  rows, rankings = [], {}
  for name, entries in measured.items():
    proxy = _accuracies(entries)
    found = applications.rank_networks(proxy, truth, config.top)
    rankings[name] = found._asdict()
    best = full[labels[found.chosen]]
    rows.append(
      [
        name,
        f'{found.spearman:.2f}',
        f'{applications.spearman(proxy[learned], truth[learned]):.2f}',
        f'{found.spearman_top:.2f}',
        f'{found.overlap:.2f}',
        labels[found.chosen],
        f'{100 * best["last_mean"]:.1f} ± {100 * best["last_std"]:.1f}',
        f'{100 * found.regret:.1f}',
        f'{sum(e["seconds"] for e in entries.values()):.0f}',
      ]
    )
  _write_files(at_work, measured)
  page = pages.Page(
    f'Architecture search: {config.data}, {len(labels)} ConvNets, '
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
    pages.cloud(
      'Small sets against the whole set, a point for each network',
      {
        name: (_accuracies(entries), _accuracies(measured[WHOLE]))
        for name, entries in measured.items()
        if name != WHOLE
      },
      'accuracy after training on the small set, %',
      'accuracy after training on the whole set, %',
    ),
  )
  pages.write(at_work, page, {'rankings': without_nan(rankings)})
  return rankings


def without_nan(rankings: dict[str, dict[str, Any]]) -> dict[str, Any]:
  """Rankings with None for correlations that have no value."""
  return {
    name: {k: None if v != v else v for k, v in ranking.items()}
    for name, ranking in rankings.items()
  }


def _write_files(at_work, measured):
  full = measured[WHOLE]
  header = (f'{name} {k}' for name in measured for k in ('mean', 'std'))
  lines = [','.join(['network', *header])]
  for label in full:
    numbers = (
      f'{entries[label][f"last_{k}"]:.6f}'
      for entries in measured.values()
      for k in ('mean', 'std')
    )
    lines.append(','.join([label, *numbers]))
  write_text(at_work.path / 'networks.csv', '\n'.join(lines) + '\n')
