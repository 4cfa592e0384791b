"""FRePo: kernel regression on the features of a pool of networks.

Zhou, Nezhadarya & Ba, "Dataset Distillation using Neural Feature Regression",
NeurIPS 2022, https://arxiv.org/abs/2206.00719; settings of the published code,
but for the deviations listed in `methods.frepo`.

  python experiments/run.py --config=experiments/configs/frepo.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/frepo

Networks of the pool (`method.network`) are those that are tested, with
BatchNorm. Labels are learned around zero and tested by squared error.
`schedule=short` makes 1000 image steps of ten times the rate at width 16-32-64.
Published (ipc 1 / 10 / 50): CIFAR-10 46.8 / 65.5 / 71.7, CIFAR-100 28.7 / 42.5
/ 44.3, MNIST 93.0 / 98.6 / 99.2.
"""

from dcjax import specs
from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
smoke = matching.smoke


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('frepo', arg)


def choices(chosen):
  short = chosen.schedule == 'short'
  widths = (16, 32, 64) if short else (128, 256, 512)
  return dict(
    ipc=1 if chosen.smoke else 10,
    factor=1,
    network='convnet:norm=none',
    sizes={'convnet': {'width': widths}},
  )


def values(chosen):
  classes = shared.classes(chosen.like)
  # More mirrored images than features have no regression.
  mirror = shared.mirrors(chosen.like) and (classes <= 10 or chosen.ipc == 1)
  return matching.base(
    chosen,
    outer=5000,
    zca='none' if chosen.like in shared.GREY else 'kip',
    stored_labels=f'hard:form=centred:scale={(10 / classes) ** 0.5!r}',
    method=dict(
      name='frepo',
      network=specs.word({**chosen.network, 'norm': 'batch'}),
      learning_rate=3e-4,
      regularisation=1e-6,
      margin=True,
      mirror=mirror,
      batch_real=real_batch(classes),
      pool_size=10,
      network_age=100,
      network_images=1000,
      network_learning_rate=3e-4,
      inner_steps=100,
    ),
    evaluation=dict(
      protocol='frepo',
      epochs=epochs(chosen, _updates(chosen), 500),
      family='dsa',
      baselines=('initial', 'random'),
    ),
  )


def real_batch(classes: int) -> int:
  """Real images of a class in a step: about 1024 of all classes."""
  return max(1, 1024 // classes)


def epochs(chosen, updates: int, batch: int) -> int:
  """Passes over the stored images that make so many updates."""
  stored = chosen.ipc * shared.classes(chosen.like)
  return -(-updates // -(-stored // batch))


def _updates(chosen):
  """Of test networks, as published; ImageNet at 64 pixels is not here."""
  many = {'cifar100': (2000, 5000), 'tiny_imagenet': (5000, 5000)}
  ten, fifty = many.get(chosen.like, (1000, 1000))
  return 1000 if chosen.ipc < 10 else ten if chosen.ipc < 50 else fifty


def short(chosen):
  """A thousand steps of ten times the rate."""
  return matching.short(
    chosen,
    outer=10,
    method=dict(learning_rate=3e-3, batch_real=26),
  )
