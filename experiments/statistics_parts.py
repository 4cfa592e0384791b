"""Turns a config of RDED, SRe2L, CDA, G-VBSM or EDC into the parts of a run."""

from typing import Any, NamedTuple

import builder
import devices
import jax
import network_specs
import numpy as np
import recipes
from _config_checks import check_finite
from ml_collections import ConfigDict

from dcjax import (
  augment,
  evaluation,
  labelling,
  methods,
  networks,
  sharding,
)
from dcjax.base import Augment, Network
from dcjax.data import Dataset
from dcjax.data._sampling import DeviceData
from dcjax.evaluation import Protocol
from dcjax.optimizers import smoothing_schedule
from dcjax.utils import check_at_least, check_choice

METHODS = recipes.WITH_OBSERVERS
# How a config names the labels -> what artefact and report say.
REGIMES = {
  'online': 'online teacher',
  'stored': 'stored soft labels per crop',
  'image': 'one soft label per image',
}
BASELINES = ('initial', 'random', 'random_hard', 'condensed_hard')
_SECTIONS = (
  'observers',
  'statistics',
  'start',
  'labels',
  'evaluation.override',
  'augment.flip',
)
_CHOICES = {
  'labels.regime': tuple(REGIMES),
  'start.mode': ('noise', 'real', 'rded'),
  'statistics.class_variance': ('total', 'within'),
  'evaluation.protocol': evaluation.PROTOCOLS,
  'evaluation.loss': labelling.LOSSES,
  'evaluation.mix': ('cutmix', 'mixup', 'none'),
  'augment.flip': ('auto', 'yes', 'no'),
  'evaluation.override.optimizer': ('sgd', 'adamw'),
  'evaluation.override.schedule': ('drops', 'smoothing', 'ssrs'),
  'synthesis.order': ('class', 'round'),
}
_LEAST = {
  'ipc': 1,
  'observers.epochs': 1,
  'observers.labelling_epochs': 1,
  'observers.batch_size': 1,
  'observers.images_per_class': 0,
  'observers.padding': 0,
  'observers.zeta': 0,
  'statistics.patch_size': 1,
  'statistics.batch_size': 1,
  'statistics.images_per_class': 0,
  'start.factor': 1,
  'start.candidates': 1,
  'start.crops': 1,
  'synthesis.batch_size': 0,
  'evaluation.epochs': 1,
  'evaluation.seeds': 1,
}


class Parts(NamedTuple):
  """Everything a run of these methods is made of.

  Attributes:
    config: its settings.
    dataset: the real data.
    network: the student.
    students: further students by their word.
    normalise: of images.
    flips: whether mirrored images still look like their class.
    protocol: how students are trained and tested.
    real: the training images, on all devices.
    mesh: the devices, None for one.
  """

  config: ConfigDict
  dataset: Dataset
  network: Network
  students: dict[str, Network]
  normalise: Augment
  flips: bool
  protocol: Protocol
  real: DeviceData
  mesh: jax.sharding.Mesh | None = None


def build(config: ConfigDict, devices_per_class: int = 0) -> Parts:
  """Checks a config and loads its data, for all devices there are.

  Args:
    config: the settings.
    devices_per_class: see `sharding.make_mesh`; what a run computes does not
      depend on it.

  Raises:
    ValueError: naming the field, its value and what is allowed.
    FileNotFoundError: if the data are not there; says how to get them.
  """
  check_settings(config)
  dataset = builder.load_dataset(config)
  _check_data(config, dataset)
  flip = config.augment.flip
  usual = augment.dsa_strategies(dataset.name, channels=dataset.image_shape[2])[
    'match'
  ]
  words = tuple(config.evaluation.students)
  mesh = devices.mesh_of(dataset, devices_per_class)
  return Parts(
    config,
    dataset,
    builder.build_network(config, dataset),
    {w: build_word('evaluation.students', w, dataset)[0] for w in words},
    augment.normalise(dataset.mean, dataset.std),
    'flip' in usual.split('_') if flip == 'auto' else flip == 'yes',
    protocol_of(config),
    devices.real_data(dataset, mesh),
    mesh,
  )


