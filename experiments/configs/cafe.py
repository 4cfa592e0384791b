"""CAFE: dataset condensation by aligning features.

Wang et al., CVPR 2022, arXiv 2203.01531; settings of the published code, with
the numbers of steps fixed (see `dcjax.methods.cafe`). This is CAFE + DSA:

  python experiments/run.py --config=experiments/configs/cafe.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/cafe

Plain CAFE adds `--config.augment.family=none --config.evaluation.epochs=600`.

Arguments as in idc.py; `schedule=short` makes 20 iterations instead of 2000.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 93.1 / 97.5 / 98.9,
Fashion-MNIST 77.1 / 83.0 / 88.2, SVHN 42.9 / 77.9 / 82.3, CIFAR-10 31.6 / 50.9
/ 62.3, CIFAR-100 14.0 / 31.5 / 42.9; plain CAFE: CIFAR-10 30.3 / 46.3 / 55.5,
CIFAR-100 12.9 / 27.8 / 37.9. Images start as noise, as in the published code's
default; `--config.init.mode=random` starts from real ones.
"""

import ml_collections
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  return common.finish(_base, arg, lambda ipc: {'schedule.outer': 20})


def _base(name, ipc, factor, network):
  config = common.matching_config(
    'cafe',
    name,
    ipc,
    factor,
    network,
    init='normal',
    family='dsa',
    learning_rate=0.1,
    matching=dict(
      # Shallow to deep: block outputs, then the embedding. The published code
      # lists its features deepest first, so its order is the same.
      layer_weights=(0.1, 0.1, 1.0, 1.0),
      last_weight=1.0,
      discrimination=0.01,
    ),
    inner=dict(epochs=10, batch_size=256, learning_rate=0.01),
    schedule=dict(outer=2000, inner=10),
    protocol=('dsa', 1000),
  )
  config.images.decay = 'halved'
  return config
