"""Turns settings into the objects of a run."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import (
  augment,
  data,
  evaluation,
  formations,
  methods,
  networks,
  sharding,
  specs,
  whitening,
)
from dcjax.base import Augment, Formation, Network
from dcjax.data import Dataset
from dcjax.evaluation import Protocol
from dcjax.runs import _augment, settings
from dcjax.runs._formation import build_formation
from dcjax.runs._real import RealData
from dcjax.runs.settings import Settings
from dcjax.sharding import Placement
from dcjax.utils import check_choice

# Rows of the images that published learning rates are for, by data set; 32 for
# all others. Fashion-MNIST is one of these in IDC's code, 28 rows or not.
_BASE_SIZES = {
  'mnist': 28,
  'speech': 64,
  'wav_folder': 64,
  'imagenet10': 224,
  'imagenet100': 224,
}
# Options of a codebook's word that only a run reads.
_RUN_OPTIONS = ('condition',)


class Built(NamedTuple):
  """Everything a run is made of.

  Attributes:
    settings: of the run.
    config: their fields.
    dataset: the real data.
    real: the same on the devices.
    placement: where everything lies.
    network: what judges and what is evaluated.
    formation: stored numbers -> images.
    strategies: augmentation strategy names in use.
    flips: whether mirrored images still look like their class.
    normalise: of images.
    protocol: of evaluation.
    keys: what each draw of the run starts from.
  """

  settings: Settings
  config: Any
  dataset: Dataset
  real: RealData
  placement: Placement
  network: Network
  formation: Formation
  strategies: Mapping[str, Any]
  flips: bool
  normalise: Augment
  protocol: Protocol
  keys: Mapping[str, jax.Array]


def build(
  chosen: Settings,
  *,
  dataset: Dataset | None = None,
  network: Network | None = None,
  devices_per_class: int = 0,
  devices: Sequence[jax.Device] | None = None,
) -> Built:
  """Builds the objects of a run, for all devices there are.

  Args:
    chosen: the settings.
    dataset: in place of the one that they name.
    network: in place of the one that they name.
    devices_per_class: see `sharding.make_mesh`; what a run computes does not
      depend on it.
    devices: instead of all there are.

  Raises:
    ValueError: naming the field, its value and what is allowed.
    FileNotFoundError: if the data are not there; says how to get them.
  """
  config = chosen.config
  check(chosen)
  dataset = load(config) if dataset is None else whitened(config, dataset)
  if network is None:
    network = build_network('network', config.network, dataset)
  placement = sharding.placement(
    dataset.num_classes, devices_per_class, devices
  )
  built = Built(
    chosen,
    config,
    dataset,
    RealData(dataset, placement),
    placement,
    network,
    build_formation(config, dataset, network),
    _augment.strategies(config, dataset, specs.parse('', config.network)),
    _augment.flips(config, dataset),
    augment.normalise(dataset.mean, dataset.std),
    protocol_of(config),
    run_keys(config.seed),
  )
  _check_sizes(built)
  # An unknown operation is heard of now, not after condensation.
  evaluation_augment(built)
  evaluation_mix(built)
  return built


def check(chosen: Settings) -> None:
  """Checks all that does not depend on the data.

  Raises:
    ValueError: naming the field, its value and what is allowed.
  """
  config = chosen.config
  networks.parse('network', config.network)
  observers = config.get('observers', {})
  for role in ('matching', 'labelling'):
    for word in observers.get(role, ()):
      networks.parse(f'observers.{role}', word.partition('@')[0])
  for word in config.evaluation.get('networks', ()):
    networks.parse('evaluation.networks', word)
  formation = specs.parse('formation', config.get('formation', 'identity'))
  check_choice('formation', formation['name'], formations.FORMATIONS)
  for field, known in (
    ('stored_labels', formations.LABEL_STARTS),
    ('step_size', formations.STEP_SIZES),
  ):
    if config.get(field):
      check_choice(field, specs.parse(field, config[field])['name'], known)
  labels = config.get('labels', {}).get('regime', 'hard')
  if labels != 'hard' and not observers.get('labelling'):
    raise ValueError(
      f'labels.regime {labels!r}: needs networks that label; name them in '
      'observers.labelling'
    )
  protocol_of(config)


def load(config: Any) -> Dataset:
  """Loads the data set that the config names, whitened if it says so.

  Raises:
    ValueError: an option is unknown, or images outside [0, 1] are to be
      whitened.
    FileNotFoundError: if the data are not there; says how to get them.
  """
  spec = specs.parse('data', config.data)
  name = spec.pop('name')
  folder = config.data_dir or os.environ.get('DCJAX_DATA_DIR') or None
  if 'classes' in spec:  # names as they are said, whatever they look like
    spec['classes'] = specs.names(spec['classes'])
  return whitened(config, data.load(name, folder, **spec))


def whitened(config: Any, dataset: Dataset) -> Dataset:
  """Whitens a data set as `zca` says."""
  form = config.zca
  check_choice('zca', form, ('none', *whitening.FORMS))
  return dataset if form == 'none' else dataset.whitened(form)


def build_network(field: str, word: str, dataset: Dataset) -> Network:
  """Builds a network that a config names by a word.

  Args:
    field: of the config, for messages.
    word: such as `'convnet:width=32:norm=batch'`.
    dataset: what it must fit.

  Raises:
    ValueError: if it is unknown or does not fit the data; names the field.
  """
  spec = networks.complete(field, word)
  try:
    return networks.build(spec, dataset.image_shape, dataset.num_classes)
  except ValueError as error:
    raise ValueError(f'{field} {word!r}: {error}') from error


def evaluation_formation(built: Built) -> Formation:
  """The formation that makes training images in the end.

  `bound` caps what a condensation step decodes; its stored images are then used
  through `uniform`, as in the reference.
  """
  spec = dict(built.formation.spec)
  if 'bound' not in (spec['name'], spec.get('inner')):
    return built.formation
  del spec['cap']
  field = 'inner' if spec['name'] == 'quantised' else 'name'
  return formations.build({**spec, field: 'uniform'})


def finished(built: Built, params: Any) -> Any:
  """The stored numbers as they are kept and tested: in their range.

  `project=never` leaves them as condensation does, which is what the reference
  code of IDC tests.
  """
  if built.config.get('project', 'end') == 'never':
    return params
  return built.formation.project(params)


def protocol_of(config: Any) -> Protocol:
  """The protocol of evaluation with the config's changes."""
  section = config.evaluation
  made = evaluation.PROTOCOLS[section.protocol](section.epochs)
  # The section's `loss` is that of students under teachers.
  own = {
    name: section[name]
    for name in Protocol._fields
    if name in section and name not in ('epochs', 'loss')
  }
  own['average_rate'] = own.get('average_rate') or None
  made = made._replace(**own)
  evaluation.check_protocol(made)
  return made


