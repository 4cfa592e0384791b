"""What the configs share: arguments, data-set settings, smoke sizes."""

from collections.abc import Mapping
from typing import Any

import ml_collections
import network_specs
from ml_collections import config_dict

from dcjax import data, methods, networks
from dcjax.utils import check_choice

# The reference's settings, by data set: Kim et al. (2022), section 5 and the
# published code where the two differ.
IDC_SETTINGS = {
  'digits': dict(distance='l1', learning_rate=0.05, network_batches=8),
  'mnist': dict(distance='l1', learning_rate=1e-4, network_batches=8),
  'fashion_mnist': dict(distance='l1', learning_rate=1e-4, network_batches=8),
  'svhn': dict(distance='squared', learning_rate=5e-3, network_batches=8),
  'cifar10': dict(distance='squared', learning_rate=5e-3, network_batches=32),
  'cifar100': dict(distance='squared', learning_rate=5e-3, network_batches=32),
  'speech': dict(distance='l1', learning_rate=3e-3, network_batches=8),
  'wav_folder': dict(distance='l1', learning_rate=3e-3, network_batches=8),
  'imagenet10': dict(
    distance='l1', learning_rate=3e-3, network_batches=8, num_classes=10
  ),
  'imagenet100': dict(
    distance='l1', learning_rate=1e-3, network_batches=4, num_classes=100
  ),
}

# Arguments that are usual for ImageNet subsets, in place of others.
IMAGENET_ARGUMENTS = dict(factor=3, network='resnetap10')

# Network -> sizes of the short schedule, and option -> size of smoke runs.
SHORT_SIZES = {
  'convnet': {'width': 32},
  'densenet121': {'growth': 6},
  'resnet': {'width_multiplier': 0.5},
  'vgg11': {'width': 16},
}
_SMOKE_SIZES = {'width': 4, 'width_multiplier': 0.125, 'growth': 4}


def parse_arg(arg: str | None, **defaults):
  """Reads `'cifar10,ipc=10,smoke'` into typed values.

  Args:
    arg: what follows the colon of `--config=file.py:...`; the first item
      without `=` is the data set, any further one is a switch.
    **defaults: name -> default; a value is read as the default's type.

  Returns:
    A dict with `dataset` and every default's name.

  Raises:
    ValueError: naming an unknown argument or an unreadable value.
  """
  values = dict(defaults)
  items = [item.strip() for item in (arg or '').split(',') if item.strip()]
  for position, item in enumerate(items):
    name, equals, text = item.partition('=')
    if not equals and position == 0 and name not in defaults:
      values['dataset'] = name
      continue
    if name not in defaults or name == 'dataset':
      known = ', '.join(n for n in defaults if n != 'dataset')
      raise ValueError(
        f'config argument {item!r}: must be DATASET or one of {known}'
      )
    values[name] = _read(name, text if equals else 'true', defaults[name])
  return values


def _read(name, text, default):
  if isinstance(default, bool):
    if text.lower() not in ('true', 'false'):
      raise ValueError(f'config argument {name}={text}: must be true or false')
    return text.lower() == 'true'
  try:
    return type(default)(text)
  except ValueError as error:
    kind = type(default).__name__
    raise ValueError(
      f'config argument {name}={text}: must be {kind}'
    ) from error


def check_dataset(name: str) -> None:
  """Raises a ValueError that lists the known sources unless `name` is one."""
  if name in data.list_sources() or name.startswith('tfds:'):
    return
  raise ValueError(
    f'data set {name!r}: must be one of {sorted(data.list_sources())}'
  )


def network_config(
  args: Mapping[str, Any], sizes: Mapping[str, Mapping[str, Any]]
) -> ml_collections.ConfigDict:
  """Returns the `network` section: the network with all options it has.

  Args:
    args: `network`, such as `'vgg11:norm=batch'`; and `width`, of networks that
      have one (0 leaves it).
    sizes: name of a network -> its options in place of the factory's defaults;
      what `network` itself says goes first.

  Raises:
    ValueError: if the network or an option is unknown; lists the known ones.
  """
  said = network_specs.parse_network(args['network'])
  check_choice('network', said['name'], networks.names())
  spec = network_specs.resolve({**sizes.get(said['name'], {}), **said})
  if args['width'] and 'width' in spec:
    spec['width'] = args['width']
  # An option without a value must still know its type to become a flag.
  absent = config_dict.placeholder(int)
  return ml_collections.ConfigDict(
    {name: absent if value is None else value for name, value in spec.items()}
  )


