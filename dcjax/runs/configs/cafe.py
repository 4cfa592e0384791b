"""CAFE: dataset condensation by aligning features.

Wang et al., CVPR 2022, https://arxiv.org/abs/2203.01531; settings of the
published code, with the numbers of steps fixed (see `methods.cafe`). This is
CAFE + DSA:

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/cafe.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/cafe

Plain CAFE adds `--config.augment.family=none --config.evaluation.epochs=600`.
`schedule=short` makes 20 iterations instead of 2000.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 93.1 / 97.5 / 98.9,
Fashion-MNIST 77.1 / 83.0 / 88.2, SVHN 42.9 / 77.9 / 82.3, CIFAR-10 31.6 / 50.9
/ 62.3, CIFAR-100 14.0 / 31.5 / 42.9; plain CAFE: CIFAR-10 30.3 / 46.3 / 55.5,
CIFAR-100 12.9 / 27.8 / 37.9. Images start as noise, the published code's
default; `--config.start=random` starts from real ones.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('cafe', arg)


def values(chosen):
  return matching.base(
    chosen,
    outer=2000,
    start='mix' if chosen.factor > 1 else 'normal',
    method=dict(
      name='cafe',
      # Shallow to deep: block outputs, then the embedding. The published code
      # lists its features deepest first, so its order is the same.
      layer_weights=(0.1, 0.1, 1.0, 1.0),
      last_weight=1.0,
      discrimination=0.01,
      layers='before_pooling',
      learning_rate=0.1,
      momentum=0.5,
      decay='halved',
      inner_steps=10,
      epochs=10,
      network_batch_size=256,
      network_learning_rate=0.01,
    ),
    augment=dict(family='dsa'),
  )


def short(chosen):
  """20 iterations."""
  return matching.short(chosen, outer=20)
