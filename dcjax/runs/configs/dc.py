"""DC: dataset condensation with gradient matching.

Zhao, Mopuri & Bilen, ICLR 2021, https://arxiv.org/abs/2006.05929; settings of
the published code.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/dc.py:mnist,ipc=10
    --config.data_dir=DATA --workdir=runs/dc

`schedule=short` makes 300 image steps, far larger. An MLP takes a tenth of the
image rate, as published. Evaluation augments in DC's own way
(`augment.dc_strategies`) on MNIST, and for a ConvNet with BatchNorm: 1000
epochs then, 300 without augmentation.
Published (ConvNet-3, width 128, ipc 1 / 10 / 50): MNIST 91.7 / 97.4 / 98.8,
Fashion-MNIST 70.5 / 82.3 / 83.6, CIFAR-10 28.3 / 44.9 / 53.9.
"""

from dcjax import augment, methods
from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('dc', arg)


def values(chosen):
  inner_steps, epochs = methods.dc_loops(chosen.ipc)
  strategies = augment.dc_strategies(
    chosen.like, batch_norm=augment.is_batch_norm_convnet(chosen.network)
  )
  return matching.base(
    chosen,
    start='mix' if chosen.factor > 1 else 'normal',
    method=dict(
      name='dc',
      distance='cosine',
      tensors='weights',
      learning_rate=0.1 * _slower(chosen),
      momentum=0.5,
      inner_steps=inner_steps,
      epochs=epochs,
      network_batch_size=256,
      network_learning_rate=0.01,
    ),
    evaluation=dict(
      protocol='dc',
      epochs=300 if strategies['evaluate'] == 'none' else 1000,
      family='dc',
    ),
  )


def _slower(chosen):
  return 0.1 if chosen.network['name'] == 'mlp' else 1.0


def short(chosen):
  """300 far larger image steps.

  A fifth of the epochs at five times the rate trains the networks as far.
  """
  inner_steps, epochs = methods.dc_loops(chosen.ipc)
  return matching.short(
    chosen,
    outer=max(1, 300 // inner_steps),
    method=dict(
      epochs=min(epochs, 10),
      network_learning_rate=0.05,
      batch_real=64,
      learning_rate=1.0 * _slower(chosen),
      decay='cosine',
    ),
  )