def check_settings(config: ConfigDict) -> None:
  """Checks all that does not depend on the data.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  check_choice('method', config.method, METHODS)
  needed = _SECTIONS if config.method == 'rded' else (*_SECTIONS, 'synthesis')
  for field in needed:
    if _get(config, field) is None:
      raise ValueError(
        f'method {config.method!r} needs config field {field!r}; use its own '
        f'config file experiments/configs/{config.method}.py'
      )
  _check_values(config)
  for field in ('matching', 'labelling'):
    if not config.observers[field]:
      raise ValueError(f'observers.{field} (): must name at least one network')
  if config.method in ('sre2l', 'cda') and len(config.observers.matching) > 1:
    raise ValueError(
      f'observers.matching {tuple(config.observers.matching)}: method '
      f'{config.method!r} looks through one network'
    )
  if config.labels.regime == 'stored':
    _check_stored(config)
  protocol_of(config)


def _check_values(config):
  check_finite(config)
  for field, known in _CHOICES.items():
    if _get(config, field) is not None:
      check_choice(field, _get(config, field), known)
  for field, least in _LEAST.items():
    if _get(config, field) is not None:
      check_at_least(field, _get(config, field), least)
  for field in ('observers.smallest_crop', 'evaluation.smallest_crop'):
    value = _get(config, field)
    if not 0 < value <= 1:
      raise ValueError(f'{field} {value!r}: must be in (0, 1]')
  for name in config.evaluation.baselines:
    check_choice('evaluation.baselines', name, BASELINES)


def _check_stored(config):
  for field, wanted in (
    ('mix', 'cutmix'),
    ('mix_alpha', 1.0),
    ('randaugment', False),
  ):
    value = config.evaluation[field]
    if value != wanted:
      raise ValueError(
        f'evaluation.{field} {value!r}: stored labels are those of cropped, '
        f'mirrored and cut-mixed images; must be {wanted!r}, or labels.regime '
        "'online'"
      )


def _get(config, dotted):
  """The value of a field, None where there is none."""
  for name in dotted.split('.'):
    if not isinstance(config, ConfigDict) or name not in config:
      return None
    config = config[name]
  return config


def protocol_of(config: ConfigDict) -> Protocol:
  """The protocol of evaluation with the config's overrides.

  Raises:
    ValueError: if an override is out of range.
  """
  section = config.evaluation
  made = evaluation.PROTOCOLS[section.protocol](section.epochs)
  given = {n: v for n, v in section.override.items() if v is not None}
  if given.get('average_rate') == 0:
    given['average_rate'] = None
  made = made._replace(**given)
  check_at_least('evaluation.override.batch_size', made.batch_size, 1)
  if not made.learning_rate > 0:
    raise ValueError(
      f'evaluation.override.learning_rate {made.learning_rate}: must be above 0'
    )
  rate = made.average_rate
  if rate is not None and not 0 < rate < 1:
    raise ValueError(
      f'evaluation.override.average_rate {rate}: must be in (0, 1), or 0 for '
      'none'
    )
  if made.schedule in ('smoothing', 'ssrs'):
    smoothing_schedule(made.learning_rate, made.epochs, made.zeta)
  return made


def _check_data(config, dataset):
  smallest = int(np.argmin(dataset.counts))
  holds = int(dataset.counts[smallest])
  if config.ipc > holds:
    raise ValueError(
      f'ipc {config.ipc}: class {dataset.class_names[smallest]!r} of '
      f'{dataset.name} holds {holds} images; ipc must be at most {holds}'
    )
  if dataset.zca is not None:
    raise ValueError(
      "data.zca: must be 'none'; observers see images that are not whitened"
    )
  if tuple(dataset.value_range) != (0.0, 1.0):
    raise ValueError(
      f'method {config.method!r}: needs images in [0, 1]; {dataset.name} has '
      f'{dataset.value_range}'
    )
  for field in ('observers', 'statistics'):
    if config[field].images_per_class and dataset.stream is not None:
      raise ValueError(
        f'{field}.images_per_class {config[field].images_per_class}: must be 0 '
        'where only a window of the images is in memory'
      )


def build_word(
  field: str, word: str, dataset: Dataset
) -> tuple[Network, dict[str, Any]]:
  """Builds a network that a config names by a word.

  Args:
    field: of the config, for messages.
    word: such as `'convnet:width=32:norm=batch'`.
    dataset: what it must fit.

  Returns:
    The network, and what `networks.build` takes.

  Raises:
    ValueError: if it is unknown or does not fit the data; names the field.
  """
  try:
    spec = network_specs.resolve(network_specs.parse_network(word))
    # What has no value is left to the network.
    spec = {n: v for n, v in spec.items() if v is not None}
    shape = dataset.image_shape
    return networks.build(spec, shape, dataset.num_classes), spec
  except ValueError as error:
    raise ValueError(f'{field} {word!r}: {error}') from error


def observer_augment(parts: Parts) -> Augment:
  """Crops, flips and normalisation of real images, for training and statistics.

  Padding is black, as in the published code, not the mean colour. With several
  devices every batch is spread over them first.
  """
  section = parts.config.observers
  steps = []
  if section.padding:
    steps.append(augment.random_crop(section.padding))
  if section.smallest_crop < 1:
    size = parts.dataset.image_shape[:2]
    steps.append(
      augment.random_resized_crop(size, (section.smallest_crop, 1.0))
    )
  if parts.flips:
    steps.append(augment.random_flip())
  treat = augment.chain(*steps, parts.normalise)
  if parts.mesh is None:
    return treat
  spread = sharding.spread(parts.mesh)
  # The key as it is: the draws are those of one device.
  return lambda key, images: treat(key, spread(key, images))


def student_augment(parts: Parts) -> Augment:
  """What students see: tiles shuffled (RDED), cropped, mirrored, normalised."""
  config = parts.config
  steps = [parts.normalise]
  if config.evaluation.randaugment:  # of images in [0, 1]
    steps.insert(0, augment.randaugment())
  if config.method == 'rded' and config.start.factor > 1:
    steps.append(methods.shuffle_cells(config.start.factor))
  if config.evaluation.smallest_crop < 1:
    size = parts.dataset.image_shape[:2]
    scale = (config.evaluation.smallest_crop, 1.0)
    steps.append(augment.random_resized_crop(size, scale))
  if parts.flips:
    steps.append(augment.random_flip())
  return augment.chain(*steps)


def student_mix(config: ConfigDict):
  """CutMix or MixUp as the training loop takes it, or None."""
  kind, alpha = config.evaluation.mix, config.evaluation.mix_alpha

  def mix(key, images, labels, weights):
    if kind == 'mixup':
      return augment.mixup(key, images, labels, alpha=alpha, weights=weights)
    return augment.cutmix(
      key, images, labels, probability=1.0, beta=alpha, weights=weights
    )

  return None if kind == 'none' else mix
