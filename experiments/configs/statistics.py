"""What the configs of RDED, SRe2L, CDA, G-VBSM and EDC share.

Arguments after the data set: `ipc`, `network` (the student, with options, such
as `network=resnet18:norm=batch`), `width`, `schedule` (`reference`: the paper's
values; `short`: minutes on two CPU cores, with small observers and a small
student), `size`, `window` and `like` as in idc.py (also `like=tiny_imagenet`
and `like=imagenet1k` for a folder of images), `weights` (a folder with state
dicts of torchvision, such as `resnet18.pth`, for the observers of ImageNet) and
`smoke` (seconds, for tests).

Observers are words as for transfer.py, `NAME[:option=value...]`, those with
`@FILE` behind them imported from a state dict instead of trained. Trained ones
are kept in `WORKDIR/observers`, or in `--config.observers.dir`, where other
runs find them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
from configs import common
from ml_collections import config_dict

from dcjax.utils import check_choice

_ARGUMENTS = dict(
  dataset='digits',
  ipc=10,
  network='',
  width=0,
  schedule='',
  size=0,
  window=0,
  like='',
  weights='',
  smoke=False,
)
_RESNET = 'resnet18:norm=batch'
# What G-VBSM matches, and what EDC adds to it.
_SMALL = (
  _RESNET,
  'convnet:width=128',
  'mobilenet_v2',
  'wide_resnet',
  'shufflenet_v2',
)
_SMALL_MORE = (
  'convnet:width=128:depth=1',
  'convnet:width=128:depth=2',
  'convnet:width=32',
)
_LARGE = (
  _RESNET,
  'mobilenet_v2',
  'shufflenet_v2:width_multiplier=0.5',
  'efficientnet_b0:form=torchvision',
)
_ALEXNET = 'alexnet:form=imagenet'
# Torchvision's file for an observer of ImageNet.
_FILES = {
  _RESNET: 'resnet18.pth',
  'mobilenet_v2': 'mobilenet_v2.pth',
  'shufflenet_v2:width_multiplier=0.5': 'shufflenet_v2_x0_5.pth',
  'efficientnet_b0:form=torchvision': 'efficientnet_b0.pth',
  _ALEXNET: 'alexnet.pth',
}
_SHORT = (
  'convnet:width=32:norm=batch',
  'resnet10:width_multiplier=0.125:norm=batch',
  'convnet:width=32:depth=2:norm=batch',
)
_SMOKE = ('convnet:width=4:depth=1:norm=batch', 'convnet:width=3:depth=1')

# How observers are trained: sheet of EDC, section 3. `zeta` 0 is a fixed rate.
_TRAINING: dict[str, dict[str, Any]] = {
  'cifar10': dict(epochs=10, learning_rate=0.05, batch_size=64, padding=4),
  'cifar100': dict(epochs=50, learning_rate=0.05, batch_size=64, padding=4),
  'tiny_imagenet': dict(
    epochs=50, learning_rate=0.1, zeta=1.0, batch_size=128, padding=8
  ),
  'imagenet10': dict(
    epochs=20, learning_rate=0.01, zeta=3.0, batch_size=128, smallest_crop=0.08
  ),
  # Where torchvision's weights are not given: its own recipe.
  'imagenet1k': dict(
    epochs=90,
    learning_rate=0.1,
    zeta=1.0,
    batch_size=256,
    weight_decay=1e-4,
    smallest_crop=0.08,
  ),
}
SETTINGS = tuple(_TRAINING)


def finish(
  method: str,
  arg: str | None,
  paper: Callable[[ml_collections.ConfigDict, str, Mapping[str, Any]], None],
  **more: Any,
) -> ml_collections.ConfigDict:
  """Reads the arguments and makes the config of a method.

  Args:
    method: its name.
    arg: see `common.parse_arg`.
    paper: `(config, settings, arguments) -> None` writes the paper's values of
      the method into the config; settings is one of `SETTINGS`.
    **more: name -> default of the arguments that only this config has.

  Raises:
    ValueError: if an argument is unknown or out of range.
  """
  args = common.parse_arg(arg, **_ARGUMENTS, **more)
  name = args['dataset']
  common.check_dataset(name)
  if args['like']:
    check_choice('like', args['like'], SETTINGS)
  like = args['like'] or common.plain_name(name)
  like = {'imagenet100': 'imagenet10'}.get(like, like)
  like = like if like in SETTINGS else 'cifar10'
  schedule = args['schedule'] or ('short' if name == 'digits' else 'reference')
  check_choice('schedule', schedule, common.SCHEDULES)
  config = _skeleton(method, args, like, schedule)
  paper(config, like, args)
  if schedule == 'short':
    _short(config)
  elif args['weights']:
    _import(config, args['weights'])
  if args['smoke']:
    _smoke(config)
  if args['window']:  # all images are seen, window after window
    config.observers.images_per_class = 0
    config.statistics.images_per_class = 0
  return config


def is_imagenet(like: str) -> bool:
  """Whether a data set has images of ImageNet's size."""
  return like in ('imagenet10', 'imagenet1k')


