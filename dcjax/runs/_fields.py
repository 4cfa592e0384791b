"""Fields of a config by their dotted names."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from dcjax.runs._values import read

# Fields of earlier versions -> what they are called now.
RENAMED = {
  'augment.cutmix': 'augment.mix',
  'data.dir': 'data_dir',
  'data.name': 'data',
  'data.zca': 'zca',
  'evaluation.override.batch_size': 'evaluation.batch_size',
  'evaluation.override.learning_rate': 'evaluation.learning_rate',
  'evaluation.students': 'evaluation.networks',
  'formation.factor': 'factor',
  'formation.name': 'formation',
  'images.decay': 'method.decay',
  'images.learning_rate': 'method.learning_rate',
  'images.momentum': 'method.momentum',
  'images.sweep': 'method.sweep',
  'init.mode': 'start',
  'init.order': 'start',
  'inner.batch_size': 'method.network_batch_size',
  'inner.batches': 'method.network_batches',
  'inner.early_batches': 'method.early_batches',
  'inner.early_epochs': 'method.early_epochs',
  'inner.epochs': 'method.epochs',
  'inner.learning_rate': 'method.network_learning_rate',
  'inner.pool': 'method.pool_networks',
  'inner.weight_decay': 'method.network_weight_decay',
  'labels.start': 'stored_labels',
  'method.start': 'stored_labels',
  'matching.batch_real': 'method.batch_real',
  'matching.classes': 'execution.classes',
  'matching.distance': 'method.distance',
  'matching.most_synthetic': 'method.most_synthetic',
  'matching.tensors': 'method.tensors',
  'network.norm': 'network',
  'network.width': 'network',
  'observers.dir': '--store',
  'precision': 'execution.precision',
  'schedule.inner': 'method.inner_steps',
  'schedule.outer': 'outer',
  'start.mode': 'start',
  'synthesis.batch_size': 'batches.batch_size',
  'synthesis.iterations': 'method.iterations',
  'synthesis.learning_rate': 'method.learning_rate',
}


def set_fields(config: ConfigDict, changes: Mapping[str, Any]) -> None:
  """Sets dotted fields of a config.

  Args:
    config: of `make`.
    changes: field -> value, or text as on a command line.

  Raises:
    ValueError: naming a field that is unknown (lists the known ones), or a
      value of another kind.
  """
  for field, value in changes.items():
    section, name = _find(config, field)
    section[name] = read(field, value, section.get_type(name))


def _find(config, field):
  if field in RENAMED:
    raise ValueError(f'config field {field!r}: is {RENAMED[field]!r} now')
  *path, name = field.split('.')
  for part in (*path, name):
    if not isinstance(config, ConfigDict):
      raise ValueError(
        f'config field {field!r}: holds {config!r}, it has no {part!r}'
      )
    if part not in config:
      raise ValueError(
        f'config field {field!r}: {part!r} must be one of {sorted(config)}'
      )
    section, config = config, config[part]
  if isinstance(config, ConfigDict):
    raise ValueError(
      f'config field {field!r}: is set by its fields {sorted(config)}'
    )
  return section, name


def said(config: ConfigDict) -> dict[str, Any]:
  """What a config says: dotted field -> value, of all that is not None."""
  return {f: v for f, v in flat(config.to_dict()).items() if v is not None}


def flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Sections as dotted fields."""
  found: dict[str, Any] = {}
  for name, value in tree.items():
    if isinstance(value, Mapping):
      found |= flat(value, f'{prefix}{name}.')
    else:
      found[f'{prefix}{name}'] = value
  return found


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
  """Dotted fields as sections."""
  tree: dict[str, Any] = {}
  for field, value in fields.items():
    *path, name = field.split('.')
    section = tree
    for part in path:
      section = section.setdefault(part, {})
    section[name] = value
  return tree
