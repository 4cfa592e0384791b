"""What can be said against a config before anything is computed."""

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import recipes
from ml_collections import ConfigDict

from dcjax import (
  augment,
  evaluation,
  formations,
  methods,
  networks,
  objectives,
)
from dcjax.base import Network
from dcjax.utils import check_at_least, check_choice

BASELINES = ('random', 'herding', 'k_center', 'k_means', 'forgetting')
_CHOICES = {
  'evaluation.protocol': evaluation.PROTOCOLS,
  'init.mode': ('random', 'mix', 'noise', 'normal'),
  'init.order': ('random', 'first'),
  'augment.family': augment.STRATEGIES,
  'evaluation.family': ('auto', *augment.STRATEGIES),
  'precision': networks.PRECISIONS,
  'images.decay': ('none', 'cosine', 'halved'),
  'labels.start': formations.LABEL_STARTS,
  'matching.condition': methods.CONDITIONS,
  'matching.codes': methods.CODES,
  'generator.optimizer': methods.OPTIMIZERS,
  'matching.labels': ('hard', 'soft'),
}
_STRATEGIES = ('auto', 'scan', 'vmap')  # or a number of classes at a time
_LEAST = {
  'ipc': 1,
  'schedule.outer': 1,
  'schedule.inner': 1,
  'matching.batch_real': 1,
  'matching.most_synthetic': 1,
  'generator.learning_rate': 0,
  'generator.embedding_steps': 0,
  'generator.steps': 1,
  'generator.fit_steps': 0,
  'generator.critic_steps': 1,
  'generator.largest_gradient': 0,
  'generator.batch_size': 1,
  'generator.penalty': 0,
  'discriminator.learning_rate': 0,
  'inner.batches': 0,
  'inner.batch_size': 1,
  'inner.early_batches': 0,
  'inner.early_epochs': 0,
  'inner.epochs': 0,
  'inner.learning_rate': 0,
  'inner.weight_decay': 0,
  'evaluation.epochs': 1,
  'evaluation.seeds': 1,
  'evaluation.herding_steps': 1,
}
_IMAGES_BY_GRADIENTS = ('matching.distance', 'matching.tensors')
_TRAINING = ('inner.epochs', 'inner.batch_size', 'inner.learning_rate')
_GENERATIVE = tuple(
  f'matching.{name}'
  for name in (
    *objectives.GenerativeTerms._fields[:-1],
    'condition',
    'codes',
    'labels',
    'classes_per_step',
  )
)
# Method -> fields that it reads and that not every method's config has.
_NEEDED = {
  'idc': (
    *_IMAGES_BY_GRADIENTS,
    'images.sweep',
    'inner.batches',
    'inner.batch_size',
    'inner.learning_rate',
    'inner.weight_decay',
    'inner.early_batches',
  ),
  'dc': (*_IMAGES_BY_GRADIENTS, *_TRAINING),
  'dsa': (*_IMAGES_BY_GRADIENTS, *_TRAINING),
  'dm': (),
  'cafe': (
    'matching.layer_weights',
    'matching.last_weight',
    'matching.discrimination',
    *_TRAINING,
  ),
  'generative': (
    *_GENERATIVE,
    'generator.pretrained',
    'generator.learning_rate',
    'generator.embedding_steps',
    'discriminator.learning_rate',
    'discriminator.widths',
    'inner.batches',
    'inner.batch_size',
    'inner.learning_rate',
    'inner.early_batches',
  ),
  'label_distillation': (
    'labels.start',
    'matching.form',
    'matching.unrolled_learning_rate',
    'matching.regularisation',
    *_TRAINING,
  ),
}


def _get(config: ConfigDict, dotted: str) -> Any:
  """Returns the value of a field such as `'images.momentum'`."""
  for name in dotted.split('.'):
    config = config[name]
  return config


def _has(config: ConfigDict, dotted: str) -> bool:
  """Whether a config has a field of one or two levels."""
  section, _, name = dotted.rpartition('.')
  return not section or (section in config and name in config[section])


