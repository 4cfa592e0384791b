"""DSA: gradient matching with differentiable siamese augmentation.

Zhao & Bilen, ICML 2021, https://arxiv.org/abs/2102.08259; settings of the
published code.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/dsa.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/dsa

`schedule=short` makes 300 image steps, far larger.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 88.7 / 97.8 / 99.2,
Fashion-MNIST 70.6 / 84.6 / 88.7, CIFAR-10 28.8 / 52.1 / 60.6.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared, dc

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('dsa', arg)


def values(chosen):
  return shared.merged(
    dc.values(chosen),
    dict(
      start='mix' if chosen.factor > 1 else 'random',
      method=dict(name='dsa', learning_rate=0.1),
      augment=dict(family='dsa'),
      evaluation=dict(protocol='dsa', epochs=1000, family='auto'),
    ),
    matching.codebook(chosen) if chosen.formation == 'codebook' else {},
  )


def short(chosen):
  """300 far larger image steps, as for DC."""
  made = shared.merged(dc.short(chosen), dict(method=dict(learning_rate=1.0)))
  if chosen.formation == 'codebook':
    made = shared.merged(made, matching.codebook(chosen))
  return made
