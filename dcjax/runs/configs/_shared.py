"""What the configs share: sizes, observers, evaluation, short and smoke."""

from collections.abc import Mapping
from typing import Any

from dcjax import augment

# Published sets whose settings a set of one's own may take with `like=`.
LIKE = (
  'cifar10',
  'cifar100',
  'digits',
  'fashion_mnist',
  'imagenet10',
  'imagenet100',
  'imagenet1k',
  'mnist',
  'speech',
  'svhn',
  'tiny_imagenet',
  'usps',
)
_CLASSES = {
  'cifar100': 100,
  'imagenet100': 100,
  'imagenet1k': 1000,
  'speech': 8,
  'tiny_imagenet': 200,
}
# Of one channel.
GREY = ('digits', 'fashion_mnist', 'mnist', 'speech', 'usps')
# Network -> sizes of the short schedule.
SHORT_SIZES: dict[str, dict[str, Any]] = {
  'convnet': {'width': 32},
  'densenet121': {'growth': 6},
  'resnet': {'width_multiplier': 0.5},
  'vgg11': {'width': 16},
}
RESNET = 'resnet18:norm=batch'

# How observers are trained: published by EDC, section 3 of its appendix. `zeta`
# 0 is a fixed rate.
_TRAINING: dict[str, dict[str, Any]] = {
  'cifar10': dict(epochs=10, learning_rate=0.05, batch_size=64, padding=4),
  'cifar100': dict(epochs=50, learning_rate=0.05, batch_size=64, padding=4),
  'tiny_imagenet': dict(
    epochs=50, learning_rate=0.1, zeta=1.0, batch_size=128, padding=8
  ),
  'imagenet10': dict(
    epochs=20, learning_rate=0.01, zeta=3.0, batch_size=128, smallest_crop=0.08
  ),
  # Where torchvision's weights are not given: its own recipe.
  'imagenet1k': dict(
    epochs=90,
    learning_rate=0.1,
    zeta=1.0,
    batch_size=256,
    weight_decay=1e-4,
    smallest_crop=0.08,
  ),
}


def classes(like: str) -> int:
  """Classes of a published set."""
  return _CLASSES.get(like, 10)


def mirrors(like: str) -> bool:
  """Whether a published set has colours, and mirrored images of one class."""
  mirrored = augment.dsa_strategies(like)['match'].split('_')
  return like not in GREY and 'flip' in mirrored


def merged(*trees: Mapping[str, Any]) -> dict[str, Any]:
  """Merges nested dicts; later ones go first."""
  made: dict[str, Any] = {}
  for tree in trees:
    for name, value in tree.items():
      old = made.get(name)
      both = isinstance(old, Mapping) and isinstance(value, Mapping)
      made[name] = merged(old, value) if both else value
  return made


def sizes(chosen: Any) -> dict[str, dict[str, Any]]:
  """Sizes of networks under a schedule."""
  return dict(SHORT_SIZES) if chosen.schedule == 'short' else {}


def training_like(like: str) -> str:
  """The published set whose observers a data set takes."""
  like = {'imagenet100': 'imagenet10'}.get(like, like)
  return like if like in _TRAINING else 'cifar10'


def observers(like: str, **changes: Any) -> dict[str, Any]:
  """The `observers` section: networks trained on real images, and frozen.

  `matching` and `labelling` name them, as words; one with `@FILE` behind it is
  imported from a state dict instead of trained.
  """
  training = _TRAINING[training_like(like)]
  return {
    'matching': (),
    'labelling': (),
    'labelling_epochs': training['epochs'],
    'images_per_class': 0,
    'seed': 0,
    'momentum': 0.9,
    'weight_decay': 0.0,
    'zeta': 0.0,
    'padding': 0,
    'smallest_crop': 1.0,
    **training,
    **changes,
  }


def evaluation(protocol: str, epochs: int, **changes: Any) -> dict[str, Any]:
  """The `evaluation` section; the protocol's own fields come beside these.

  `networks` are further test networks, as words; `at` the shares of the
  condensation after which the set is evaluated along the way; `loss`,
  `hard_weight` and `temperature` are of students that learn from teachers.
  """
  return {
    'protocol': protocol,
    'epochs': epochs,
    'seeds': 3,
    'at': (),
    'baselines': ('initial', 'random', 'herding'),
    'networks': (),
    'herding_steps': 5000,
    'family': 'auto',
    'whole_epochs': 0,
    'fair': False,
    'loss': 'kl',
    'hard_weight': 0.0,
    'temperature': 1.0,
    **changes,
  }


def base(chosen: Any, **sections: Any) -> dict[str, Any]:
  """Fields that every condensing config has, and the sections given."""
  return merged(
    dict(
      project='end',
      observers=observers(chosen.like),
      labels=dict(regime='hard', temperature=1.0),
      execution=dict(classes='auto', precision='auto'),
    ),
    sections,
  )
