"""RCIG: implicit gradients through a linearised network of a pool.

Loo, Hasani, Lechner & Rus, "Dataset Distillation with Convexified Implicit
Gradients", ICML 2023, https://arxiv.org/abs/2302.06755; settings of the
published code, but for the deviations listed in `objectives.convexified`.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/rcig.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/rcig

Networks of the pool (`method.network`) are those that are tested, with steep
softplus in the place of ReLU, and convolutions that can be differentiated
forward. Labels are learned around zero and tested by squared error.
`schedule=short` makes 300 image steps with a pool of ten at width 16-32-64.
Published (ipc 1 / 10 / 50): CIFAR-10 53.9 / 69.1 / 73.5, CIFAR-100 39.3 / 44.1
/ 46.7, MNIST 94.7 / 98.9 / 99.2, Fashion-MNIST 79.8 / 88.5 / 90.2.
"""

from dcjax import specs
from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared, frepo

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = frepo.choices, matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('rcig', arg)


def values(chosen):
  classes = shared.classes(chosen.like)
  updates = 1000 if chosen.ipc * classes <= 10 else 2000
  inside = {'activation': 'softplus', 'conv_form': 'forward'}
  return matching.base(
    chosen,
    outer=100,
    zca='none' if chosen.like in shared.GREY else 'kip',
    stored_labels='hard:form=centred',
    method=dict(
      name='rcig',
      network=specs.word({**chosen.network, **inside}),
      learning_rate=3e-3,
      regularisation=5e-4,
      training_steps=20,
      solving_steps=20,
      margin=True,
      mirror=shared.mirrors(chosen.like),
      average_rate=0.99,
      batch_real=frepo.real_batch(classes),
      pool_size=30,
      network_age=100,
      network_images=1000,
      network_steps=15,
      network_learning_rate=5e-5,
      inner_steps=100,
    ),
    evaluation=dict(
      protocol='rcig',
      epochs=frepo.epochs(chosen, updates, 256),
      family='dsa',
      baselines=('initial', 'random'),
    ),
  )


def short(chosen):
  """Few steps, few networks, few real images."""
  return matching.short(
    chosen,
    outer=30,
    method=dict(batch_real=26, pool_size=10, inner_steps=10),
    evaluation=dict(epochs=frepo.epochs(chosen, 1000, 256)),
  )
