"""IDC: dataset condensation via efficient synthetic-data parameterization.

Kim et al., ICML 2022, arXiv 2205.14959; settings of the published code.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits
  python experiments/run.py
    --config=experiments/configs/idc.py:cifar10,ipc=10,factor=2
    --config.data.dir=DATA --workdir=runs/cifar10

Arguments after the data set: `ipc`, `factor`, `network` (with options, such as
`network=vgg11:norm=batch` or `network=convnet:pooling=max`; names as for
transfer.py), `width` (of networks that have one), `schedule` (`reference`:
200,000 inner iterations, tuned for a GPU; `short`: minutes on two CPU cores,
with a narrower network and far larger steps), `smoke` (seconds, for tests).
Published with the reference schedule (ConvNet-3, width 128, factor 2, ipc 1 /
10 / 50): CIFAR-10 50.6 / 67.5 / 74.5, Fashion-MNIST 81.0 / 86.0 / 86.2, MNIST
94.2 / 98.4 / 99.1, SVHN 68.5 / 87.5 / 90.1. Measured: docs/results.md.
"""

import ml_collections
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  args = common.parse_arg(
    arg,
    dataset='digits',
    ipc=10,
    factor=2,
    network='convnet',
    width=0,
    schedule='',
    smoke=False,
  )
  name = args['dataset']
  common.check_dataset(name)
  schedule = args['schedule'] or ('short' if name == 'digits' else 'reference')
  if schedule not in common.SCHEDULES:
    raise ValueError(
      f'schedule {schedule!r}: must be one of {common.SCHEDULES}'
    )
  sizes = dict(common.SHORT_SIZES) if schedule == 'short' else {}
  if name in ('speech', 'wav_folder'):
    sizes['convnet'] = {**sizes.get('convnet', {}), 'depth': 4}
  network = common.network_config(args, sizes)
  config = _base(name, args['ipc'], args['factor'], network)
  if name in ('speech', 'wav_folder'):
    _speech(config, args['factor'])
  if schedule == 'short':
    _short(config)
    if name == 'digits':
      _digits(config)
  if args['smoke']:
    common.smoke(config)
  return config


def _base(name, ipc, factor, network):
  settings = common.IDC_SETTINGS.get(
    common.plain_name(name), common.IDC_SETTINGS['cifar10']
  )
  return ml_collections.ConfigDict(
    dict(
      method='idc',
      seed=0,
      ipc=ipc,
      data=common.data_config(name),
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


def _short(config):
  """Minutes on two CPU cores: far larger image steps, with a narrow network."""
  config.schedule.outer, config.schedule.inner = 8, 100
  config.matching.distance = 'l1'
  config.matching.batch_real = 32
  config.inner.batches = 4
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
  config.evaluation.epochs = 50
  config.evaluation.at = (0.4,)
  config.evaluation.herding_steps = 300