def data_config(name: str) -> ml_collections.ConfigDict:
  """Returns the `data` section of a config.

  `zca` is 'none', or the form of ZCA whitening (`dcjax.whitening.FORMS`);
  `options.window` is how many images of each class are in memory at once.
  """
  # None leaves an option to the source; one it does not have is an error there.
  kinds = dict(
    size=int,
    stats=str,
    classes=tuple,
    grayscale=bool,
    pad=str,
    test_fraction=float,
    seed=int,
    window=int,
    image_key=str,
    label_key=str,
    train_split=str,
    test_split=str,
  )
  options = {n: config_dict.placeholder(kind) for n, kind in kinds.items()}
  config = ml_collections.ConfigDict(
    dict(name=name, dir='', zca='none', options=options)
  )
  if name == 'digits':
    config.options.size = 16
  return config


def plain_name(name: str) -> str:
  """The data set behind a TFDS name: `'tfds:svhn_cropped'` is `'svhn'`."""
  return name.removeprefix('tfds:').removesuffix('_cropped')


def formation_config(name: str, factor: int) -> ml_collections.ConfigDict:
  """Returns the `formation` section; None leaves an option to the formation."""
  kinds = dict(cap=int, padding=float, features=int, shrink=int, mappings=int)
  options = {n: config_dict.placeholder(kind) for n, kind in kinds.items()}
  return ml_collections.ConfigDict(dict(name=name, factor=factor, **options))


FORMATIONS = ('uniform', 'codebook')
# Of a codebook that starts as real images.
FIT_STEPS = 300


def codebook_config(ipc: int, large: bool = False) -> ml_collections.ConfigDict:
  """Returns the `formation` section of a codebook.

  Args:
    ipc: stored codes.
    large: of many classes and pixels, for a wide generator.
  """
  return ml_collections.ConfigDict(
    dict(
      name='codebook',
      codes_dim=128,
      projection_dim=128,
      width=128 if ipc <= 10 and not large else 256,
      stored='float32',
    )
  )


def into_codebook(config: ml_collections.ConfigDict, short: bool) -> None:
  """Replaces the images of a method by codes and a generator.

  It starts as real images (`methods.fit_codebook`) and is stepped by Adam.

  Args:
    config: of idc, dc, dsa or dm, without multi-formation.
    short: of the short schedule: a generator of width 32.

  Raises:
    ValueError: if the method takes no codebook, or the factor is not 1.
  """
  if config.method not in ('idc', 'dc', 'dsa', 'dm'):
    raise ValueError(
      f'config argument formation=codebook: method {config.method!r} takes '
      'none; must be one of idc, dc, dsa, dm, or use generative.py'
    )
  if config.formation.factor != 1:
    raise ValueError(
      f'config argument factor={config.formation.factor}: a codebook takes '
      'none; say factor=1'
    )
  config.formation = codebook_config(config.ipc)
  config.generator = ml_collections.ConfigDict(
    dict(
      pretrained='',
      fit_steps=FIT_STEPS,
      learning_rate=5e-4,
      optimizer='adam',
      largest_gradient=0.0,
      embedding_steps=5000,
    )
  )
  if short:
    config.formation.width, config.generator.embedding_steps = 32, 1000
  config.matching.condition, config.matching.codes = 'class', 'learned'
  config.init.mode = 'random'
  config.images.learning_rate, config.images.momentum = 0.01, 0.9
  # The rates of a codebook fall to 0 by themselves.
  config.images.decay = 'none'
  if 'scale_learning_rate' in config.images:
    config.images.scale_learning_rate = False
  for field, value in (('batch_size', 64), ('learning_rate', 0.01)):
    if field not in config.inner:  # of the network behind the embeddings
      config.inner[field] = value


SCHEDULES = ('reference', 'short')
dc_loops = methods.dc_loops


