"""KIP: images from which a closed-form kernel regression learns well.

Nguyen, Chen & Lee, ICLR 2021, https://arxiv.org/abs/2011.00050, and Nguyen et
al., NeurIPS 2021, https://arxiv.org/abs/2107.13034; settings of the published
notebook, in float32.

  python experiments/run.py --config=experiments/configs/kip.py:mnist,ipc=1
    --config.data_dir=DATA --workdir=runs/kip

There is no network: `method.kernel` is `fully_connected:depth=1` ("KIP FC") or
`convolutional:depth=3` ("ConvVec"). `stored_labels=hard:form=centred` learns
labels, too; an empty one leaves them. The report shows the regression (`own`)
beside finite networks, which learn from such sets less well. Where mirrored
images show their class, half of the real ones are mirrored (`augment.real`),
five times as many steps made, and the rate falls along a cosine to zero:
printed sets were learned with augmentation, to the end. The notebook's rate is
fixed (`method.decay=none`).
`schedule=short` makes 300 steps. Published (FC kernel, ipc 1 / 10 / 50): MNIST
85.5 / 97.2 / 98.4, CIFAR-10 40.5 / 53.1 / 58.6.
"""

from dcjax import augment
from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('kip', arg)


def values(chosen):
  flips = 'flip' in augment.dsa_strategies(chosen.like)['match']
  return matching.base(
    chosen,
    outer=250 if flips else 50,
    augment=dict(real='flip' if flips else 'none'),
    stored_labels='hard:form=centred',
    method=dict(
      name='kip',
      kernel='fully_connected:depth=1',
      regularisation=1e-6,
      learning_rate=0.04,
      decay='cosine' if flips else 'none',
      batch_real=50 if chosen.like == 'cifar100' else 500,
      inner_steps=20,
    ),
    evaluation=dict(protocol='frepo', baselines=('initial', 'random')),
  )


def short(chosen):
  """300 steps."""
  return matching.short(chosen, outer=15)
