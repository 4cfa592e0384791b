"""Runs in folders, and those that differ in nothing but their seed together."""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax import records
from dcjax.runs.report import _bytes
from dcjax.runs.report._html import is_number

_CONFIG, _RESULTS = 'config.json', 'results.json'
# Settings that decide nothing that is measured.
_FREE = ('seed', 'data_dir')


class Run(NamedTuple):
  """A run of a condensation.

  Attributes:
    folder: where it lies.
    results: its `results.json`; empty while it is not finished.
    config: its settings, nested dicts; empty where they are not recorded.
  """

  folder: pathlib.Path
  results: Mapping[str, Any]
  config: Mapping[str, Any]


class Group(NamedTuple):
  """Runs that differ in their seed alone.

  Attributes:
    name: what tells it from other groups.
    runs: at least one.
  """

  name: str
  runs: Sequence[Run]

  def entry(self, which: str) -> dict[str, Any] | None:
    """One record for all seeds, or None where a run has no such evaluation.

    The spread is that over seeds; of a single run, that over its networks.
    """
    found = [r.results['evaluations'].get(which) for r in self.runs]
    if not all(e and is_number(e.get('last_mean')) for e in found):
      return None
    if len(found) == 1:
      return dict(found[0])
    means = [e['last_mean'] for e in found]
    return {
      **found[0],
      'last_mean': float(np.mean(means)),
      'last_std': float(np.std(means, ddof=1)),
      'per_seed_last': means,
    }

  def seconds(self) -> float:
    """Mean seconds of condensation."""
    every = [r.results.get('seconds', {}).get('condense', 0) for r in self.runs]
    return float(np.mean(every))

  def budget(self) -> _bytes.Budget:
    """What is stored, of the first run."""
    return _bytes.total(_bytes.budgets(self.runs[0].results))


def read(folder: str | pathlib.Path) -> Run:
  """Reads a finished run.

  Raises:
    ValueError: if the run is not finished, its results are damaged, or it is
      no condensation.
  """
  folder = pathlib.Path(folder).expanduser()
  file = folder / _RESULTS
  if not file.is_file():
    raise ValueError(f'{file}: is not there; finish the run first')
  results = _results(file)
  if not _is_ours(results):
    raise ValueError(f'{file}: is no run that condensed and evaluated a set')
  config = folder / _CONFIG
  return Run(folder, results, records.read(config) if config.is_file() else {})


def _results(file):
  found = records.read(file)
  records.check_accuracies(found, str(file))
  return found


def _is_ours(results):
  """Whether a set was condensed and evaluated; applications have others."""
  if not isinstance(results, dict):
    return False
  evaluations = results.get('evaluations')
  return isinstance(evaluations, dict) and 'condensed' in evaluations


def below(folder: str | pathlib.Path) -> list[Run]:
  """All runs in a folder, however deep; those not finished have no results.

  Raises:
    ValueError: if results are damaged.
  """
  found = []
  for config in sorted(pathlib.Path(folder).expanduser().rglob(_CONFIG)):
    place = config.parent
    if (place / _RESULTS).is_file():
      results = _results(place / _RESULTS)
      if _is_ours(results):
        found.append(Run(place, results, records.read(config)))
    elif (place / 'report.html').is_file():
      found.append(Run(place, {}, records.read(config)))
  return found


def collect(folders: Iterable[str]) -> list[Run]:
  """Finished runs: of each folder itself, or else all below it.

  Raises:
    ValueError: if there is none in a folder, or one is damaged.
  """
  found = []
  for folder in folders:
    place = pathlib.Path(folder).expanduser()
    if (place / _RESULTS).is_file():
      found.append(read(place))
      continue
    own = [run for run in below(place) if run.results]
    if not own:
      read(place)  # says what is missing
    found += own
  return found


def grouped(runs: Sequence[Run]) -> list[Group]:
  """Runs by their settings without the seed, in their order."""
  found: dict[str, list[Run]] = {}
  for run in runs:
    config = {n: v for n, v in run.config.items() if n not in _FREE}
    key = json.dumps(config, sort_keys=True) if config else str(run.folder)
    found.setdefault(key, []).append(run)
  names = [_name(group[0].results) for group in found.values()]
  configs = [_flat(group[0].config) for group in found.values()]
  groups = []
  for i, group in enumerate(found.values()):
    alike = [j for j, name in enumerate(names) if name == names[i]]
    more = '' if len(alike) == 1 else _apart(configs, alike, i)
    if len(alike) > 1 and not more:
      more = group[0].folder.name
    groups.append(Group(f'{names[i]} {more}'.strip(), group))
  return groups


def _name(results):
  spec = results.get('formation') or {}
  words = [results.get('method', '?'), results.get('dataset', '?')]
  words.append(f'ipc {results.get("ipc", "?")}')
  if spec.get('factor', 1) != 1:
    words.append(f'factor {spec["factor"]}')
  return ' '.join(map(str, words))


def _apart(configs, alike, i):
  """The settings that tell a group from others of the same name."""
  fields = sorted(set().union(*(configs[j] for j in alike)) - set(_FREE))
  told = [
    f'{field}={configs[i].get(field)}'
    for field in fields
    if len({str(configs[j].get(field)) for j in alike}) > 1
  ]
  return ' '.join(told[:3])


def _flat(config, prefix=''):
  found = {}
  for name, value in config.items():
    if isinstance(value, Mapping):
      found |= _flat(value, f'{prefix}{name}.')
    else:
      found[f'{prefix}{name}'] = value
  return found
