"""Augmentation in words: strategies, pipelines of operations, mixing."""

from collections.abc import Mapping
from typing import Any

import jax

from dcjax import augment, methods, specs
from dcjax.base import Augment
from dcjax.data import Dataset
from dcjax.sharding import Placement
from dcjax.training import Mix

_OPERATIONS = ('flip', 'pad_crop', 'randaugment', 'resized_crop', 'shuffle')


def strategies(
  config: Any, dataset: Dataset, network: Mapping[str, Any]
) -> dict[str, Any]:
  """The augmentation of matching, network training and evaluation.

  Args:
    config: its `augment` section, `like`, `factor` and `ipc`.
    dataset: whose channels decide where its name is not known.
    network: description of the network that is evaluated.

  Returns:
    As `augment.idc_strategies`, and `evaluate_single`, `evaluate_per_image`.
  """

  def of(family):
    return augment.STRATEGIES[family](
      config.like,
      config.factor,
      config.ipc,
      channels=dataset.image_shape[2],
      batch_norm=augment.is_batch_norm_convnet(network),
    )

  chosen = of(config.augment.get('family', 'none'))
  family = config.evaluation.family
  tested = chosen if family == 'auto' else of(family)
  chosen = chosen | {
    'evaluate': tested['evaluate'],
    'evaluate_single': tested['single'],
    'evaluate_per_image': tested['per_image'],
    'cutmix_probability': tested['cutmix_probability'],
  }
  for name in ('match', 'train', 'evaluate'):
    word = config.augment.get(name, 'auto')
    if word != 'auto':
      chosen[name] = word
  return chosen


def flips(config: Any, dataset: Dataset) -> bool:
  """Whether mirrored images still look like their class."""
  said = config.augment.get('flip', 'auto')
  if said != 'auto':
    return said == 'yes'
  usual = augment.dsa_strategies(config.like, channels=dataset.image_shape[2])[
    'match'
  ]
  return 'flip' in usual.split('_')


def augment_of(
  dataset: Dataset, chosen: Mapping[str, Any], name: str, placement: Placement
) -> Augment:
  """Normalisation and the strategy of `'match'`, `'train'` or `'evaluate'`.

  Args:
    dataset: whose normalisation and size decide.
    chosen: see `strategies`.
    name: which of them; `'match'` draws once for a batch, the others for every
      image.
    placement: spreads the images over devices, but not those of an evaluation,
      whose networks are spread.

  Raises:
    ValueError: if an operation is unknown, or does not fit the images.
  """
  spread: tuple[Augment, ...] = ()
  if name != 'evaluate':
    spread = placement.spread_class() if name == 'match' else placement.spread()
  normalise = augment.normalise(dataset.mean, dataset.std)
  if spread:
    normalise = augment.chain(*spread, normalise)
  else:
    normalise = augment.chain(normalise)
  if name == 'evaluate' and chosen[name] == 'imagenet':
    return augment.chain(_imagenet(dataset), normalise)
  try:
    if name == 'evaluate' and chosen['evaluate_per_image']:
      made = augment.dc_evaluation(chosen[name])
    else:
      made = augment.sequence(
        chosen[name],
        sharing='batch' if name == 'match' else 'sample',
        single=chosen['evaluate_single' if name == 'evaluate' else 'single'],
      )
  except ValueError as error:
    raise ValueError(f'augment.{name} {chosen[name]!r}: {error}') from error
  return augment.chain(normalise, made)


def _imagenet(dataset):
  """Crops, flips and colours of IDC's evaluation on ImageNet."""
  height, width, channels = dataset.image_shape
  if height != width or channels != 3:
    raise ValueError(
      f"augment.evaluate 'imagenet': images of {dataset.name} are {height}x"
      f'{width}x{channels}; must be square and of 3 channels'
    )
  return augment.imagenet_evaluation(height)


def is_pipeline(word: str) -> bool:
  """Whether a word names operations of `pipeline`, not a strategy."""
  return word.partition('=')[0].partition('|')[0] in _OPERATIONS


