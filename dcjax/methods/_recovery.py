"""What observers see of images that are being recovered."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax import augment
from dcjax.base import Array, Augment, Key
from dcjax.objectives import AugmentAt
from dcjax.utils import check_at_least, check_choice


class Recovery(NamedTuple):
  """Crops, flips and rolls of what observers see.

  Attributes:
    smallest_crop: smallest share of the area that a crop keeps, the largest
      being 1, resized to the whole image; a function of the share of the run
      that is done for a curriculum; None for no such crop.
    padding: pixels of the mean colour on every side, of which a window of the
      old size is cut out; 0 for none.
    flip: whether half of the batches are mirrored.
    roll: pixels that the batch is moved by, round the border, down and to the
      right: `(low, high)`, both included; a number stands for `(0, number)`.
  """

  smallest_crop: float | Callable[[Array], Array] | None = None
  padding: int = 0
  flip: bool = True
  roll: int | tuple[int, int] = 0


_RECOVERIES = {
  ('sre2l', 'cifar'): Recovery(None, 0, False, (0, 4)),
  ('sre2l', 'tiny'): Recovery(0.08, 0, True, (-4, 4)),
  ('sre2l', 'imagenet'): Recovery(0.08, 0, True, (0, 32)),
  ('cda', 'cifar'): Recovery(0.08, 0, False, (0, 4)),
  ('cda', 'tiny'): Recovery(0.08, 0, True, (0, 4)),
  ('cda', 'imagenet'): Recovery(0.08, 0, True, (0, 32)),
  ('gvbsm', 'cifar'): Recovery(None, 4, True, (0, 32)),
  ('gvbsm', 'tiny'): Recovery(None, 4, True, (0, 32)),
  ('gvbsm', 'imagenet'): Recovery(0.08, 0, True, (0, 0)),
  ('edc', 'cifar'): Recovery(0.5, 0, True, (0, 0)),
  ('edc', 'tiny'): Recovery(0.5, 0, True, (0, 0)),
  ('edc', 'imagenet'): Recovery(0.5, 0, True, (0, 0)),
}


def recovery(method: str, images: str) -> Recovery:
  """Returns the crops, flips and rolls of a published recovery.

  They are those of the published codes: SRe2L on CIFAR only rolls the images;
  G-VBSM on CIFAR and Tiny-ImageNet pads, crops, mirrors and rolls them. Two are
  choices made here: CDA has no CIFAR, where SRe2L's roll is taken with CDA's
  crops, and G-VBSM is taken not to roll on ImageNet.

  Args:
    method: `'sre2l'`, `'cda'`, `'gvbsm'` or `'edc'`.
    images: whose settings: `'cifar'` (small sets), `'tiny'` or `'imagenet'`.

  Raises:
    ValueError: if a name is unknown.

  Example:
    >>> recovery('sre2l', 'cifar')._asdict()
    {'smallest_crop': None, 'padding': 0, 'flip': False, 'roll': (0, 4)}
  """
  methods, kinds = zip(*_RECOVERIES, strict=True)
  check_choice('method', method, tuple(dict.fromkeys(methods)))
  check_choice('images', images, tuple(dict.fromkeys(kinds)))
  return _RECOVERIES[method, images]


class RecoveryDraw(NamedTuple):
  """One draw, for all images of a batch; None leaves a step out.

  Attributes:
    box: `[4]` of a resized crop, see `augment.draw_boxes`.
    shift: `[2]` rows and columns of a padded crop, within +-`padding`.
    padding: pixels.
    flip: `[]`; below 0.5 the images are mirrored.
    roll: `[2]` rows and columns that the images are moved by.
  """

  box: Array | None = None
  shift: Array | None = None
  padding: int = 0
  flip: Array | None = None
  roll: Array | None = None


def apply_recovery(images: Array, drawn: RecoveryDraw) -> Array:
  """Crops, mirrors and rolls images `[B, H, W, D]`, in this order."""
  if drawn.box is not None:
    images = augment.crop_boxes(images, drawn.box, images.shape[1:3])
  if drawn.shift is not None:
    reach = (drawn.padding, drawn.padding)
    images = augment.crop(images, *drawn.shift, reach=reach)
  if drawn.flip is not None:
    images = augment.flip(images, drawn.flip)
  if drawn.roll is not None:
    images = jnp.roll(images, drawn.roll, axis=(1, 2))
  return images


def recovery_augment(
  mean: Sequence[float],
  std: Sequence[float],
  seen: Recovery,
  *,
  spread: Augment | None = None,
) -> AugmentAt:
  """Makes what observers see of an image batch: one draw for all its images.

  Normalised, cropped, mirrored, rolled, in this order; see `recovery` for the
  published values.

  Args:
    mean: `[D]` of the normalisation.
    std: `[D]` of the normalisation.
    seen: crops, flips and rolls.
    spread: puts the images of the batch onto several devices before anything
      else is done with them; see `dcjax.sharding.spread`. Statistics are then
      still those of the whole batch.

  Raises:
    ValueError: if an option is out of range, or both crops are asked for.
  """
  smallest_crop, padding, flip, roll = seen
  low, high = _range(roll)
  check_at_least('padding', padding, 0)
  if padding and smallest_crop is not None:
    raise ValueError(
      f'padding {padding} and smallest_crop {smallest_crop!r}: must be one of '
      'the two'
    )
  if isinstance(smallest_crop, (int, float)) and not 0 < smallest_crop <= 1:
    raise ValueError(f'smallest_crop {smallest_crop!r}: must be in (0, 1]')
  normalise = augment.normalise(mean, std)

  def draw(key, size, progress):
    crop_key, flip_key, roll_key = jax.random.split(key, 3)
    box = shift = None
    if smallest_crop is not None:
      least = (
        smallest_crop(progress) if callable(smallest_crop) else smallest_crop
      )
      (box,) = augment.draw_boxes(crop_key, 1, size, (least, 1.0))
    elif padding:
      shift = jax.random.randint(crop_key, (2,), -padding, padding + 1)
    mirror = jax.random.uniform(flip_key) if flip else None
    moved = None
    if (low, high) != (0, 0):
      moved = jax.random.randint(roll_key, (2,), low, high + 1)
    return RecoveryDraw(box, shift, padding, mirror, moved)

  def apply(key: Key, images: Array, progress: Array) -> Array:
    if spread is not None:
      images = spread(key, images)
    images = normalise(key, images)
    return apply_recovery(images, draw(key, images.shape[1:3], progress))

  return apply


def _range(roll):
  low, high = (0, roll) if isinstance(roll, int) else roll
  if low > high:
    raise ValueError(
      f'roll {roll!r}: must be (low, high) with low <= high, or at least 0'
    )
  return int(low), int(high)