def short_dc(ipc: int):
  """DC and DSA in minutes on two cores: 300 far larger image steps.

  A fifth of the epochs at five times the rate trains the networks as far.
  """
  image_steps, epochs = dc_loops(ipc)
  return {
    'schedule.outer': max(1, 300 // image_steps),
    'inner.epochs': min(epochs, 10),
    'inner.learning_rate': 0.05,
    'matching.batch_real': 64,
    'images.learning_rate': 1.0,
    'images.decay': 'cosine',
  }


def matching_config(
  method,
  name,
  ipc,
  factor,
  network,
  *,
  init,
  family,
  learning_rate,
  matching,
  inner,
  schedule,
  protocol,
) -> ml_collections.ConfigDict:
  """Returns the config of DC and the like; `protocol` is (name, epochs).

  `network` is what `network_config` returns.
  """
  formation = formation_config('uniform', factor)
  # These methods never clip what they store.
  formation.value_range = (None, None)
  return ml_collections.ConfigDict(
    dict(
      method=method,
      seed=0,
      precision='auto',
      ipc=ipc,
      data=data_config(name),
      network=network,
      formation=formation,
      init=dict(mode='mix' if factor > 1 else init, order='random'),
      schedule=schedule,
      matching=dict(
        batch_real=256, most_synthetic=10**6, classes='auto', **matching
      ),
      images=dict(learning_rate=learning_rate, momentum=0.5, decay='none'),
      inner=inner,
      augment=dict(
        family=family,
        match='auto',
        train='auto',
        evaluate='auto',
        cutmix=-1.0,
      ),
      evaluation=dict(
        protocol=protocol[0],
        epochs=protocol[1],
        family='auto',
        seeds=5,
        at=(0.5,),
        baselines=('random', 'herding'),
        herding_steps=5000,
      ),
    )
  )


def finish(base, arg: str | None, short, **more):
  """Reads the arguments and makes the config of DC, DSA, DM and the like.

  Args:
    base: `(dataset, ipc, factor, network, **more) -> config` with the
      reference's settings.
    arg: see `parse_arg`.
    short: `ipc -> {dotted field: value}` of the short schedule.
    **more: name -> default of the arguments that only this config has.
  """
  args = parse_arg(
    arg,
    dataset='digits',
    ipc=10,
    factor=1,
    network='convnet',
    width=0,
    schedule='',
    smoke=False,
    formation='uniform',
    **more,
  )
  name = args['dataset']
  check_dataset(name)
  schedule = args['schedule'] or ('short' if name == 'digits' else 'reference')
  if schedule not in SCHEDULES:
    raise ValueError(f'schedule {schedule!r}: must be one of {SCHEDULES}')
  own = {n: args[n] for n in more}
  network = network_config(args, SHORT_SIZES if schedule == 'short' else {})
  config = base(name, args['ipc'], args['factor'], network, **own)
  if schedule == 'short':
    config.evaluation.epochs = 300
    config.evaluation.seeds = 2
    config.evaluation.herding_steps = 1000
    config.update_from_flattened_dict(short(args['ipc']))
  choose_formation(config, args['formation'], schedule == 'short')
  if args['smoke']:
    smoke(config)
  return config


def choose_formation(
  config: ml_collections.ConfigDict, formation: str, short: bool
) -> None:
  """Applies the config argument `formation`, see `into_codebook`."""
  check_choice('config argument formation', formation, FORMATIONS)
  if formation == 'codebook' and config.formation.name != 'codebook':
    into_codebook(config, short)


def smoke(config: ml_collections.ConfigDict) -> None:
  """Shrinks a config to seconds; only what it does stays, not how well."""
  for option, size in _SMOKE_SIZES.items():
    if option in config.network:
      config.network[option] = size
  if config.network.name in ('convnet', 'mlp'):  # others know a few depths
    config.network.depth = min(config.network.depth, 2)
  if config.formation.name == 'codebook':
    config.formation.width, config.formation.codes_dim = 4, 8
    config.generator.embedding_steps = 4
    config.generator.fit_steps = min(config.generator.fit_steps, 2)
  config.ipc = 1
  config.schedule.outer, config.schedule.inner = 2, 2
  config.matching.batch_real = 8
  config.matching.most_synthetic = 8
  for field, value in (('batches', 1), ('epochs', 1), ('batch_size', 8)):
    if field in config.inner:
      config.inner[field] = value
  if config.inner.get('early_epochs'):
    config.inner.early_epochs = 1
  if 'pool' in config.inner:
    config.inner.pool = ''
  config.evaluation.epochs = 4
  config.evaluation.seeds = 2
  config.evaluation.at = (0.5,)
  config.evaluation.herding_steps = 4
