"""RDED: real crops that an observer finds easy, stitched into images.

Sun et al., CVPR 2024, https://arxiv.org/abs/2312.03526. Nothing is optimised;
the observer labels every batch of the student. `factor` squared crops share an
image (ImageNet 2 x 2), which students see whole, their tiles shuffled:

  python experiments/run.py --config=experiments/configs/rded.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/rded

Published with ResNet-18 (ipc 1 / 10 / 50): CIFAR-10 22.9 / 37.1 / 62.1,
CIFAR-100 11.0 / 42.6 / 62.6, Tiny-ImageNet 9.7 / 41.9 / 58.2, ImageNet-1k 6.6 /
42.0 / 56.5; with ConvNet-3: CIFAR-10 23.5 / 50.2 / 68.4.
"""

from dcjax.protocols import rded_protocol
from dcjax.runs import settings
from dcjax.runs.configs import _observing as observing, _shared as shared

DATA, LIKE = 'digits', shared.LIKE


def choices(chosen):
  tiles = 2 if observing.is_imagenet(chosen.like) else 1
  return {**observing.choices(chosen), 'factor': tiles}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('rded', arg)


def values(chosen):
  like, factor = shared.training_like(chosen.like), chosen.factor
  shuffle = f'shuffle={factor}|' if factor > 1 else ''
  student = chosen.network['name']
  if student == 'convnet':
    student += str(chosen.network['depth'])
  protocol = rded_protocol(
    300, _batch(like, chosen.ipc), network=student, dataset=like
  )
  return observing.base(
    chosen,
    'one',
    method=dict(name='rded'),
    # The tiles of an image are no images of their own.
    formation='uniform:factor=1',
    start=_start(chosen, 300, 5),
    observers=observing.trained_long(chosen.like),
    labels=dict(regime='online'),
    augment=dict(evaluate=f'{shuffle}resized_crop={1 / factor}|flip'),
    evaluation=dict(
      protocol='rded',
      epochs=protocol.epochs,
      loss='kl',
      hard_weight=0.0,
      batch_size=protocol.batch_size,
      learning_rate=protocol.learning_rate,
      baselines=('random', 'random_hard'),
    ),
  )


def _batch(like, ipc):
  """Batches of the student: 10, 50, 100 at 1, 10, 50 images per class."""
  if like == 'tiny_imagenet':
    return 100
  size = 10 if ipc <= 1 else 50 if ipc <= 10 else 100
  return size * (2 if like in ('cifar100', 'imagenet1k') else 1)


def short(chosen):
  """One small observer, fewer candidates."""
  return observing.short(
    chosen, values(chosen), 1, start=_start(chosen, 100, 5)
  )


def smoke(chosen):
  """Seconds."""
  made = observing.smoke(chosen)
  needed = chosen.ipc * chosen.factor**2
  return shared.merged(made, dict(start=_start(chosen, max(8, needed), 2)))


def _start(chosen, candidates, crops):
  return (
    f'rded:factor={chosen.factor}:candidates={candidates}:crops={crops}'
    ':best_of_image=True:ratio=(1.0,1.0)'
  )
