"""Measures how fairly a finished run wins: HLR, IOR, LRS and ARS.

  python experiments/fair.py --run=runs/cifar10

With the network and the protocol of the run it trains on

  * the whole real set with hard labels,
  * the condensed set and a random selection as large, as the run does,
  * both without any augmentation, and
  * the condensed set with hard labels, if it comes with other ones,

and prints the scores of `dcjax.fairness` with mean and std over seeds, and what
the set costs to store. `fair.json` records each measurement once it is finished
(the same command goes on after a stop); `fair.md` is the table.

The random selection keeps hard labels: artefacts store soft labels, not the
teachers that made them. Where labels were learned, IOR is partly their gain;
`fair.md` then says so.
"""

import functools
from typing import Any

import cells
import numpy as np
import whole_set
from absl import app, flags
from evaluations import Evaluations
from progress import say

from dcjax import artefact, fairness
from dcjax.utils import check_at_least

_TITLES = {
  'whole': 'whole real set',
  'condensed': 'condensed',
  'condensed_hard': 'condensed, hard labels',
  'random': 'random',
  'condensed_plain': 'condensed, no augmentation',
  'random_plain': 'random, no augmentation',
}


def measure(
  run: cells.FinishedRun, record: cells.Cells, whole_epochs: int, stop: Any
) -> dict[str, dict[str, Any]]:
  """Trains on every set; what is recorded is not repeated.

  Args:
    run: the finished run.
    record: where the measurements are kept.
    whole_epochs: passes over the whole real set.
    stop: a request to stop, or None.

  Returns:
    Name of a measurement -> what `evaluations.json` records of one.

  Raises:
    Interrupted: if a stop was asked for.
  """
  programs = _programs(run, whole_epochs, stop)
  hard = _hard(run.images('condensed'))
  sets = {
    'condensed': ('augmented', lambda: run.images('condensed')),
    'random': ('augmented', lambda: run.images('random')),
    'condensed_hard': ('augmented', lambda: hard),
    'condensed_plain': ('plain', lambda: run.images('condensed')),
    'random_plain': ('plain', lambda: run.images('random')),
    'whole': ('whole', lambda: run.images('whole')),
  }
  # With hard labels the set is its own hard-labelled form.
  if np.array_equal(hard.labels, run.images('condensed').labels):
    del sets['condensed_hard']
  found = {}
  for name, (program, images) in sets.items():
    epochs = whole_epochs if name == 'whole' else run.epochs
    cell = f'{name}, {run.seeds} seeds, {epochs} epochs'
    known = run.own_evaluation(name)
    if known is not None and cell not in record:
      record.add(cell, known)
    found[name] = record.measure(
      cell,
      lambda n=name, p=program, make=images: programs(p).run(
        n, make(), run.keys['evaluate']
      ),
    )
  return {'condensed_hard': found['condensed'], **found}


def _programs(run, whole_epochs, stop):
  """Compiled evaluations by name, made when they are needed."""
  parts = run.parts
  none = {'evaluate': 'none', 'cutmix_probability': 0.0}
  variants = {
    'augmented': parts,
    'plain': parts._replace(strategies={**parts.strategies, **none}),
    'whole': whole_set.prepared(parts, whole_epochs),
  }
  return functools.cache(lambda name: Evaluations(variants[name], stop))


def _hard(batch):
  classes, images = batch.images.shape[:2]
  labels = np.eye(classes, dtype=np.float32)[:, None]
  return batch._replace(
    labels=np.broadcast_to(labels, (classes, images, classes))
  )


def scores(
  found: dict[str, dict[str, Any]],
  *,
  label_weight: float = 0.5,
  augmentation_weight: float = 0.5,
) -> dict[str, dict[str, float]]:
  """Computes the scores from the accuracies at the end of training.

  Args:
    found: what `measure` returns.
    label_weight: of IOR in LRS.
    augmentation_weight: of the augmented half in ARS.

  Returns:
    `'HLR'`, `'IOR'`, `'LRS'`, `'ARS'` -> `'mean'` and `'std'` over seeds.
  """
  last = {name: entry['per_seed_last'] for name, entry in found.items()}
  recovery = fairness.hard_label_recovery(last['whole'], last['condensed_hard'])
  gain = fairness.improvement_over_random(last['condensed'], last['random'])
  plain = fairness.improvement_over_random(
    last['condensed_plain'], last['random_plain']
  )
  by_seed = {
    'HLR': recovery,
    'IOR': gain,
    'LRS': fairness.label_robust_score(gain, recovery, weight=label_weight),
    'ARS': fairness.augmentation_robust_score(
      gain, plain, weight=augmentation_weight
    ),
  }
  summaries = {n: fairness.mean_and_std(v) for n, v in by_seed.items()}
  return {n: {'mean': mean, 'std': std} for n, (mean, std) in summaries.items()}


