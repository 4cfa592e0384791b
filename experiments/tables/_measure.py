"""What cells read from a finished run, each measured once."""

import itertools
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from tables._settings import sized, slugs
from tables._types import Accuracy, MatchingLoss

RECORD = 'table.json'
Measure = Accuracy | MatchingLoss


class Finished(NamedTuple):
  """A finished run that is measured.

  Attributes:
    folder: its `Workdir`.
    config: its settings.
    size: of the table.
    stop: `workdir.Stop`, heard during and between evaluations.
  """

  folder: Any
  config: ConfigDict
  size: str
  stop: Any


def key_of(measure: Measure, size: str) -> str:
  """Returns the name under which a measurement is recorded."""
  if isinstance(measure, MatchingLoss):
    return f'matching loss at {measure.percent} %'
  parts = [measure.images]
  if measure.network is not None:
    parts += slugs({'network': sized(measure.network, size)})
  if measure.epochs_divisor != 1:
    parts.append(f'epochs/{measure.epochs_divisor}')
  if measure.pack != 1:
    parts.append(f'pack={measure.pack}')
  return ' '.join([*parts, *slugs(measure.changes)])


def recorded(folder: Any) -> dict[str, Any]:
  """Returns all measurements of a run so far, by `key_of`."""
  results = folder.results()
  if results is None:
    return {}
  return {**results['evaluations'], **(folder.read_json(RECORD) or {})}


def measure_all(run: Finished, measures: Iterable[Measure]) -> int:
  """Measures what is not recorded yet, and records it.

  Returns:
    How many measurements were missing.

  Raises:
    ValueError: if an evaluation is not possible.
    Interrupted: after a stop was asked for; what is done is recorded.
  """
  known = recorded(run.folder)
  left = {key_of(m, run.size): m for m in measures}
  left = [m for key, m in left.items() if key not in known]
  for measure in left:
    if isinstance(measure, MatchingLoss):
      _record(run, {key_of(measure, run.size): _loss(run, measure)})
  accuracies = [m for m in left if isinstance(m, Accuracy)]
  # One call for all networks of a set: the set is selected only once.
  ordered = sorted(accuracies, key=_without_network)
  for _, group in itertools.groupby(ordered, _without_network):
    _record(run, _accuracies(run, list(group)))
    jax.clear_caches()
  return len(left)


def _record(run, entries):
  old = run.folder.read_json(RECORD) or {}
  run.folder.write_json(RECORD, {**old, **entries})


def _without_network(measure):
  return key_of(measure._replace(network=None), 'reference')


def _loss(run: Finished, measure: MatchingLoss) -> dict[str, Any]:
  from tables._loss import matching_loss

  losses = matching_loss(run.folder.path, measure.percent, _place(run))
  return {
    'last_mean': float(np.mean(losses)),
    'last_std': float(np.std(losses, ddof=1)),
  }


def _accuracies(run: Finished, group: list[Accuracy]) -> dict[str, Any]:
  """Trains all networks that one set of images is tested with."""
  from transfer import evaluate_networks

  from tables._variants import variant_folder

  first = group[0]
  epochs = None
  if first.epochs_divisor != 1:
    epochs = max(1, run.config.evaluation.epochs // first.epochs_divisor)
  found = evaluate_networks(
    variant_folder(run.folder, run.config, first),
    {key_of(m, run.size): _network(m, run.size) for m in group},
    sets=(first.images,),
    epochs=epochs,
    stop=run.stop,
    data_dir=_place(run),
  )
  return found[first.images]


def _network(measure, size):
  own = {'name': 'own'}
  return own if measure.network is None else sized(measure.network, size)


def _place(run):
  return run.config.data.dir or None
