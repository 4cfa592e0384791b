"""G-VBSM: many observers, BatchNorm and convolutions, dense images.

Shao et al., CVPR 2024, https://arxiv.org/abs/2311.17950:

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/gvbsm.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/gvbsm

Published with ResNet-18 (ipc 10 / 50): CIFAR-10 53.5 / 59.2, CIFAR-100 59.5 /
65.0, Tiny-ImageNet - / 47.6, ImageNet-1k 31.4 / 51.8.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _observing as observing, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = observing.choices, observing.smoke
# Data set -> epochs, batch and weight of the hard labels in evaluation.
_EVALUATION = {
  'cifar10': (1000, 100, 0.15),
  'cifar100': (1000, 64, 0.15),
  'tiny_imagenet': (100, 100, 0.1),
  'imagenet10': (300, 1024, 0.1),
  'imagenet1k': (300, 1024, 0.1),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('gvbsm', arg)


def values(chosen):
  like = shared.training_like(chosen.like)
  large = observing.is_imagenet(like)
  epochs, batch, hard_weight = _EVALUATION[like]
  sgd = {}
  if like in ('cifar100', 'tiny_imagenet'):
    sgd = dict(optimizer='sgd', learning_rate=0.1, weight_decay=5e-4)
  return observing.base(
    chosen,
    'gvbsm',
    start='normal:clip=True',
    method=dict(
      name='gvbsm',
      iterations=4000,
      inner_steps=100,
      learning_rate=0.1 if large else 0.05,
      weight=0.01,
      momentum=0.4 if large else 0.8,
      drop_rate=0.0 if large else 0.4,
      densification=1.0,
      **observing.recovery('gvbsm', like),
    ),
    # Whole classes, which densification needs.
    batches=dict(
      batch_size=max(1, (80 if large else 100) // chosen.ipc) * chosen.ipc,
      order='class',
    ),
    labels=dict(regime='stored'),
    augment=dict(evaluate='resized_crop=0.08|flip'),
    evaluation=dict(
      protocol='gvbsm',
      epochs=epochs,
      hard_weight=hard_weight,
      batch_size=batch,
      baselines=('random', 'random_hard'),
      **sgd,
    ),
  )


def short(chosen):
  """Three small observers, few steps."""
  return observing.short(chosen, values(chosen), 3)
