"""SRe2L: squeeze, recover and relabel.

Yin, Xing & Shen, NeurIPS 2023, arXiv 2306.13092. Images from noise whose
statistics agree with one network's BatchNorm:

  python experiments/run.py --config=experiments/configs/sre2l.py:cifar10,ipc=10
    --config.data.dir=DATA --workdir=runs/sre2l

Arguments: see statistics.py. CIFAR-10 and other small sets take the values of
CIFAR-100. Published with ResNet-18 (ipc 10 / 50): CIFAR-10 27.2 / 47.5,
CIFAR-100 31.6 / 49.5, Tiny-ImageNet - / 41.1, ImageNet-1k 21.3 / 46.8.
"""

import ml_collections
from configs import statistics


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,schedule=][,smoke]`."""
  return statistics.finish('sre2l', arg, paper)


def paper(config, like, args):
  """Writes the values of SRe2L, which CDA shares, into a config."""
  del args
  small = like in ('cifar10', 'cifar100')
  statistics.set_observers(config, like, 'one')
  statistics.train_long(config, like)
  config.start.mode = 'noise'
  config.synthesis = ml_collections.ConfigDict(
    dict(
      iterations=1000 if small else 4000,
      image_steps=100,
      batch_size=100,
      order='round',
      learning_rate=0.1 if like == 'tiny_imagenet' else 0.25,
      weight=1.0 if like == 'tiny_imagenet' else 0.01,
      smallest_crop=1.0 if small else 0.08,
      roll=4 if small else 0,
    )
  )
  config.labels.regime = 'online' if small else 'stored'
  config.evaluation.update(
    protocol='sre2l',
    epochs=400 if small else 300,
    loss='kl',
    hard_weight=0.0,
    temperature=30.0 if small else 20.0,
    smallest_crop=0.08,
    mix='mixup' if small else 'cutmix',
    mix_alpha=0.8 if small else 1.0,
    baselines=('random', 'random_hard'),
  )
  config.evaluation.override.batch_size = 128 if small else 1024