def observers(like: str, choice: str) -> tuple[tuple[str, ...], ...]:
  """The observers of a data set, for matching and for labelling.

  Args:
    like: one of `SETTINGS`.
    choice: `'gvbsm'`, `'edc'`, or `'one'`: ResNet-18.
  """
  check_choice('observers', choice, ('gvbsm', 'edc', 'one'))
  if choice == 'one':
    return (_RESNET,), (_RESNET,)
  if not is_imagenet(like):
    more = _SMALL_MORE if choice == 'edc' and like != 'tiny_imagenet' else ()
    return (*_SMALL, *more), (*_SMALL, *more)
  if choice == 'gvbsm' or like == 'imagenet10':
    return _LARGE, _LARGE
  # EDC labels without EfficientNet.
  return (*_LARGE, _ALEXNET), (*_LARGE[:-1], _ALEXNET)


def train_long(config: ml_collections.ConfigDict, like: str) -> None:
  """Trains small sets' observers to the end, as SRe2L and RDED do."""
  if like in ('cifar10', 'cifar100'):
    config.observers.update(
      epochs=200,
      labelling_epochs=200,
      learning_rate=0.1,
      zeta=1.0,
      batch_size=128,
      weight_decay=5e-4,
    )


def set_observers(
  config: ml_collections.ConfigDict, like: str, choice: str
) -> None:
  """Writes the lists that `observers` returns into a config."""
  found = observers(like, choice)
  config.observers.matching, config.observers.labelling = found


def _skeleton(method, args, like, schedule):
  """The config with everything that no method decides."""
  data = common.data_config(args['dataset'])
  for option in ('size', 'window'):
    if args[option]:
      data.options[option] = args[option]
  if args['dataset'] == 'image_folder' and like != 'cifar10':
    data.options.stats = 'imagenet' if 'imagenet' in like else like
  training = {**_TRAINING[like]}
  return ml_collections.ConfigDict(
    dict(
      method=method,
      seed=0,
      ipc=args['ipc'],
      data=data,
      network=_student(args, schedule),
      augment=dict(flip='auto'),
      observers=dict(
        matching=(),
        labelling=(),
        dir='',
        seed=0,
        images_per_class=0,
        labelling_epochs=training['epochs'],
        **{
          'momentum': 0.9,
          'weight_decay': 0.0,
          'zeta': 0.0,
          'padding': 0,
          'smallest_crop': 1.0,
          **training,
        },
      ),
      statistics=dict(
        patch_size=16 if is_imagenet(like) else 4,
        class_variance='total',
        images_per_class=0,
        batch_size=256 if is_imagenet(like) else 64,
      ),
      start=dict(
        mode='real',
        factor=2 if is_imagenet(like) else 1,
        candidates=300,
        crops=5,
        best_of_image=True,
        ratio=(1.0, 1.0),
      ),
      labels=dict(
        regime='stored' if like == 'imagenet1k' else 'online', temperature=1.0
      ),
      evaluation=_evaluation(),
    )
  )