def operations(word: str) -> dict[str, float]:
  """Reads `'randaugment|resized_crop=0.5|flip'` as operation -> its number.

  Raises:
    ValueError: if an operation is unknown.
  """
  found = {}
  for part in word.split('|'):
    name, _, number = part.partition('=')
    if name not in _OPERATIONS:
      raise ValueError(
        f'augment.evaluate {word!r}: {name!r} must be one of {_OPERATIONS}'
      )
    found[name] = float(number or 0)
  return found


def pipeline(dataset: Dataset, word: str, mirrored: bool) -> Augment:
  """What students see, in words: `'shuffle=2|resized_crop=0.08|flip'`.

  Args:
    dataset: whose normalisation and size decide.
    word: operations in order: `randaugment`; `shuffle=F`, RDED's tiles;
      `resized_crop=S`, crops of at least the share S of the area;
      `pad_crop=P`, windows of images with P black pixels around them; `flip`.
    mirrored: whether mirrored images still look like their class; `flip` does
      nothing otherwise.

  Raises:
    ValueError: if an operation is unknown.
  """
  normalise = augment.normalise(dataset.mean, dataset.std)
  size = dataset.image_shape[:2]
  before, after = [], []
  for name, number in operations(word).items():
    if name == 'randaugment':  # of images in [0, 1]
      before.append(augment.randaugment())
    elif name == 'pad_crop':  # black is black before normalisation
      before.append(augment.random_crop(int(number)))
    elif name == 'shuffle':
      after.append(methods.shuffle_tiles(int(number)))
    elif name == 'resized_crop' and number < 1:
      after.append(augment.random_resized_crop(size, (number, 1.0)))
    elif name == 'flip' and mirrored:
      after.append(augment.random_flip())
  return augment.chain(*before, normalise, *after)


def mixing(field: str, word: str, probability: float) -> Mix | None:
  """CutMix or MixUp in words, as the training loop takes it; None for none.

  Args:
    field: of the config, for messages.
    word: `'auto'`, `'none'`, `'cutmix:probability=1.0:beta=1.0'` or
      `'mixup:alpha=0.8'`.
    probability: of CutMix where the word is `'auto'`.

  Raises:
    ValueError: if the word is unknown.
  """
  if word in ('auto', 'none'):
    return _cutmix(probability if word == 'auto' else 0.0)
  spec = specs.parse(field, word)
  return specs.call(field, {'cutmix': _cutmix, 'mixup': _mixup}, spec)


def _cutmix(probability=1.0, beta=1.0):
  if not 0 <= probability <= 1:
    raise ValueError(f'cutmix: probability {probability} must be in [0, 1]')
  if not probability:
    return None

  def mix(key, images, labels, weights):
    return augment.cutmix(
      key,
      images,
      labels,
      probability=probability,
      beta=beta,
      weights=weights,
    )

  return mix


def _mixup(alpha=1.0):
  def mix(key, images, labels, weights):
    return augment.mixup(key, images, labels, alpha=alpha, weights=weights)

  return mix


def observers_see(
  dataset: Dataset, section: Any, mirrored: bool, placement: Placement
) -> Augment:
  """Crops, flips and normalisation of real images, for training and statistics.

  Padding is black, as in the published code, not the mean colour.

  Args:
    dataset: whose normalisation and size decide.
    section: `padding` and `smallest_crop`.
    mirrored: whether images are mirrored.
    placement: spreads every batch over the devices first.
  """
  steps = []
  if section.padding:
    steps.append(augment.random_crop(section.padding))
  if section.smallest_crop < 1:
    size = dataset.image_shape[:2]
    steps.append(
      augment.random_resized_crop(size, (section.smallest_crop, 1.0))
    )
  if mirrored:
    steps.append(augment.random_flip())
  whole = augment.chain(*steps, augment.normalise(dataset.mean, dataset.std))
  spread = placement.spread()
  if not spread:
    return whole

  # The key as it is: the draws are those of one device.
  def apply(key: jax.Array, images: jax.Array) -> jax.Array:
    return whole(key, spread[0](key, images))

  return apply
