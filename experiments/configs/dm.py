"""DM: dataset condensation with distribution matching.

Zhao & Bilen, WACV 2023, arXiv 2110.04181; settings of the published code. With
`factor=2` it is the DM + multi-formation of IDC's Table 13.

  python experiments/run.py --config=experiments/configs/dm.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/dm

Arguments as in idc.py; `schedule=short` makes 400 image steps instead of
20,000, with ten times the rate. Published (ConvNet-3, width 128, ipc 1 / 10 /
50): CIFAR-10 26.0 / 48.9 / 63.0.
"""

import ml_collections
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  return common.finish(_base, arg, _short)


def _short(ipc):
  """Ten times the published rate, falling to zero by a cosine."""
  del ipc
  return {
    'schedule.outer': 4,
    'matching.batch_real': 128,
    'images.learning_rate': 10.0,
    'images.decay': 'cosine',
  }


def _base(name, ipc, factor, network):
  return common.matching_config(
    'dm',
    name,
    ipc,
    factor,
    network,
    init='random',
    family='dsa',
    learning_rate=10.0 if ipc >= 100 and name == 'cifar10' else 1.0,
    matching={},
    inner={},
    schedule=dict(outer=200, inner=100),
    protocol=('dm', 1000),
  )
