"""DM: dataset condensation with distribution matching.

Zhao & Bilen, WACV 2023, https://arxiv.org/abs/2110.04181; settings of the
published code. With `factor=2` it is the DM + multi-formation of IDC's
Table 13.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/dm.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/dm

`schedule=short` makes 400 image steps instead of 20,000, with ten times the
rate. Published (ConvNet-3, width 128, ipc 1 / 10 / 50): CIFAR-10 26.0 / 48.9 /
63.0.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('dm', arg)


def values(chosen):
  large = chosen.ipc >= 100 and chosen.like == 'cifar10'
  return matching.base(
    chosen,
    outer=200,
    method=dict(
      name='dm',
      learning_rate=10.0 if large else 1.0,
      momentum=0.5,
      inner_steps=100,
    ),
    augment=dict(family='dsa'),
    evaluation=dict(protocol='dm'),
  )


def short(chosen):
  """Ten times the published rate, falling to zero by a cosine."""
  return matching.short(
    chosen,
    outer=4,
    method=dict(batch_real=128, learning_rate=10.0, decay='cosine'),
  )
