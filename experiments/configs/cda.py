"""CDA: SRe2L whose crops become smaller over the run.

Yin & Shen, TMLR 2024, arXiv 2311.18838; all but the crops, the image rate and
the weight of the statistics is SRe2L's:

  python experiments/run.py --config=experiments/configs/cda.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/cda

Arguments: see statistics.py. Published with ResNet-18 at 50 images per class:
Tiny-ImageNet 48.7, ImageNet-1k 53.5.
"""

import ml_collections
from configs import sre2l, statistics


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,schedule=][,smoke]`."""
  return statistics.finish('cda', arg, _paper)


def _paper(config, like, args):
  sre2l.paper(config, like, args)
  config.synthesis.update(smallest_crop=0.08, roll=0)
  if like == 'tiny_imagenet':
    config.synthesis.update(learning_rate=0.4, weight=0.05)