def report(
  run: cells.FinishedRun,
  found: dict[str, dict[str, Any]],
  results: dict[str, dict[str, float]],
) -> str:
  """Returns scores, storage and accuracies as Markdown.

  Args:
    run: the finished run.
    found: what `measure` returns.
    results: what `scores` returns.
  """
  config, storage = run.config, artefact.storage(run.artefact)
  names = [name for name in _TITLES if name in found]
  if found['condensed_hard'] is found['condensed']:
    names.remove('condensed_hard')
  groups = [
    n for n, size in storage.items() if size['numbers'] or n == 'labels'
  ]
  top = cells.markdown(
    [*results, *(f'{name}, bytes' for name in groups)],
    [
      [
        *(cells.percent(s['mean'], s['std']) for s in results.values()),
        *(f'{storage[name]["float32_bytes"]:,}' for name in groups),
      ]
    ],
  )
  accuracies = cells.markdown(
    ['trained on', 'last', 'best', 'images', 'epochs', 'labels'],
    [
      [
        _TITLES[name],
        cells.accuracy(found[name]),
        cells.accuracy(found[name], 'best'),
        found[name]['images'],
        found[name]['epochs'],
        found[name]['label_regime'],
      ]
      for name in names
    ],
  )
  return (
    f'# Fair scores: {config.method} on {config.data.name}, ipc {config.ipc}\n'
    f'\nIn percent, mean ± std of {run.seeds} seeds; network '
    f'{run.parts.network.name}, protocol {config.evaluation.protocol}.\n'
    'HLR: lost against the whole set under hard labels (smaller is better); '
    'IOR: won over random images; LRS, ARS: robust scores of 0 to 100, where '
    '26.9 means that gains and losses cancel out. Bytes count every number as '
    'float32.\n\n'
    f'{_labels_note(found)}{top}\n\n## Accuracies\n\n{accuracies}\n'
  )


def _labels_note(found):
  """What the gain over random images is worth if labels differ."""
  ours, theirs = (found[n]['label_regime'] for n in ('condensed', 'random'))
  if ours == theirs:
    return ''
  return (
    f'**Labels differ**: condensed set, {ours}; random selection, {theirs}, as '
    'nothing is stored that could label other images. IOR and the robust '
    'scores are the gain of images and labels together; "condensed, hard '
    'labels" less "random" is the gain of the images alone.\n\n'
  )


def fair(
  run_dir: str,
  *,
  whole_epochs: int | None = None,
  label_weight: float = 0.5,
  augmentation_weight: float = 0.5,
  **options: Any,
) -> str:
  """Measures a finished run and writes `fair.md`; returns its text.

  Args:
    run_dir: the folder of a finished run.
    whole_epochs: passes over the whole set; None: see `whole_set`.
    label_weight: see `scores`.
    augmentation_weight: see `scores`.
    **options: `seeds`, `epochs`, `data_dir`: see `cells.FinishedRun`.

  Raises:
    FileNotFoundError: if the folder holds no finished run.
    ValueError: if an option is out of range.
    Interrupted: after Ctrl-C or SIGTERM.
  """
  for name, weight in (
    ('label_weight', label_weight),
    ('augmentation_weight', augmentation_weight),
  ):
    if not 0 <= weight <= 1:
      raise ValueError(f'{name} {weight}: must be in [0, 1]')
  if whole_epochs is not None:
    check_at_least('whole_epochs', whole_epochs, 1)
  run = cells.FinishedRun(run_dir, **options)
  with run.folder.graceful_stop() as stop:
    record = cells.Cells(run, 'fair.json', stop)
    if whole_epochs is None:
      whole_epochs = run.default_whole_epochs()
      say(f'whole set: {whole_epochs} epochs (change with --whole_epochs)')
    found = measure(run, record, whole_epochs, stop)
  results = scores(
    found,
    label_weight=label_weight,
    augmentation_weight=augmentation_weight,
  )
  record.conclude(
    scores=results,
    weights={'label': label_weight, 'augmentation': augmentation_weight},
    whole_epochs=whole_epochs,
    storage=artefact.storage(run.artefact),
  )
  text = report(run, found, results)
  cells.write(run.folder.path / 'fair.md', text)
  return text


def main(argv: list[str]) -> None:
  """Prints and writes the scores of the run that the flags name."""
  del argv
  values = flags.FLAGS
  cells.command(
    lambda: print(
      fair(
        values.run,
        whole_epochs=values.whole_epochs,
        label_weight=values.label_weight,
        augmentation_weight=values.augmentation_weight,
        seeds=values.seeds,
        epochs=values.epochs,
        data_dir=values.data_dir,
      )
    )
  )


if __name__ == '__main__':
  flags.DEFINE_string('run', None, 'Folder of a finished run.', required=True)
  flags.DEFINE_integer('whole_epochs', None, 'Passes over the whole real set.')
  flags.DEFINE_float('label_weight', 0.5, 'Of IOR in LRS.')
  flags.DEFINE_float('augmentation_weight', 0.5, 'Of augmentation in ARS.')
  flags.DEFINE_integer('seeds', None, 'Networks each; as the run if left out.')
  flags.DEFINE_integer('epochs', None, 'Of the protocol; as the run.')
  flags.DEFINE_string('data_dir', None, 'Where the data lie now.')
  app.run(main)
