"""Siamese augmentation: draw parameters once, apply them to several batches.

DSA (Zhao and Bilen 2021) treats the real and the synthetic batch alike; IDC
(Kim et al. 2022) runs several operations in a row. Drawing is kept apart from
applying, so that the draws can be made outside a hot loop and the same draw can
treat two batches of different size.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.augment import _operations as ops
from dcjax.base import Array, Augment, Key
from dcjax.utils import check_choice

ImageShape = tuple[int, int, int]
Params = dict[str, Any]

_CROP_RATIO = 0.125
_CUTOUT_RATIO = 0.5
_SCALE_RATIO = 1.2
_ROTATION = np.deg2rad(15.0)
# These run whenever they are named; one of all the other named ones runs.
_FIRST = ('flip', 'color')
_LAST = ('cutout',)
SHARING = ('batch', 'sample')


class Operation(NamedTuple):
  """An operation with the distribution of its parameters.

  Attributes:
    name: how strategies call it.
    draw: `(key, image_shape (H, W, D)) -> params`, one draw: a dict of scalars.
    apply: `(images [N, H, W, D], params) -> images`; the entries of `params`
      are `[]` (shared by the batch) or `[N]`.
  """

  name: str
  draw: Callable[[Key, ImageShape], Params]
  apply: Callable[[Array, Params], Array]


def _uniform(key: Key, image_shape: ImageShape) -> Params:
  return {'r': jax.random.uniform(key)}


def _integers(key: Key, low: Any, high: Any) -> Array:
  """Draws integers from `low` to `high - 1`, one per entry of `high`.

  Far cheaper than `jax.random.randint`; the numbers are uniform but for the
  resolution of a float, 2^-23.
  """
  low, span = np.asarray(low), np.asarray(high) - np.asarray(low)
  drawn = jax.random.uniform(key, span.shape, jnp.float32)
  return low.astype(np.int32) + jnp.int32(drawn * span.astype(np.float32))


def _share(length: int, ratio: float) -> int:
  return int(length * ratio + 0.5)


def _draw_color(key: Key, image_shape: ImageShape) -> Params:
  names = ('brightness', 'saturation', 'contrast')
  return dict(zip(names, jax.random.uniform(key, (3,)), strict=True))


def _apply_color(images: Array, params: Params) -> Array:
  images = ops.brightness(images, params['brightness'])
  images = ops.saturation(images, params['saturation'])
  return ops.contrast(images, params['contrast'])


def _draw_crop(key: Key, image_shape: ImageShape) -> Params:
  reach = np.array([_share(side, _CROP_RATIO) for side in image_shape[:2]])
  row, column = _integers(key, -reach, reach + 1)
  return {'row_shift': row, 'column_shift': column}


def _apply_crop(images: Array, params: Params) -> Array:
  _, height, width, _ = images.shape
  reach = (_share(height, _CROP_RATIO), _share(width, _CROP_RATIO))
  return ops.crop(
    images, params['row_shift'], params['column_shift'], reach=reach
  )


def _draw_translate(key: Key, image_shape: ImageShape) -> Params:
  reach = _share(image_shape[1], _CROP_RATIO)
  return {'column_shift': _integers(key, -reach, reach + 1)}


def _apply_translate(images: Array, params: Params) -> Array:
  reach = _share(images.shape[2], _CROP_RATIO)
  return ops.translate(images, params['column_shift'], reach=reach)


def _draw_cutout(key: Key, image_shape: ImageShape) -> Params:
  # Even holes have no middle pixel, so one more offset balances both ends.
  offsets = [
    side + 1 - _share(side, _CUTOUT_RATIO) % 2 for side in image_shape[:2]
  ]
  row, column = _integers(key, 0, offsets)
  return {'row': row, 'column': column}


def _apply_cutout(images: Array, params: Params) -> Array:
  _, height, width, _ = images.shape
  size = (_share(height, _CUTOUT_RATIO), _share(width, _CUTOUT_RATIO))
  return ops.cutout(images, params['row'], params['column'], size)


def _draw_scale(key: Key, image_shape: ImageShape) -> Params:
  limits = {'minval': 1 / _SCALE_RATIO, 'maxval': _SCALE_RATIO}
  sx, sy = jax.random.uniform(key, (2,), **limits)
  return {'sx': sx, 'sy': sy}


def _draw_rotate(key: Key, image_shape: ImageShape) -> Params:
  angle = jax.random.uniform(key, minval=-_ROTATION, maxval=_ROTATION)
  return {'radians': angle}


def _by_keyword(function: Callable[..., Array]) -> Callable[..., Array]:
  return lambda images, params: function(images, **params)


# Every operation that a strategy can name.
OPERATIONS: dict[str, Operation] = {
  operation.name: operation
  for operation in (
    Operation('brightness', _uniform, _by_keyword(ops.brightness)),
    Operation('saturation', _uniform, _by_keyword(ops.saturation)),
    Operation('contrast', _uniform, _by_keyword(ops.contrast)),
    Operation('color', _draw_color, _apply_color),
    Operation('crop', _draw_crop, _apply_crop),
    Operation('cutout', _draw_cutout, _apply_cutout),
    Operation('flip', _uniform, _by_keyword(ops.flip)),
    Operation('scale', _draw_scale, _by_keyword(ops.scale)),
    Operation('rotate', _draw_rotate, _by_keyword(ops.rotate)),
    Operation('translate', _draw_translate, _apply_translate),
  )
}


@dataclasses.dataclass(frozen=True)
class Siamese:
  """An `Augment` whose draw and application can also be called apart.

  Attributes:
    stages: run in order; of each stage's operations exactly one runs, drawn
      uniformly once per call, also when the parameters differ by sample.
    sharing: `'batch'`: all images get the same parameters. `'sample'`: every
      image has its own; image i of any batch gets the draw of index i. This
      needs JAX's default keys: under `vmap`, the numbers of `rbg` keys depend
      on the size of the batch.
  """

  stages: tuple[tuple[Operation, ...], ...]
  sharing: str = 'batch'

  def draw(self, key: Key, image_shape: ImageShape, num: int = 1) -> Params:
    """Draws the parameters of one call.

    Args:
      key: decides everything; may be mapped over to draw many calls at once.
      image_shape: (H, W, D).
      num: images to draw for (sharing by sample only). The first draws do not
        depend on `num`.

    Returns:
      `{'choices': int32 [stages], 'operations': {name: params}}`; the params
      are `[]`, or `[num]` if sharing is by sample.
    """
    choice_key, key = jax.random.split(key)
    choices = _integers(choice_key, 0, [len(stage) for stage in self.stages])
    operations = [operation for stage in self.stages for operation in stage]

    def draw_once(key: Key) -> Params:
      keys = jax.random.split(key, len(operations))
      return {
        operation.name: operation.draw(keys[position], image_shape)
        for position, operation in enumerate(operations)
      }

    if self.sharing == 'batch':
      return {'choices': choices, 'operations': draw_once(key)}
    return {
      'choices': choices,
      'operations': jax.vmap(draw_once)(sample_keys(key, num)),
    }

  def apply(self, images: Array, params: Params) -> Array:
    """Applies a draw to images `[N, H, W, D]`; see `draw` for `params`.

    Where a stage has several operations, `lax.switch` runs the chosen one only
    (under `vmap` over different draws, all of them run and one is selected).

    Raises:
      ValueError: if the images are not float `[N, H, W, D]`, or the params were
        drawn for another number of images.
    """
    ops.check_images(images)
    for position, stage in enumerate(self.stages):
      branches = [
        lambda images, params, operation=operation: operation.apply(
          images, params[operation.name]
        )
        for operation in stage
      ]
      choice = params['choices'][position]
      images = (
        branches[0](images, params['operations'])
        if len(branches) == 1
        else jax.lax.switch(choice, branches, images, params['operations'])
      )
    return images

  def __call__(self, key: Key, images: Array) -> Array:
    """Draws and applies: images `[N, H, W, D]` -> the same shape."""
    ops.check_images(images)
    params = self.draw(key, tuple(images.shape[1:]), images.shape[0])
    return self.apply(images, params)


def sequence(
  strategy: str, *, sharing: str = 'batch', single: bool = False
) -> Siamese:
  """Builds siamese augmentation from a strategy string.

  IDC's order: flip, color (brightness, saturation, contrast), then one of all
  other named operations, drawn per call, then cutout. Flip, color and cutout
  run whenever they are named. DSA's rule (`single=True`): exactly one of the
  named operations per call, where color counts as one.

  The same key gives the same parameters for batches of any size, in both kinds
  of sharing. IDC and DSA share by batch for matching and by sample for training
  and evaluating networks.

  Args:
    strategy: names of `OPERATIONS` joined by `_`; `'none'` or `''` for the
      identity.
    sharing: `'batch'` or `'sample'`; see `Siamese`.
    single: one operation per call.

  Raises:
    ValueError: if an operation is unknown or named twice, or if `sharing` is
      unknown.

  Example:
    augment = sequence('color_crop_cutout')
    real, synthetic = augment(key, real), augment(key, synthetic)
  """
  check_choice('sharing', sharing, SHARING)
  names = [] if strategy in ('', 'none') else strategy.split('_')
  for name in names:
    check_choice(f'operation of the strategy {strategy!r},', name, OPERATIONS)
  if len(set(names)) < len(names):
    raise ValueError(f'strategy {strategy!r}: names an operation twice')
  if single:
    stages = [names] if names else []
  else:
    middle = [name for name in names if name not in _FIRST + _LAST]
    stages = [[name] for name in _FIRST if name in names]
    stages += [middle] if middle else []
    stages += [[name] for name in _LAST if name in names]
  return Siamese(
    tuple(tuple(OPERATIONS[name] for name in stage) for stage in stages),
    sharing,
  )


def sample_keys(key: Key, num: int) -> Key:
  """Returns `num` keys; key i does not depend on `num`."""
  return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num))


def identity(key: Key, images: Array) -> Array:
  """Returns the images `[N, H, W, D]` as they are."""
  del key
  return images


def normalise(mean: Any, std: Any) -> Augment:
  """Returns an `Augment` that computes `(images - mean) / std`.

  Args:
    mean: number or one per channel `[D]`, in the units of the images.
    std: number or one per channel `[D]`, positive.

  Raises:
    ValueError: if `std` is not positive, the shapes differ, or (when called)
      the channels do not match the images.
  """
  mean = np.atleast_1d(np.asarray(mean, np.float32))
  std = np.atleast_1d(np.asarray(std, np.float32))
  if mean.shape != std.shape or mean.ndim != 1:
    raise ValueError(
      f'mean {mean.shape} and std {std.shape}: must both be [D] or a number'
    )
  if not (std > 0).all():
    raise ValueError(f'std {std}: must be positive')

  def apply(key: Key, images: Array) -> Array:
    del key
    if mean.size not in (1, images.shape[-1]):
      raise ValueError(
        f'mean has {mean.size} channels: the images have {images.shape[-1]}'
      )
    return (images - mean.astype(images.dtype)) / std.astype(images.dtype)

  return apply


def chain(*augments: Augment) -> Augment:
  """Runs augmentations in order; the i-th gets `fold_in(key, i)`.

  Without arguments it is the identity. A chain of siamese augmentations is
  siamese. Example: `chain(normalise(mean, std), sequence('color_crop'))`.
  """

  def apply(key: Key, images: Array) -> Array:
    for position, augment in enumerate(augments):
      images = augment(jax.random.fold_in(key, position), images)
    return images

  return apply
