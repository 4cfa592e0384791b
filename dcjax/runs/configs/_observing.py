"""What the configs of RDED, SRe2L, CDA, G-VBSM and EDC share.

Observers are words, `NAME[:option=value...]`, those with `@FILE` behind them
imported from a state dict. Trained ones are kept in the run's folder, or in
`--store`, where other runs find them. `weights=FOLDER` takes torchvision's
state dicts for the observers of ImageNet.
"""

from collections.abc import Sequence
from typing import Any

from dcjax import methods
from dcjax.runs.configs import _shared as shared
from dcjax.utils import check_choice

# What G-VBSM matches, and what EDC adds to it.
_SMALL = (
  shared.RESNET,
  'convnet:width=128',
  'mobilenet_v2',
  'wide_resnet',
  'shufflenet_v2',
)
_SMALL_MORE = (
  'convnet:width=128:depth=1',
  'convnet:width=128:depth=2',
  'convnet:width=32',
)
_LARGE = (
  shared.RESNET,
  'mobilenet_v2',
  'shufflenet_v2:width_multiplier=0.5',
  'efficientnet_b0:form=torchvision',
)
_ALEXNET = 'alexnet:form=imagenet'
# Torchvision's file for an observer of ImageNet.
_FILES = {
  shared.RESNET: 'resnet18.pth',
  'mobilenet_v2': 'mobilenet_v2.pth',
  'shufflenet_v2:width_multiplier=0.5': 'shufflenet_v2_x0_5.pth',
  'efficientnet_b0:form=torchvision': 'efficientnet_b0.pth',
  _ALEXNET: 'alexnet.pth',
}
_SHORT = (
  'convnet:width=32:norm=batch',
  'resnet10:width_multiplier=0.125:norm=batch',
  'convnet:width=32:depth=2:norm=batch',
)
_SMOKE = ('convnet:width=4:depth=1:norm=batch', 'convnet:width=3:depth=1')


def choices(chosen: Any) -> dict[str, Any]:
  """ipc and student that are taken unless said."""
  short = chosen.schedule == 'short'
  sizes = shared.sizes(chosen)
  if chosen.smoke:
    sizes = {**sizes, 'convnet': {'width': 4, 'depth': 1}}
  like = shared.training_like(chosen.like)
  stats = {}
  if chosen.data == 'image_folder' and like != 'cifar10':
    stats = {'stats': 'imagenet' if 'imagenet' in like else like}
  return dict(
    data_options=stats,
    ipc=2 if chosen.smoke else 10,
    factor=1,
    network='convnet:norm=batch' if short else shared.RESNET,
    sizes=sizes,
  )


def is_imagenet(like: str) -> bool:
  """Whether a data set has images of ImageNet's size."""
  return shared.training_like(like) in ('imagenet10', 'imagenet1k')


def is_small(like: str) -> bool:
  """Whether a data set takes the settings of CIFAR."""
  return shared.training_like(like) in ('cifar10', 'cifar100')


