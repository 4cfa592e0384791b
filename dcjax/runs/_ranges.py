"""What every field of a config may be: ranges of numbers, lists of words."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dcjax import (
  applications,
  artefact,
  augment,
  evaluation,
  files,
  labelling,
  methods,
  networks,
  objectives,
  specs,
  whitening,
)
from dcjax.utils import check_choice


class Range(NamedTuple):
  """Numbers from `least` to `most`; `above` and `below` leave the ends out."""

  least: float
  most: float = math.inf
  above: bool = False
  below: bool = False

  def holds(self, value: float) -> bool:
    """Whether a number is in the range; infinite ones and NaN never are."""
    if isinstance(value, float) and not math.isfinite(value):
      return False
    low = value > self.least if self.above else value >= self.least
    high = value < self.most if self.below else value <= self.most
    return low and high

  def __str__(self) -> str:
    low = f'{"above" if self.above else "at least"} {self.least:g}'
    if math.isinf(self.most):
      return low
    return f'{low} and {"below" if self.below else "at most"} {self.most:g}'


_COUNT, _NONE_OR_MORE = Range(1, 10**9), Range(0, 10**9)
_RATE = Range(0, 1e6, above=True)
_SHARE = Range(0, 1, above=True)
_POSITIVE, _WEIGHT = Range(0, 1e9, above=True), Range(0, 1e9)
_FRACTION, _MOMENTUM = Range(0, 1), Range(0, 1, below=True)
# Name of a field, in whatever section -> its range; of a tuple, of all of it.
RANGES: dict[str, Range] = {
  'alpha': _FRACTION,
  'at': _SHARE,
  'at_once': _COUNT,
  'average_rate': _MOMENTUM,
  'averaging': _MOMENTUM,
  'batches.batch_size': _NONE_OR_MORE,
  'batch_real': _COUNT,
  'batch_size': _COUNT,
  'channels': Range(1, 4),
  'clip': Range(1, 1e9),
  'classes_per_step': _NONE_OR_MORE,
  'codes_learning_rate': _RATE,
  'codes_per_step': _COUNT,
  'count': _COUNT,
  'critic_steps': _COUNT,
  'critic_width': _COUNT,
  'densification': _WEIGHT,
  'discrimination': _WEIGHT,
  'discriminator_learning_rate': _RATE,
  'discriminator_widths': _COUNT,
  'drop_factor': _SHARE,
  'drop_rate': _MOMENTUM,
  'drops': _SHARE,
  'early_batches': _NONE_OR_MORE,
  'early_epochs': _NONE_OR_MORE,
  'epochs': _NONE_OR_MORE,
  'evaluation.epochs': _COUNT,
  'factor': Range(1, 1024),
  'first_start': _NONE_OR_MORE,
  'grow_from': _NONE_OR_MORE,
  'grow_steps': _COUNT,
  'halve_after': _COUNT,
  'label_learning_rate': Range(0, 1e6),
  'last_start': _COUNT,
  'length': _COUNT,
  'network_age': _COUNT,
  'network_images': _COUNT,
  'network_steps': _COUNT,
  'passes': _COUNT,
  'pool_size': _COUNT,
  'first_rates': _RATE,
  'solving_steps': Range(2, 1e6),
  'temperature_rate': _RATE,
  'training_steps': Range(2, 1e6),
  'reject_above': _WEIGHT,
  'rho': _WEIGHT,
  'step_size_learning_rate': Range(0, 1e6),
  'synthetic_batch': _NONE_OR_MORE,
  'unrolled_per_class': _NONE_OR_MORE,
  'unrolled_steps': _COUNT,
  'window': _COUNT,
  'false_positive_rates': Range(0, 1, above=True, below=True),
  'flatness': _WEIGHT,
  'generator_learning_rate': _RATE,
  'hard_weight': _WEIGHT,
  'herding_steps': _COUNT,
  'images_per_class': _NONE_OR_MORE,
  'inner_steps': _COUNT,
  'ipc': _COUNT,
  'labelling_epochs': _COUNT,
  'largest_gradient': _WEIGHT,
  'last_weight': _WEIGHT,
  'layer_weights': _WEIGHT,
  'learning_rate': _RATE,
  'margin': _WEIGHT,
  'momentum': _MOMENTUM,
  'most_synthetic': _COUNT,
  'network_batch_size': _COUNT,
  'network_batches': _NONE_OR_MORE,
  'network_learning_rate': _RATE,
  'network_momentum': _MOMENTUM,
  'network_weight_decay': Range(0, 1),
  'observers.epochs': _COUNT,
  'most_images': _NONE_OR_MORE,
  'order': _NONE_OR_MORE,
  'outer': _COUNT,
  'ratio': Range(0, 1, above=True, below=True),
  'padding': _NONE_OR_MORE,
  'patience': _COUNT,
  'patch_size': _COUNT,
  'penalty': _WEIGHT,
  'pool_epochs': _COUNT,
  'pool_networks': _NONE_OR_MORE,
  'regularisation': _POSITIVE,
  'roll': Range(-(10**4), 10**4),
  'seed': Range(0, 2**32 - 1),
  'seeds': _COUNT,
  'smallest_crop': _SHARE,
  'statistics_images': _COUNT,
  'sets.outer': _NONE_OR_MORE,
  'size': _COUNT,
  'steps': _COUNT,
  'strength': _WEIGHT,
  'temperature': _POSITIVE,
  'test_images': _NONE_OR_MORE,
  'test_points': _SHARE,
  'top': _COUNT,
  'unrolled_learning_rate': _RATE,
  'width': _COUNT,
  'depth': _COUNT,
  'cutmix': _FRACTION,
  'iterations': _COUNT,
  'weight': _WEIGHT,
  'weight_decay': Range(0, 1),
  'whole_epochs': _NONE_OR_MORE,
  'zeta': Range(0, 100),
  **dict.fromkeys(
    ('adversarial', 'classification', 'feature', 'intra', 'inter'), _WEIGHT
  ),
}
# Fields that hold words, or several of them.
WORDS = (
  *('augment.mix', 'augment.train_mix', 'evaluation.networks', 'formation'),
  *('inner', 'method.kernel', 'method.network', 'network', 'objective'),
  *('observers.labelling', 'observers.matching', 'optimizer', 'source'),
  *('start', 'step_size', 'stored_labels'),
)
_SIZE, _CHANCE = Range(1, 2**16), _MOMENTUM
# Ranges of their options, beside those above.
_OPTIONS: dict[str, Range] = {
  'alpha': _POSITIVE,
  'b1': _MOMENTUM,
  'b2': _MOMENTUM,
  'bandwidth': _POSITIVE,
  'batches': _NONE_OR_MORE,
  'beta': _POSITIVE,
  'bias_variance': _WEIGHT,
  'bits': Range(1, 8),
  'blocks': Range(-1000, 1000),
  'candidates': _COUNT,
  'cap': _COUNT,
  'chunk': _COUNT,
  'crops': _COUNT,
  'embedding_steps': _NONE_OR_MORE,
  'every': _COUNT,
  'num_steps': _COUNT,
  'padding': Range(-1e6, 1e6),  # a colour
  'probability': _FRACTION,
  'ratio': Range(0, 100, above=True),
  'scale': _POSITIVE,
  'start': _RATE,
  'value_range': Range(-1e6, 1e6),
  'weight_variance': _POSITIVE,
  'width_multiplier': Range(0, 100, above=True),
  **dict.fromkeys(('drop_connect', 'drop_path', 'dropout'), _CHANCE),
  **dict.fromkeys(('codes_dim', 'depth', 'depths', 'embedding_dim'), _SIZE),
  **dict.fromkeys(('features', 'growth', 'heads', 'image_shape'), _SIZE),
  **dict.fromkeys(('mappings', 'num_classes', 'projection_dim'), _SIZE),
  **dict.fromkeys(('shrink', 'tiles', 'widen', 'width'), _SIZE),
}
CORESETS = (
  'random',
  'herding',
  'nearest_mean',
  'k_center',
  'k_means',
  'forgetting',
)
BASELINES = (
  *CORESETS,
  'initial',
  'random_hard',
  'random_updates',
  'herding_updates',
  'condensed_hard',
  'whole',
)
METHODS = (
  *('cafe', 'cda', 'datm', 'dc', 'dd', 'dm', 'dsa', 'edc', 'frepo', 'ftd'),
  *('generative', 'gvbsm', 'idc', 'kip', 'label_distillation', 'mtt'),
  *('rat_bptt', 'rcig', 'rded', 'sre2l', 'tesla'),
)
REGIMES = ('hard', 'image', 'online', 'stored')
# Dotted field, or its name in whatever section -> what it may be.
CHOICES: dict[str, Iterable[Any]] = {
  'augment.flip': ('auto', 'yes', 'no'),
  'batches.order': ('class', 'round'),
  'evaluation.baselines': BASELINES,
  'evaluation.family': ('auto', *augment.STRATEGIES),
  'evaluation.loss': labelling.LOSSES,
  'evaluation.optimizer': ('adam', 'adamw', 'sgd'),
  'evaluation.protocol': evaluation.PROTOCOLS,
  'evaluation.schedule': ('drops', 'smoothing', 'ssrs', 'warmup'),
  'execution.precision': networks.PRECISIONS,
  'family': augment.STRATEGIES,
  **{
    f'grid.{axis}': applications.CONVNET_GRID[axis]
    for axis in ('activation', 'norm', 'pooling')
  },
  'labels.regime': REGIMES,
  'layout': ('', *artefact.LAYOUTS),
  'method.codes': methods.CODES,
  'method.drawn': networks.SCHEMES,
  'method.compared': ('image', 'class'),
  'method.condition': methods.CONDITIONS,
  'method.decay': ('none', 'cosine', 'halved'),
  'method.distance': objectives.DISTANCES,
  'method.layers': ('before_pooling', 'after_pooling'),
  'method.form': ('second_order', 'ridge'),
  'method.optimizer': methods.OPTIMIZERS,
  'method.initialisation': methods.INITIALISATIONS,
  'method.name': METHODS,
  'method.position': objectives.POSITIONS,
  'method.reduction': objectives.REDUCTIONS,
  'method.tensors': objectives.TENSORS,
  'modes': ('scratch', 'continued'),
  'project': ('end', 'never'),
  'pipeline': ('condense', 'given'),
  'sets.family': ('auto', *augment.STRATEGIES),
  'storage': ('float32', 'uint8'),
  'statistics.class_variance': ('total', 'within'),
  'tuning.loss': labelling.LOSSES,
  'tuning.optimizer': ('adam', 'adamw', 'sgd'),
  'tuning.schedule': ('drops', 'smoothing', 'ssrs', 'warmup'),
  'zca': ('none', *whitening.FORMS),
}


def range_of(field: str) -> Range | None:
  """The range of a field, by its path or by its name; None if it has none."""
  return RANGES.get(field, RANGES.get(field.rpartition('.')[2]))


def check(values: Mapping[str, Any]) -> None:
  """Checks all values of a config, elements of tuples too.

  Args:
    values: dotted field -> value.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  for field, value in values.items():
    words = value if isinstance(value, tuple | list) else (value,)
    for word in words if field in WORDS else ():
      if word:
        check_options(field, word)
    if not isinstance(value, tuple | list):
      _check_one(field, value)
      continue
    number = range_of(field) is not None
    for element in value:
      plain = isinstance(element, int | float) and not isinstance(element, bool)
      if plain != number or not (number or isinstance(element, str)):
        raise ValueError(
          f'{field} {tuple(value)!r}: {element!r} must be '
          + ('a number' if number else 'text')
        )
      _check_one(field, element)


def check_options(field: str, word: str) -> None:
  """Checks the numbers among the options of a word; unknown ones are passed by.

  Args:
    field: that holds it, for messages.
    word: `'name:option=value'`.

  Raises:
    ValueError: one is out of its range.
  """
  for option, value in specs.parse(field, word).items():
    allowed = _OPTIONS.get(option, RANGES.get(option))
    for number in value if isinstance(value, tuple | list) else (value,):
      plain = isinstance(number, int | float) and not isinstance(number, bool)
      if plain and allowed is not None and not allowed.holds(number):
        raise ValueError(
          f'{field} {word!r}: {option} {value!r} must be {allowed}'
        )


def _check_one(field, value):
  known = CHOICES.get(field, CHOICES.get(field.rpartition('.')[2]))
  if known is not None:
    check_choice(field, value, known)
  if isinstance(value, str):
    files.check_local(field, value)
  if isinstance(value, bool) or not isinstance(value, int | float):
    return
  allowed = range_of(field)
  if allowed is None:
    raise ValueError(f'{field} {value!r}: has no declared range')
  if not allowed.holds(value):
    raise ValueError(f'{field} {value!r}: must be {allowed}')