def run_keys(seed: int) -> dict[str, jax.Array]:
  """The keys of a run by what they decide."""
  names = ('init', 'condense', 'evaluate', 'random', 'herding')
  root = jax.random.key(seed)
  keys = {n: jax.random.fold_in(root, i) for i, n in enumerate(names)}
  return keys | {'labels': jax.random.fold_in(root, 100)}


def learning_rate(built: Built) -> float:
  """The image learning rate, scaled by ipc and image size if asked for."""
  section = built.config.method
  rate = section.get('learning_rate', 0.0)
  if not section.get('scale_learning_rate', False):
    return rate
  return rate * methods.learning_rate_multiplier(
    built.config.ipc,
    built.dataset.image_shape[0],
    _BASE_SIZES.get(built.settings.like, 32),
  )


def evaluation_augment(built: Built, plain: bool = False) -> Augment:
  """What networks that are tested see of a set.

  Args:
    built: the objects of the run.
    plain: without any augmentation.
  """
  word = 'none' if plain else built.config.augment.get('evaluate', 'auto')
  if _augment.is_pipeline(word):
    return _augment.pipeline(built.dataset, word, built.flips)
  chosen = {**built.strategies}
  if plain:
    chosen |= {'evaluate': 'none', 'evaluate_per_image': False}
  return _augment.augment_of(built.dataset, chosen, 'evaluate', built.placement)


def evaluation_mix(built: Built, plain: bool = False) -> Any:
  """CutMix or MixUp of networks that are tested, or None."""
  if plain:
    return None
  return _augment.mixing(
    'augment.mix',
    built.config.augment.get('mix', 'auto'),
    built.strategies['cutmix_probability'],
  )


def _check_sizes(built):
  config, dataset = built.config, built.dataset
  smallest = int(np.argmin(dataset.counts))
  holds = int(dataset.counts[smallest])
  if config.ipc > holds:
    raise ValueError(
      f'ipc {config.ipc}: class {dataset.class_names[smallest]!r} of '
      f'{dataset.name} holds {holds} images; ipc must be at most {holds}'
    )
  formation = built.formation
  shape = (dataset.num_classes, config.ipc, *dataset.image_shape)
  # Decoding an abstract image reveals a factor larger than the image.
  blank = jax.ShapeDtypeStruct(shape, jnp.float32)
  jax.eval_shape(
    lambda images: formation.decode(formation.init(jax.random.key(0), images)),
    blank,
  )
  needed = config.ipc * formation.tiles
  start = specs.parse('start', config.get('start', 'random'))['name']
  if start in ('mix', 'representative') and needed > holds:
    raise ValueError(
      f'start {start}: packs {formation.tiles} real images into each of ipc = '
      f'{config.ipc} stored ones, {needed} for each class, but class '
      f'{dataset.class_names[smallest]!r} holds {holds}; use start=random or a '
      'smaller ipc or factor'
    )
  observers = config.get('observers', {})
  used = observers.get('matching') or observers.get('labelling')
  for field in ('observers', 'statistics'):
    few = config.get(field, {}).get('images_per_class', 0)
    if few and used and dataset.stream is not None:
      raise ValueError(
        f'{field}.images_per_class {few}: must be 0 where only a window of the '
        'images is in memory'
      )


def plain(config: Any) -> dict[str, Any]:
  """The settings as they go into artefacts: without paths of this machine."""
  fields = settings.flat(config.to_dict())
  fields.pop('data_dir', None)
  if fields.get('storage') == 'float32':  # what files say without a word
    del fields['storage']
  made = {}
  for field, value in fields.items():
    if field.startswith('observers.') and isinstance(value, tuple | list):
      value = [
        word + at + os.path.basename(file)
        for word, at, file in (w.partition('@') for w in value)
      ]
    made[field] = list(value) if isinstance(value, tuple) else value
  return settings.nested(made)
