"""CDA: SRe2L whose crops become smaller over the run.

Yin & Shen, TMLR 2024, https://arxiv.org/abs/2311.18838; all but the crops, the
image rate and the weight of the statistics is SRe2L's:

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/cda.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/cda

Published with ResNet-18 at 50 images per class: Tiny-ImageNet 48.7, ImageNet-1k
53.5.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _observing as observing, _shared as shared, sre2l

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = observing.choices, observing.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('cda', arg)


def values(chosen):
  like = shared.training_like(chosen.like)
  method = dict(name='cda', **observing.recovery('cda', like))
  if like == 'tiny_imagenet':
    method |= dict(learning_rate=0.4, weight=0.05)
  return shared.merged(sre2l.values(chosen), dict(method=method))


def short(chosen):
  """One small observer, few steps."""
  return observing.short(chosen, values(chosen), 1)
