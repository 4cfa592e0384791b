"""Data-free network slimming: prune, then fine-tune on a small set alone.

Arguments: `DATASET[,ipc=][,ratio=][,network=][,schedule=short|reference]
[,width=][,seeds=][,smoke]`; networks are `vgg11` (the default) and `convnet`
(that of digits, whose images are too small for a VGG), both with BatchNorm.
`--config.sparsity.strength` is that of the penalty on the scales with which the
network trains on the small set before it is pruned; 0: no such training.

`reference` trains the network as Liu et al. (ICCV 2017) do, 160 epochs from
rate 0.1, and fine-tunes as EDC's students learn (NeurIPS 2024): its figure 4
prunes VGG11-BN on ImageNet-1k to 25.0 % at 10 and 47.1 % at 50 images per class
(SRe2L 12.5 and 31.7, RDED 13.2 and 42.8), but says neither how much is pruned
nor how it is fine-tuned; DELT prunes half.
"""

import ml_collections
from configs import common
from configs.applications import shared


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,ratio=][,network=][,smoke]`."""
  args = common.parse_arg(arg, **{**shared.ARGUMENTS, 'network': ''}, ratio=0.5)
  name = args['dataset']
  common.check_dataset(name)
  args['network'] = _network(args['network'], name)
  short = args['schedule'] == 'short'
  config = shared.base(
    args,
    data=common.data_config(name),
    most_images=500 if short else 0,
    ratio=args['ratio'],
    methods=('edc', 'idc:factor=2', 'dm', 'random'),
    whole=shared.training(
      15 if short else 160,
      learning_rate=0.1,
      weight_decay=1e-4,
      drops=(0.5, 0.75),
      drop_factor=0.1,
      cutmix=0.0,
    ),
    sparsity=shared.constant_rate(
      20 if short else 160, 0.01, batch_size=64, strength=1e-4
    ),
    tuning=_tuning(100 if short else 1000),
  )
  # Batch statistics mislead what condenses images.
  config.sets.share_network = False
  if args['smoke']:
    _smoke(config)
  return config


def _network(word, dataset):
  word = word or ('convnet' if dataset == 'digits' else 'vgg11')
  return word if 'norm=' in word else f'{word}:norm=batch'


def _tuning(epochs):
  """EDC's loss and protocol of students: sheet of its post-evaluation."""
  return shared.training(
    epochs,
    batch_size=50,
    learning_rate=1e-3,
    weight_decay=0.01,
    drops=(),
    optimizer='adamw',
    schedule='smoothing',
    zeta=2.0,
    average_rate=0.99,
    cutmix=1.0,
    loss='mse',
    hard_weight=0.025,
    temperature=20.0,
  )


def _smoke(config):
  if config.network.name == 'convnet':
    config.data.options.size = 8
  else:  # a VGG has one depth, and needs larger images
    del config.network.depth
  config.ipc, config.most_images = 1, 12
  config.methods = ('dm', 'random')
  for section in (config.whole, config.sparsity, config.tuning):
    section.epochs = 2
