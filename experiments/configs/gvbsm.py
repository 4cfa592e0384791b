"""G-VBSM: many observers, BatchNorm and convolutions, dense images.

Shao et al., CVPR 2024, arXiv 2311.17950:

  python experiments/run.py --config=experiments/configs/gvbsm.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/gvbsm

Arguments: see statistics.py. Published with ResNet-18 (ipc 10 / 50): CIFAR-10
53.5 / 59.2, CIFAR-100 59.5 / 65.0, Tiny-ImageNet - / 47.6, ImageNet-1k 31.4 /
51.8.
"""

import ml_collections
from configs import statistics

# Data set -> epochs, batch and weight of the hard labels in evaluation.
_EVALUATION = {
  'cifar10': (1000, 100, 0.15),
  'cifar100': (1000, 64, 0.15),
  'tiny_imagenet': (100, 100, 0.1),
  'imagenet10': (300, 1024, 0.1),
  'imagenet1k': (300, 1024, 0.1),
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,schedule=][,smoke]`."""
  return statistics.finish('gvbsm', arg, _paper)


def _paper(config, like, args):
  large = statistics.is_imagenet(like)
  statistics.set_observers(config, like, 'gvbsm')
  config.start.mode = 'noise'
  whole = max(1, (80 if large else 100) // args['ipc']) * args['ipc']
  config.synthesis = ml_collections.ConfigDict(
    dict(
      iterations=4000,
      image_steps=100,
      batch_size=whole,  # whole classes, which densification needs
      order='class',
      learning_rate=0.1 if large else 0.05,
      weight=0.01,
      momentum=0.4 if large else 0.8,
      drop_rate=0.0 if large else 0.4,
      densification=1.0,
      smallest_crop=0.08,
    )
  )
  config.labels.regime = 'stored'
  epochs, batch, hard_weight = _EVALUATION[like]
  config.evaluation.update(
    protocol='sre2l',
    epochs=epochs,
    hard_weight=hard_weight,
    smallest_crop=0.08,
    baselines=('random', 'random_hard'),
  )
  override = config.evaluation.override
  override.batch_size = batch
  if like in ('cifar100', 'tiny_imagenet'):
    override.update(optimizer='sgd', learning_rate=0.1, weight_decay=5e-4)