def check_settings(config: ConfigDict) -> None:
  """Checks all that does not depend on the data.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  if config.method in recipes.WITH_OBSERVERS:
    raise ValueError(
      f'method {config.method!r}: its students learn from teachers, which only '
      'experiments/run.py does; this program takes runs of '
      + ', '.join(sorted(recipes.CONDENSERS))
    )
  check_choice('method', config.method, recipes.CONDENSERS)
  _check_method_fields(config)
  check_finite(config)
  for field, least in _LEAST.items():
    if _has(config, field) and _get(config, field) is not None:
      check_at_least(field, _get(config, field), least)
  _check_image_steps(config)
  for fraction in config.evaluation.at:
    if not isinstance(fraction, float | int) or not 0 < fraction <= 1:
      raise ValueError(f'evaluation.at {fraction!r}: must be in (0, 1]')
  for name in config.evaluation.baselines:
    check_choice('evaluation.baselines', name, BASELINES)
  for field, known in _CHOICES.items():
    if _has(config, field):
      check_choice(field, _get(config, field), known)
  if not str(config.matching.classes).isdigit():
    check_choice('matching.classes', config.matching.classes, _STRATEGIES)


def _check_image_steps(config):
  if not config.images.learning_rate > 0:
    raise ValueError(
      f'images.learning_rate {config.images.learning_rate}: must be above 0'
    )
  if not 0 <= config.images.momentum < 1:
    raise ValueError(
      f'images.momentum {config.images.momentum}: must be in [0, 1)'
    )
  if not config.augment.cutmix <= 1:
    raise ValueError(
      f'augment.cutmix {config.augment.cutmix}: must be a probability, or '
      "below 0 for the reference's choice"
    )


def _check_method_fields(config: ConfigDict) -> None:
  """Checks that the config is one of its method, not of another one.

  Args:
    config: its `method` must be known.

  Raises:
    ValueError: if a field is missing, or there are labels that the method
      would not learn.
  """
  method = config.method
  for field in _NEEDED[method]:
    if not _has(config, field):
      raise ValueError(
        f'method {method!r} needs config field {field!r}; use its own config '
        f'file experiments/configs/{method}.py'
      )
  if 'labels' in config and method != 'label_distillation':
    raise ValueError(
      f"config section 'labels': only method 'label_distillation' learns "
      f'labels; use the config file experiments/configs/{method}.py of '
      f'method {method!r}'
    )


def check_finite(config: ConfigDict) -> None:
  """Checks every number of a config.

  Raises:
    ValueError: naming the first field that is infinite or not a number.
  """
  for field, value in _numbers(config.to_dict()):
    if not math.isfinite(value):
      raise ValueError(f'{field} {value}: must be finite')


def _numbers(settings: Mapping[str, Any], prefix='') -> Iterator:
  for name, value in settings.items():
    if isinstance(value, Mapping):
      yield from _numbers(value, f'{prefix}{name}.')
      continue
    for number in value if isinstance(value, tuple | list) else (value,):
      if isinstance(number, int | float):
        yield f'{prefix}{name}', number


def check_layers(
  config: ConfigDict, network: Network, image_shape: tuple[int, ...]
) -> None:
  """Checks that CAFE has no weights of layers that a network does not have.

  The published weights fit every network: `objectives.cafe_matching` aligns
  them at the deepest layer. Others must mean what they say.

  Raises:
    ValueError: naming the weights and the number of layers.
  """
  if not _has(config, 'matching.layer_weights'):
    return
  weights = tuple(config.matching.layer_weights)
  parameters = inspect.signature(methods.cafe).parameters
  if weights == parameters['layer_weights'].default:
    return

  def outputs(key):
    blank = jnp.zeros((1, *image_shape))
    return network.apply(network.init(key), blank, False)[0]

  layers = len(jax.eval_shape(outputs, jax.random.key(0)).taps) + 1
  if len(weights) > layers:
    raise ValueError(
      f'matching.layer_weights {weights}: must be at most {layers}, as '
      f'{network.name} has {layers - 1} blocks and an embedding'
    )
