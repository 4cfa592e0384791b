"""DSA: gradient matching with differentiable siamese augmentation.

Zhao & Bilen, ICML 2021, arXiv 2102.08259; settings of the published code.

  python experiments/run.py --config=experiments/configs/dsa.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/dsa

Arguments as in idc.py; `schedule=short` makes 300 image steps, far larger.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 88.7 / 97.8 / 99.2,
Fashion-MNIST 70.6 / 84.6 / 88.7, CIFAR-10 28.8 / 52.1 / 60.6.
"""

import ml_collections
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  return common.finish(_base, arg, common.short_dc)


def _base(name, ipc, factor, network):
  image_steps, epochs = common.dc_loops(ipc)
  return common.matching_config(
    'dsa',
    name,
    ipc,
    factor,
    network,
    init='random',
    family='dsa',
    learning_rate=0.1,
    matching=dict(distance='cosine', tensors='weights'),
    inner=dict(epochs=epochs, batch_size=256, learning_rate=0.01),
    schedule=dict(outer=1000, inner=image_steps),
    protocol=('dsa', 1000),
  )
