"""DC: dataset condensation with gradient matching.

Zhao, Mopuri & Bilen, ICLR 2021, arXiv 2006.05929; settings of the published
code.

  python experiments/run.py --config=experiments/configs/dc.py:mnist,ipc=10
    --config.data.dir=DATA --workdir=runs/dc

Arguments as in idc.py; `schedule=short` makes 300 image steps, far larger. An
MLP (`network=mlp`) takes a tenth of the image rate, as published. Evaluation
augments in DC's own way (`dcjax.augment.dc_strategies`) on MNIST, and for a
ConvNet with BatchNorm: 1000 epochs then, 300 without augmentation.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 91.7 / 97.4 / 98.8,
Fashion-MNIST 70.5 / 82.3 / 83.6, CIFAR-10 28.3 / 44.9 / 53.9.
"""

import ml_collections
from configs import common

from dcjax import augment


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  config = common.finish(_base, arg, common.short_dc)
  if config.network.name == 'mlp':
    config.images.learning_rate /= 10
  return config


def _base(name, ipc, factor, network):
  image_steps, epochs = common.dc_loops(ipc)
  strategies = augment.dc_strategies(
    name, batch_norm=augment.is_batch_norm_convnet(network)
  )
  config = common.matching_config(
    'dc',
    name,
    ipc,
    factor,
    network,
    init='normal',
    family='none',
    learning_rate=0.1,
    matching=dict(distance='cosine', tensors='weights'),
    inner=dict(epochs=epochs, batch_size=256, learning_rate=0.01),
    schedule=dict(outer=1000, inner=image_steps),
    protocol=('dc', 300 if strategies['evaluate'] == 'none' else 1000),
  )
  config.evaluation.family = 'dc'
  return config
