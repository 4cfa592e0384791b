"""DC: dataset condensation with gradient matching.

Zhao, Mopuri & Bilen, ICLR 2021, arXiv 2006.05929; settings of the published
code.

  python experiments/run.py --config=experiments/configs/dc.py:mnist,ipc=10
    --config.data.dir=DATA --workdir=runs/dc

Arguments as in idc.py; `schedule=short` makes 200 image steps, far larger.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 91.7 / 97.4 / 98.8,
Fashion-MNIST 70.5 / 82.3 / 83.6, CIFAR-10 28.3 / 44.9 / 53.9.
"""

import ml_collections
from configs import common


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,factor=][,schedule=][,smoke]`."""
  return common.finish(_base, arg, common.short_dc)


def _base(name, ipc, factor):
  image_steps, epochs = common.dc_loops(ipc)
  return common.matching_config(
    'dc',
    name,
    ipc,
    factor,
    init='normal',
    family='none',
    learning_rate=0.1,
    matching=dict(distance='cosine', tensors='weights'),
    inner=dict(epochs=epochs, batch_size=256, learning_rate=0.01),
    schedule=dict(outer=1000, inner=image_steps),
    protocol=('dc', 300),
  )
