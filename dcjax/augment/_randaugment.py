"""RandAugment: a few random operations of one strength on every image."""

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.augment import _operations as ops
from dcjax.augment._plain import grey
from dcjax.augment._sequence import sample_keys
from dcjax.base import Array, Augment, Key
from dcjax.utils import check_at_least, check_choice

RANDAUGMENT = (
  'identity',
  'shear_x',
  'shear_y',
  'translate_x',
  'translate_y',
  'rotate',
  'brightness',
  'color',
  'contrast',
  'sharpness',
  'posterize',
  'solarize',
  'auto_contrast',
  'equalize',
)
_INDEX = {name: number for number, name in enumerate(RANDAUGMENT)}
# At full strength: shear per pixel, degrees, change of the blending factor;
# translations go by the side of the image.
_SHEAR, _DEGREES, _BLEND, _TRANSLATE = 0.3, 30.0, 0.9, 150 / 331
_LEVELS = 255


def randaugment(
  operations: int = 2, magnitude: int = 9, bins: int = 31
) -> Augment:
  """Applies random operations to every image, one after another.

  Cubuk et al., "RandAugment" (2020), with the operations, strengths and
  defaults of torchvision, which EDC's students of small sets see. Images are
  floating-point numbers and are brought to 8 bits where an operation is defined
  on 8 bits (posterize, equalize); all others keep fractions of a level. Empty
  corners become black.

  Args:
    operations: on every image.
    magnitude: strength, in 0..bins - 1.
    bins: number of strengths.

  Returns:
    An `Augment` for images `[N, H, W, D]` in [0, 1], not normalised, D of 1 or
    3.

  Raises:
    ValueError: if a number is out of range, or D is neither 3 nor 1.

  Example:
    >>> augmented = randaugment()(jax.random.key(0), images)
  """
  check_at_least('operations', operations, 0)
  check_at_least('bins', bins, 2)
  if not 0 <= magnitude < bins:
    raise ValueError(f'magnitude {magnitude!r}: must be in 0..{bins - 1}')
  strength = magnitude / (bins - 1)

  def one(key: Key, image: Array) -> Array:
    for number in range(operations):
      kind_key, sign_key = jax.random.split(jax.random.fold_in(key, number))
      kind = jax.random.randint(kind_key, (), 0, len(RANDAUGMENT))
      sign = jnp.where(jax.random.bernoulli(sign_key), 1.0, -1.0)
      image = randaugment_operation(image, kind, strength, sign)
    return image

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    check_choice('number of channels', images.shape[-1], (1, 3))
    return jax.vmap(one)(sample_keys(key, images.shape[0]), images)

  return apply


def randaugment_operation(
  image: Array, kind: Array | int, strength: float, sign: Array | float = 1.0
) -> Array:
  """One operation of RandAugment.

  Args:
    image: `[H, W, D]` in [0, 1].
    kind: position in `RANDAUGMENT`; may be traced.
    strength: in [0, 1].
    sign: 1 or -1, the direction of operations that have one.

  Returns:
    `[H, W, D]` in [0, 1].
  """
  # A mapped `switch` computes every branch, so alike operations share one.
  image = _moved(image, kind, strength * sign)
  image = _blended(image, kind, 1 + _BLEND * strength * sign)
  return _redrawn(image, kind, strength)


def _is(kind, name):
  return kind == _INDEX[name]


def _moved(image, kind, amount):
  """Shears, translations and rotation, nearest neighbour."""
  height, width, _ = image.shape
  angle = jnp.deg2rad(_DEGREES) * amount
  turning = _is(kind, 'rotate')
  cos = jnp.where(turning, jnp.cos(angle), 1.0)
  sin = jnp.where(turning, jnp.sin(angle), 0.0)
  across = -sin + jnp.where(_is(kind, 'shear_x'), _SHEAR * amount, 0.0)
  down = sin + jnp.where(_is(kind, 'shear_y'), _SHEAR * amount, 0.0)
  shift_x = jnp.trunc(_TRANSLATE * width * amount)
  shift_y = jnp.trunc(_TRANSLATE * height * amount)
  # Only the rotation is about the centre.
  middle = jnp.where(turning, 0.5, 0.0)
  x = jnp.arange(width)[None, :] + 0.5 - middle * width
  y = jnp.arange(height)[:, None] + 0.5 - middle * height
  columns = cos * x + across * y + middle * width
  rows = down * x + cos * y + middle * height
  columns += jnp.where(_is(kind, 'translate_x'), shift_x, 0.0)
  rows += jnp.where(_is(kind, 'translate_y'), shift_y, 0.0)
  row, column = jnp.floor(rows).astype(int), jnp.floor(columns).astype(int)
  inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
  found = image[jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)]
  return jnp.where(inside[..., None], found, 0.0)


def _blended(image, kind, factor):
  """Brightness, colour, contrast and sharpness: away from a plain image."""
  plain = jnp.broadcast_to(grey(image), image.shape)
  mean = jnp.round(_LEVELS * plain.mean()) / _LEVELS
  target = jnp.where(_is(kind, 'contrast'), mean, plain)
  target = jnp.where(_is(kind, 'brightness'), 0.0, target)
  target = jnp.where(_is(kind, 'sharpness'), _smoothed(image), target)
  blended = jnp.clip(target + factor * (image - target), 0.0, 1.0)
  chosen = (kind >= _INDEX['brightness']) & (kind <= _INDEX['sharpness'])
  return jnp.where(chosen, blended, image)


def _smoothed(image):
  """A 3x3 mean whose centre counts five times; the border stays."""
  height, width, _ = image.shape
  if min(height, width) < 3:
    return image
  total = 4 * image[1:-1, 1:-1]
  for row in range(3):
    for column in range(3):
      total += image[row : row + height - 2, column : column + width - 2]
  return image.at[1:-1, 1:-1].set(total / 13)


def _redrawn(image, kind, strength):
  """Posterize, solarize, auto-contrast and equalize."""
  levels = jnp.round(_LEVELS * image)
  step = 2 ** int(np.round(4 * strength))
  posterized = step * jnp.floor(levels / step) / _LEVELS
  solarized = jnp.where(image >= 1 - strength, 1 - image, image)
  low, high = image.min((0, 1)), image.max((0, 1))
  flat = high <= low
  stretched = (image - low) / jnp.where(flat, 1.0, high - low)
  stretched = jnp.where(flat, image, stretched)
  image = jnp.where(_is(kind, 'posterize'), posterized, image)
  image = jnp.where(_is(kind, 'solarize'), solarized, image)
  image = jnp.where(_is(kind, 'auto_contrast'), stretched, image)
  return jnp.where(_is(kind, 'equalize'), _equalized(levels), image)


def _equalized(levels):
  """Equal counts of all levels, channel by channel, in whole steps."""
  height, width, depth = levels.shape
  flat = levels.reshape(-1, depth).astype(int)
  channels = jnp.arange(depth)
  counts = jnp.zeros((_LEVELS + 1, depth), int).at[flat, channels].add(1)
  below = jnp.cumsum(counts, axis=0) - counts
  top = counts[flat.max(0), channels]
  step = (height * width - top) // _LEVELS
  ranks = (step // 2 + below) // jnp.maximum(step, 1)
  ranks = jnp.minimum(ranks, _LEVELS)[flat, channels]
  result = jnp.where(step == 0, flat, ranks) / _LEVELS
  return result.reshape(levels.shape)
