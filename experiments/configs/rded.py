"""RDED: real crops that an observer finds easy, stitched into images.

Sun et al., CVPR 2024, arXiv 2312.03526. Nothing is optimised; the observer
labels every batch of the student:

  python experiments/run.py --config=experiments/configs/rded.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/rded

Arguments: see statistics.py. Published with ResNet-18 (ipc 1 / 10 / 50):
CIFAR-10 22.9 / 37.1 / 62.1, CIFAR-100 11.0 / 42.6 / 62.6, Tiny-ImageNet 9.7 /
41.9 / 58.2, ImageNet-1k 6.6 / 42.0 / 56.5; with ConvNet-3: CIFAR-10 23.5 / 50.2
/ 68.4.
"""

import ml_collections
from configs import statistics


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,schedule=][,smoke]`."""
  return statistics.finish('rded', arg, _paper)


def _paper(config, like, args):
  statistics.set_observers(config, like, 'one')
  statistics.train_long(config, like)
  config.start.mode = 'rded'
  config.labels.regime = 'online'
  config.evaluation.update(
    protocol='rded',
    epochs=300,
    loss='kl',
    hard_weight=0.0,
    smallest_crop=1.0 / config.start.factor,
    baselines=('random', 'random_hard'),
  )
  config.evaluation.override.batch_size = _batch(like, args['ipc'])


def _batch(like, ipc):
  """Batches of the student: 10, 50, 100 at 1, 10, 50 images per class."""
  if like == 'tiny_imagenet':
    return 100
  size = 10 if ipc <= 1 else 50 if ipc <= 10 else 100
  return size * (2 if like in ('cifar100', 'imagenet1k') else 1)
