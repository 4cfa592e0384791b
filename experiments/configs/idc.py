"""IDC: dataset condensation via efficient synthetic-data parameterization.

Kim et al., ICML 2022, arXiv 2205.14959; settings of the published code.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits
  python experiments/run.py
    --config=experiments/configs/idc.py:cifar10,ipc=10,factor=2
    --config.data.dir=DATA --workdir=runs/cifar10

  python experiments/run.py --config=experiments/configs/idc.py:imagenet10
    --config.data.dir=DATA --workdir=runs/imagenet10

Arguments after the data set: `ipc`, `factor`, `network` (with options, such as
`network=vgg11:norm=batch` or `network=convnet:pooling=max`; names as for
transfer.py), `width` (of networks that have one), `schedule` (`reference`:
200,000 inner iterations, tuned for a GPU; `short`: minutes on two CPU cores,
with a narrower network and far larger steps), `size` (pixels to resize to, of
ImageNet and image folders), `window` (images of each class in memory at once),
`like` (published set whose settings a set of one's own takes, such as
`image_folder,like=imagenet10,size=64`), `formation` (`codebook` stores codes
and a generator instead of images, with factor=1; see docs/generative.md),
`smoke` (seconds, for tests).
Published with the reference schedule (ConvNet-3, width 128, factor 2, ipc 1 /
10 / 50): CIFAR-10 50.6 / 67.5 / 74.5, Fashion-MNIST 81.0 / 86.0 / 86.2, MNIST
94.2 / 98.4 / 99.1, SVHN 68.5 / 87.5 / 90.1. Measured: docs/results.md.
"""

import ml_collections
from configs import common
from ml_collections import config_dict

from dcjax.evaluation import imagenet_epochs
from dcjax.utils import check_choice

_ARGUMENTS = dict(
  dataset='digits',
  ipc=10,
  factor=2,
  network='convnet',
  width=0,
  schedule='',
  size=0,
  window=0,
  like='',
  formation='uniform',
  smoke=False,
)


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  args = common.parse_arg(arg, **_ARGUMENTS)
  name = args['dataset']
  common.check_dataset(name)
  like = args['like'] or common.plain_name(name)
  if args['like']:
    check_choice('like', like, common.IDC_SETTINGS)
  settings = common.IDC_SETTINGS.get(like, common.IDC_SETTINGS['cifar10'])
  if 'num_classes' in settings:
    args = common.parse_arg(arg, **_ARGUMENTS | common.IMAGENET_ARGUMENTS)
  schedule = args['schedule'] or ('short' if name == 'digits' else 'reference')
  if schedule not in common.SCHEDULES:
    raise ValueError(
      f'schedule {schedule!r}: must be one of {common.SCHEDULES}'
    )
  config = _base(args, settings, _network(args, schedule))
  if name in ('speech', 'wav_folder'):
    _speech(config, args['factor'])
  if 'num_classes' in settings:
    _imagenet(config, settings['num_classes'])
  if schedule == 'short':
    _short(config)
    if name == 'digits':
      _digits(config)
  common.choose_formation(config, args['formation'], schedule == 'short')
  if args['smoke']:
    common.smoke(config)
  return config


def _network(args, schedule):
  sizes = dict(common.SHORT_SIZES) if schedule == 'short' else {}
  if args['dataset'] in ('speech', 'wav_folder'):
    sizes['convnet'] = {**sizes.get('convnet', {}), 'depth': 4}
  return common.network_config(args, sizes)


def _data(args):
  config = common.data_config(args['dataset'])
  for option in ('size', 'window'):
    if args[option]:
      config.options[option] = args[option]
  return config


def _base(args, settings, network):
  ipc, factor = args['ipc'], args['factor']
  return ml_collections.ConfigDict(
    dict(
      method='idc',
      seed=0,
      precision='auto',
      ipc=ipc,
      data=_data(args),
      network=network,
      formation=common.formation_config('uniform', factor),
      init=dict(mode='mix' if factor > 1 else 'random', order='random'),
      schedule=dict(outer=2000, inner=100),
      matching=dict(
        distance=settings['distance'],
        # The reference's choice; an MLP has no convolutions.
        tensors='weights' if network.name == 'mlp' else 'conv',
        batch_real=64,
        most_synthetic=128,
        classes='auto',
      ),
      images=dict(
        learning_rate=settings['learning_rate'],
        scale_learning_rate=True,
        momentum=0.5,
        sweep=True,
        decay='none',
      ),
      inner=dict(
        batches=settings['network_batches'],
        batch_size=64,
        learning_rate=0.01,
        weight_decay=5e-4,
        early_batches=0,
        early_epochs=config_dict.placeholder(int),
        pool='',
      ),
      # 'auto' follows the reference's choice for the data set.
      augment=dict(
        family='idc',
        match='auto',
        train='auto',
        evaluate='auto',
        cutmix=-1.0,
      ),
      evaluation=dict(
        protocol='idc',
        epochs=1000,
        family='auto',
        seeds=3,
        at=(0.1, 0.2, 0.5),
        baselines=('random', 'herding'),
        herding_steps=5000,
      ),
    )
  )


def _speech(config, factor):
  config.formation = common.formation_config('time_axis', factor)
  config.schedule.outer = 1000
  config.inner.learning_rate = 3e-4


def _imagenet(config, num_classes):
  """ImageNet subsets; the sizes of ImageNet-100 are those of its own script.

  The published ImageNet-100 was condensed in five processes of 20 classes, with
  64 real images of each class in a step; networks of a pool were trained, and
  go on, with batches of 128.
  """
  ipc, factor = config.ipc, config.formation.factor
  config.schedule.outer = 500
  # Activations of one class at 224 pixels fill a device.
  config.matching.classes = 'scan'
  if factor >= 3 and ipc >= 20:
    most = config.matching.most_synthetic
    config.formation = common.formation_config('bound', factor)
    config.formation.cap = most
  config.augment.evaluate = 'imagenet'
  config.augment.cutmix = 1.0
  # All decoded images are trained on, also where `bound` condenses fewer.
  config.evaluation.epochs = imagenet_epochs(ipc, factor, num_classes)
  if num_classes < 100:
    config.inner.early_epochs = 10
    return
  config.inner.batch_size = 128
  config.inner.learning_rate = 0.1
  config.inner.weight_decay = 1e-4
  size = config.data.options.size or 224
  config.inner.pool = f'pools/{config.data.name}-{size}.npz'
  config.evaluation.protocol = 'imagenet100'


def _short(config):
  """Minutes on two CPU cores: far larger image steps, with a narrow network."""
  config.schedule.outer, config.schedule.inner = 8, 100
  config.matching.distance = 'l1'
  config.matching.batch_real = 32
  config.inner.batches = 4
  config.inner.pool = ''
  if config.inner.early_epochs:
    config.inner.early_epochs = 1
  config.images.learning_rate = 0.026
  # A falling rate averages the noise out; all classes step at once.
  config.images.decay = 'cosine'
  config.images.sweep = False
  config.evaluation.epochs = 300
  config.evaluation.seeds = 2
  config.evaluation.at = (0.5,)
  config.evaluation.herding_steps = 1000


def _digits(config):
  config.schedule.outer, config.schedule.inner = 5, 20
  config.evaluation.epochs = 40
  config.evaluation.at = (0.4,)
  config.evaluation.herding_steps = 300