def _student(args, schedule):
  short = schedule == 'short'
  word = args['network'] or ('convnet:norm=batch' if short else _RESNET)
  sizes = common.SHORT_SIZES if short else {}
  return common.network_config({**args, 'network': word}, sizes)


def _evaluation():
  kinds = dict(
    batch_size=int,
    learning_rate=float,
    weight_decay=float,
    momentum=float,
    optimizer=str,
    schedule=str,
    zeta=float,
    average_rate=float,
  )
  # None leaves a field to the protocol; an average_rate of 0 means none.
  override = {n: config_dict.placeholder(kind) for n, kind in kinds.items()}
  return dict(
    protocol='edc',
    epochs=1000,
    override=override,
    loss='mse',
    hard_weight=0.025,
    temperature=20.0,
    smallest_crop=0.5,
    randaugment=False,
    mix='cutmix',
    mix_alpha=1.0,
    seeds=3,
    baselines=('initial', 'random', 'random_hard'),
    students=(),
  )


def _import(config, folder):
  """Lets the observers of ImageNet come from torchvision's state dicts."""
  for field in ('matching', 'labelling'):
    words = config.observers[field]
    unknown = [word for word in words if word not in _FILES]
    if unknown:
      raise ValueError(
        f'config argument weights={folder}: no file is known for {unknown[0]}; '
        'it serves imagenet10 and imagenet1k'
      )
    config.observers[field] = tuple(f'{w}@{folder}/{_FILES[w]}' for w in words)


def _short(config):
  """Minutes on two cores: three small observers, few epochs, few steps."""
  count = min(len(_SHORT), len(config.observers.matching))
  if config.method == 'edc' and len(config.observers.matching) == len(_SMALL):
    count = 2  # EDC's ladder starts with G-VBSM's choice of observers
  config.observers.update(
    matching=_SHORT[:count],
    labelling=_SHORT[:count],
    images_per_class=2000,
    epochs=3,
    labelling_epochs=3,
    learning_rate=0.05,
    zeta=1.0,
    batch_size=64,
    weight_decay=0.0,
  )
  config.statistics.images_per_class = 1000
  config.start.candidates = min(config.start.candidates, 100)
  # RandAugment is too strong for as few epochs.
  config.evaluation.update(epochs=200, seeds=2, randaugment=False)
  if config.method == 'edc' and config.evaluation.override.average_rate != 0.0:
    # Averages over the share of 200 epochs that 0.99 has of 1000.
    config.evaluation.override.average_rate = 0.95
  if 'synthesis' in config:
    steps = config.synthesis.image_steps
    factor = max(1.0, config.synthesis.iterations / (8 * steps))
    config.synthesis.iterations = (
      round(config.synthesis.iterations / factor / steps) * steps
    )


def _smoke(config):
  """Shrinks a config to seconds; only what it does stays, not how well."""
  for option, size in (('width', 4), ('width_multiplier', 0.125)):
    if option in config.network:
      config.network[option] = size
  if config.network.name == 'convnet':
    config.network.depth = 1
  count = min(len(_SMOKE), len(config.observers.matching))
  config.observers.update(
    matching=_SMOKE[:count],
    labelling=_SMOKE[:1],
    epochs=1,
    labelling_epochs=1,
    images_per_class=20,
    batch_size=16,
  )
  config.ipc = min(config.ipc, 2)
  config.statistics.update(images_per_class=20, batch_size=32)
  config.start.update(candidates=8, crops=2)
  if 'synthesis' in config:
    config.synthesis.update(iterations=4, image_steps=2)
    config.synthesis.batch_size = 10  # half of digits' images
  config.evaluation.update(epochs=2, seeds=2, randaugment=False)
