"""SRe2L: squeeze, recover and relabel.

Yin, Xing & Shen, NeurIPS 2023, https://arxiv.org/abs/2306.13092. Images from
noise whose statistics agree with one network's BatchNorm:

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/sre2l.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/sre2l

CIFAR-10 and other small sets take the values of CIFAR-100. Published with
ResNet-18 (ipc 10 / 50): CIFAR-10 27.2 / 47.5, CIFAR-100 31.6 / 49.5,
Tiny-ImageNet - / 41.1, ImageNet-1k 21.3 / 46.8.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _observing as observing, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = observing.choices, observing.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('sre2l', arg)


def values(chosen):
  like = shared.training_like(chosen.like)
  small, tiny = observing.is_small(like), like == 'tiny_imagenet'
  return observing.base(
    chosen,
    'one',
    start='normal:clip=True',
    method=dict(
      name='sre2l',
      iterations=1000 if small else 4000,
      inner_steps=100,
      learning_rate=0.1 if tiny else 0.25,
      weight=1.0 if tiny else 0.01,
      **observing.recovery('sre2l', like),
    ),
    batches=dict(batch_size=100, order='round'),
    observers=observing.trained_long(like),
    labels=dict(regime='online' if small else 'stored'),
    augment=dict(
      evaluate='pad_crop=4|flip' if small else 'resized_crop=0.08|flip',
      mix='mixup:alpha=0.8' if small else 'cutmix',
    ),
    evaluation=dict(
      protocol='sre2l',
      epochs=400 if small else 300,
      loss='kl',
      hard_weight=0.0,
      temperature=30.0 if small else 20.0,
      batch_size=128 if small else 1024,
      baselines=('random', 'random_hard'),
    ),
  )


def short(chosen):
  """One small observer, few steps."""
  return observing.short(chosen, values(chosen), 1)
