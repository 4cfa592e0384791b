"""From a run of a table to its config and the name of its folder."""

import hashlib
import importlib
import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from tables._types import Run

# A table asks for baselines itself, so that no run evaluates what none needs.
_ALWAYS = {'evaluation.at': (), 'evaluation.baselines': ()}
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
  config = _recipe(run.recipe).get_config(arguments_of(run, size))
  changes = {**_evaluated_as_idc(run, size), **run.changes}
  if 'network' in changes:
    changes['network'] = sized(changes['network'], size)
  set_fields(config, {**_ALWAYS, **changes, **(overrides or {})})
  return config


def _recipe(name):
  return importlib.import_module(f'configs.{name}')


def _evaluated_as_idc(run, size):
  """Other methods on ImageNet are tested as IDC's config tests.

  Kim et al. (2022), appendix C.1: one evaluation strategy for all cases.
  """
  if not run.dataset.startswith('imagenet') or run.recipe == 'idc':
    return {}
  config = _recipe('idc').get_config(arguments_of(run, size))
  fields = ('protocol', 'epochs', 'seeds', 'herding_steps')
  tested = {f'evaluation.{name}': config.evaluation[name] for name in fields}
  return {**tested, 'augment.evaluate': config.augment.evaluate}


def arguments_of(run: Run, size: str) -> str:
  """Returns what follows the colon of `--config=file.py:...` for a run."""
  switch = 'smoke' if size == 'smoke' else f'schedule={size}'
  return f'{run.dataset},ipc={run.ipc},factor={run.factor},{switch}'


def name_of(
  run: Run, size: str, overrides: Mapping[str, Any] | None = None
) -> str:
  """Returns the name of a run's folder: other settings, another name."""
  changes = {**run.changes, **(overrides or {})}
  changes.pop('data.dir', None)
  words = [run.recipe, run.dataset, f'ipc{run.ipc}', f'factor{run.factor}']
  return short_name('-'.join([*words, size, *slugs(changes)]))


def slugs(changes: Mapping[str, Any]) -> list[str]:
  """Returns `field=value` for each change, in order of the fields."""
  return [f'{field}={_word(changes[field])}' for field in sorted(changes)]


def _word(value):
  if not isinstance(value, Mapping):
    return str(value)
  options = [f'{k}={v}' for k, v in value.items() if k != 'name']
  return ','.join([value.get('name', ''), *options])


def short_name(text: str) -> str:
  """Returns a text as a file name; where it is cut short a hash is added."""
  plain = re.sub(r'[^\w.=+,-]+', '', text)
  if plain == text and len(plain) <= _LONGEST_NAME:
    return plain
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  return f'{plain[: _LONGEST_NAME - 9]}-{digest}'


def set_fields(config: ConfigDict, changes: Mapping[str, Any]) -> None:
  """Sets dotted fields of a config.

  A mapping takes the place of a section (network, formation); where it has the
  same `name`, the section keeps its other options.

  Raises:
    ValueError: if a field is unknown (lists the known ones) or a value has
      the wrong type.
  """
  for field, value in changes.items():
    section, name = _find(config, field)
    if isinstance(value, Mapping):
      old = section[name].to_dict()
      kept = old if old.get('name') == value.get('name') else {}
      section[name] = ConfigDict({**kept, **value})
      continue
    try:
      section[name] = value
    except TypeError as error:
      kind = type(section[name]).__name__
      raise ValueError(
        f'config field {field}: {value!r} must be of type {kind}'
      ) from error


def _find(config, field):
  """Returns the section that holds a dotted field, and its name there."""
  *path, name = field.split('.')
  section = config
  for part in path:
    section = _child(section, part, field)
  _child(section, name, field)
  return section, name


def _child(section, part, field):
  known = sorted(section) if isinstance(section, ConfigDict) else []
  if part not in known:
    raise ValueError(f'config field {field!r}: {part!r} must be one of {known}')
  return section[part]