def observers(
  like: str, choice: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """The observers of a data set, for matching and for labelling.

  Args:
    like: the published set.
    choice: `'gvbsm'`, `'edc'`, or `'one'`: ResNet-18.
  """
  check_choice('observers', choice, ('gvbsm', 'edc', 'one'))
  like = shared.training_like(like)
  if choice == 'one':
    return (shared.RESNET,), (shared.RESNET,)
  if not is_imagenet(like):
    more = _SMALL_MORE if choice == 'edc' and like != 'tiny_imagenet' else ()
    return (*_SMALL, *more), (*_SMALL, *more)
  if choice == 'gvbsm' or like == 'imagenet10':
    return _LARGE, _LARGE
  # EDC labels without EfficientNet.
  return (*_LARGE, _ALEXNET), (*_LARGE[:-1], _ALEXNET)


def base(chosen: Any, choice: str, **sections: Any) -> dict[str, Any]:
  """The published values that these methods share, and the sections given.

  Args:
    chosen: see `settings.Chosen`.
    choice: see `observers`.
    **sections: of the method.
  """
  like = shared.training_like(chosen.like)
  large = is_imagenet(like)
  matching, labelling = observers(like, choice)
  weights = chosen.said.get('weights', '')
  if weights:
    matching, labelling = (_imported(w, weights) for w in (matching, labelling))
  made = shared.base(
    chosen,
    weights='',
    start='random',
    formation='uniform',
    clip=True,
    augment=dict(flip='auto', evaluate='resized_crop=0.5|flip', mix='cutmix'),
    observers=dict(matching=matching, labelling=labelling),
    statistics=dict(
      patch_size=16 if large else 4,
      class_variance='total',
      images_per_class=0,
      batch_size=256 if large else 64,
    ),
    labels=dict(regime='stored' if like == 'imagenet1k' else 'online'),
    evaluation=shared.evaluation(
      'edc',
      1000,
      loss='mse',
      hard_weight=0.025,
      temperature=20.0,
      baselines=('initial', 'random', 'random_hard'),
    ),
  )
  return shared.merged(made, sections)


def recovery(method: str, like: str) -> dict[str, Any]:
  """Crops, flips and rolls of what observers see; see `methods.recovery`."""
  kind = 'cifar' if is_small(like) else 'tiny'
  made = methods.recovery(method, 'imagenet' if is_imagenet(like) else kind)
  found = made._asdict()
  found['smallest_crop'] = found['smallest_crop'] or 1.0
  if method != 'gvbsm':
    del found['padding']
  return found


def _imported(words: Sequence[str], folder: str) -> tuple[str, ...]:
  """Lets the observers of ImageNet come from torchvision's state dicts."""
  unknown = [word for word in words if word not in _FILES]
  if unknown:
    raise ValueError(
      f'weights {folder!r}: no file is known for {unknown[0]}; it serves '
      'imagenet10 and imagenet1k'
    )
  return tuple(f'{word}@{folder}/{_FILES[word]}' for word in words)


def trained_long(like: str) -> dict[str, Any]:
  """Small sets' observers trained to the end, as SRe2L and RDED do."""
  if not is_small(like):
    return {}
  return dict(
    epochs=200,
    labelling_epochs=200,
    learning_rate=0.1,
    zeta=1.0,
    batch_size=128,
    weight_decay=5e-4,
  )


def short(
  chosen: Any, values: dict[str, Any], count: int, **sections: Any
) -> dict[str, Any]:
  """Minutes on two cores: small observers, few epochs, few steps.

  Args:
    chosen: see `settings.Chosen`.
    values: of the published schedule.
    count: of observers.
    **sections: of the method.
  """
  window = 'window' in chosen.said.get('data', '')
  method = dict(values.get('method', {}))
  if 'iterations' in method:
    steps = method['inner_steps']
    factor = max(1.0, method['iterations'] / (8 * steps))
    iterations = round(method['iterations'] / factor / steps) * steps
    sections = shared.merged(dict(method=dict(iterations=iterations)), sections)
  return shared.merged(
    dict(
      observers=dict(
        matching=_SHORT[:count],
        labelling=_SHORT[:count],
        # All images are seen, window after window.
        images_per_class=0 if window else 2000,
        epochs=3,
        labelling_epochs=3,
        learning_rate=0.05,
        zeta=1.0,
        batch_size=64,
        weight_decay=0.0,
      ),
      statistics=dict(images_per_class=0 if window else 1000),
      evaluation=dict(epochs=200, seeds=2),
    ),
    sections,
  )


def smoke(chosen: Any) -> dict[str, Any]:
  """Seconds; only what a run does stays, not how well."""
  window = 'window' in chosen.said.get('data', '')
  count = 1 if chosen.method in ('rded', 'sre2l', 'cda') else len(_SMOKE)
  few = 0 if window else 20
  return dict(
    observers=dict(
      matching=_SMOKE[:count],
      labelling=_SMOKE[:1],
      epochs=1,
      labelling_epochs=1,
      images_per_class=few,
      batch_size=16,
    ),
    statistics=dict(images_per_class=few, batch_size=32),
    method=dict(iterations=4, inner_steps=2),
    batches=dict(batch_size=10),  # half of digits' images
    evaluation=dict(epochs=2, seeds=2),
  )
