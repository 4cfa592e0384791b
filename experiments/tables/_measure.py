"""What cells read from a finished run, each measured once."""

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from tables._settings import sized, slugs
from tables._types import (
  Accuracy,
  ClassGradient,
  GradientNorm,
  MatchingLoss,
  Measure,
  RecordedLoss,
)

RECORD = 'table.json'
# Passes over the whole set: IDC's full-data training, and what DC's Table T2
# calls "just enough for convergence"; neither paper says more.
_WHOLE_EPOCHS = {'idc': 300, 'dc': 100}


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
  if not isinstance(measure, Accuracy):
    return measure.key
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
  for kind, make in _NUMBERS.items():
    wanted = [m for m in left if isinstance(m, kind)]
    for measure, values in make(run, wanted) if wanted else ():
      _record(run, {measure.key: values})
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


_Found = Iterator[tuple[Measure, dict[str, Any]]]


def _losses(run: Finished, measures: list[MatchingLoss]) -> _Found:
  from tables._loss import matching_loss

  for measure in measures:
    losses = matching_loss(run.folder.path, measure.percent, _place(run))
    yield measure, _summary(losses)


def _recorded_losses(run: Finished, measures: list[RecordedLoss]) -> _Found:
  """Looks the losses up in the run's metrics, one line an outer iteration."""
  path = run.folder.path / 'metrics.jsonl'
  lines = path.read_text(encoding='utf-8').splitlines()
  for measure in measures:
    position = -(-len(lines) * measure.percent // 100) - 1
    loss = json.loads(lines[position])['loss']
    yield measure, {'last_mean': loss, 'last_std': 0.0}


def _gradient_norms(run: Finished, measures: list[GradientNorm]) -> _Found:
  from tables._gradients import gradient_norms

  epochs = sorted({measure.epochs for measure in measures})
  norms = gradient_norms(run.folder.path, epochs, _place(run))
  for measure in measures:
    position = epochs.index(measure.epochs)
    yield measure, _summary(norms[measure.data][:, position])


def _class_gradients(run: Finished, measures: list[ClassGradient]) -> _Found:
  from tables._gradients import class_gradients

  found = class_gradients(run.folder.path, _place(run))
  for measure in measures:
    yield measure, _summary(found[measure.what])


_NUMBERS = {
  MatchingLoss: _losses,
  RecordedLoss: _recorded_losses,
  GradientNorm: _gradient_norms,
  ClassGradient: _class_gradients,
}


def _summary(values: np.ndarray) -> dict[str, Any]:
  """Mean and spread of the values `[E]` of several networks."""
  spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
  return {'last_mean': float(np.mean(values)), 'last_std': float(spread)}


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
    whole_epochs=_whole_epochs(run),
    stop=run.stop,
    data_dir=_place(run),
  )
  return found[first.images]


def _whole_epochs(run):
  """None at other sizes than the published: as `whole_set` says."""
  if run.size != 'reference':
    return None
  return _WHOLE_EPOCHS.get(run.config.evaluation.protocol)


def _network(measure, size):
  own = {'name': 'own'}
  return own if measure.network is None else sized(measure.network, size)


def _place(run):
  return run.config.data.dir or None
