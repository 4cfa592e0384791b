"""From a run of a table to its config and the name of its folder."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dcjax import specs
from dcjax.runs import settings
from dcjax.runs.tables._types import Run

# A table asks for baselines itself, so that no run evaluates what none needs.
_ALWAYS = {'evaluation.at': (), 'evaluation.baselines': ()}
# Methods that IDC's paper compares with, and tests as its own on ImageNet.
_COMPARED_BY_IDC = ('dc', 'dsa', 'dm')
_LONGEST_NAME = 100
# Option of a network -> reference size -> size on few cores; and in tests.
_SHRINK = {
  'short': {
    'convnet': {'width': lambda width: width // 4},
    'resnet': {'width_multiplier': lambda width: width / 2},
    'densenet121': {'growth': lambda growth: growth // 2},
    'vgg11': {'width': lambda width: width // 4},
  },
  'smoke': {
    'convnet': {'width': lambda width: max(4, width // 16)},
    'mlp': {'width': lambda width: width // 16},
    'resnet': {'width_multiplier': lambda width: width / 8},
    'densenet121': {'growth': lambda growth: growth // 6},
    'vgg11': {'width': lambda width: width // 16},
  },
}
_SIZES = {
  'convnet': {'width': 128},
  'mlp': {'width': 128},
  'resnet': {'width_multiplier': 1.0},
  'densenet121': {'growth': 12},
  'vgg11': {'width': 64},
}


def sized(network: Mapping[str, Any], size: str) -> dict[str, Any]:
  """Returns a network's description for a table size.

  Args:
    network: description in its reference size.
    size: `'reference'` leaves it; `'short'` makes it narrower by 4 (ConvNet,
      VGG) or 2 (ResNet, DenseNet), `'smoke'` as narrow as it comes.
  """
  network = dict(network)
  name = network['name']
  for option, shrink in _SHRINK.get(size, {}).get(name, {}).items():
    network[option] = shrink(network.get(option, _SIZES[name][option]))
  return network


def config_of(
  run: Run, size: str, overrides: Mapping[str, Any] | None = None
) -> ConfigDict:
  """Returns the config of a run.

  Args:
    run: as a table names it.
    size: `'reference'`, `'short'` or `'smoke'`.
    overrides: dotted field -> value, applied last.

  Raises:
    ValueError: if a field is unknown (lists the known ones), or a value has
      the wrong type.
  """
  file = settings.module(run.recipe)
  config = file.get_config(arguments_of(run, size))
  changes = {**_evaluated_as_idc(run, size), **run.changes}
  if 'network' in changes:
    changes['network'] = specs.word(sized(changes['network'], size))
  settings.set_fields(config, {**_ALWAYS, **changes, **(overrides or {})})
  return config


def _evaluated_as_idc(run, size):
  """Other methods on ImageNet are tested as IDC's config tests.

  Kim et al. (2022), appendix C.1: one evaluation strategy for all cases.
  """
  compared = run.recipe in _COMPARED_BY_IDC
  if not run.dataset.startswith('imagenet') or not compared:
    return {}
  idc = settings.module('idc').get_config(arguments_of(run, size))
  config = settings.resolve(idc).config
  fields = ('protocol', 'epochs', 'seeds', 'herding_steps')
  tested = {f'evaluation.{name}': config.evaluation[name] for name in fields}
  return {**tested, 'augment.evaluate': config.augment.evaluate}


def arguments_of(run: Run, size: str) -> str:
  """Returns what follows the colon of `--config=METHOD:...` for a run."""
  switch = 'smoke' if size == 'smoke' else f'schedule={size}'
  return f'{run.dataset},ipc={run.ipc},factor={run.factor},{switch}'


def name_of(
  run: Run, size: str, overrides: Mapping[str, Any] | None = None
) -> str:
  """Returns the name of a run's folder: other settings, another name."""
  changes = {**run.changes, **(overrides or {})}
  changes.pop('data_dir', None)
  words = [run.recipe, run.dataset, f'ipc{run.ipc}', f'factor{run.factor}']
  return short_name('-'.join([*words, size, *slugs(changes)]))


def slugs(changes: Mapping[str, Any]) -> list[str]:
  """Returns `field=value` for each change, in order of the fields."""
  return [f'{field}={_word(changes[field])}' for field in sorted(changes)]


def _word(value):
  return specs.word(value) if isinstance(value, Mapping) else str(value)


def short_name(text: str) -> str:
  """Returns a text as a file name; where it is cut short a hash is added."""
  plain = re.sub(r'[^\w.=+,-]+', '', text)
  if plain == text and len(plain) <= _LONGEST_NAME:
    return plain
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  return f'{plain[: _LONGEST_NAME - 9]}-{digest}'
