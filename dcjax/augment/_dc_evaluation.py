"""DC's augmentation for the evaluation of networks: one operation per image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from dcjax.augment import _operations as ops
from dcjax.augment._sequence import sample_keys
from dcjax.base import Array, Augment, Key
from dcjax.utils import check_choice

_PADDING = 4
_SCALE = 0.2
_DEGREES = 45
_NOISE = 0.001


def dc_evaluation(strategy: str = 'crop_scale_rotate') -> Augment:
  """DC's augmentation when networks are evaluated (Zhao et al. 2021, MNIST).

  Each image gets one of the named operations, drawn uniformly:

  * crop: window of the image padded by 4 pixels, offsets 0 to 7 on each axis;
    the padding is the mean colour of the batch.
  * scale: rows and columns are resized each by a factor from U(0.8, 1.2), to
    the nearest pixel, centred, zeros outside.
  * rotate: integer degrees in [-45, 45), filled with the batch's mean colour.
    Deviation, on purpose: bilinear, where the original uses a cubic spline.
  * noise: Gaussian of standard deviation 0.001.

  `dc_strategies` tells where DC uses which.

  Args:
    strategy: operations joined by `_`; `'none'` or `''` for the identity.

  Returns:
    An `Augment` for images `[N, H, W, D]`.

  Raises:
    ValueError: if an operation is unknown; lists the known ones.
  """
  names = [] if strategy in ('', 'none') else strategy.split('_')
  for name in names:
    check_choice(f'operation of the strategy {strategy!r},', name, _OPERATIONS)

  def apply(key: Key, images: Array) -> Array:
    ops.check_images(images)
    if not names:
      return images
    choice_key, key = jax.random.split(key)
    count = images.shape[0]
    choices = jax.vmap(lambda key: jax.random.randint(key, (), 0, len(names)))(
      sample_keys(choice_key, count)
    )
    result = images
    for position, name in enumerate(names):
      keys = sample_keys(jax.random.fold_in(key, position), count)
      chosen = (choices == position)[:, None, None, None]
      result = jnp.where(chosen, _OPERATIONS[name](keys, images), result)
    return result

  return apply


def _dc_crop(keys: Key, images: Array) -> Array:
  shifts = jax.vmap(lambda key: jax.random.randint(key, (2,), 0, 2 * _PADDING))(
    keys
  )
  shifts -= _PADDING
  return _around_mean(
    images,
    lambda images: ops.crop(
      images, shifts[:, 0], shifts[:, 1], reach=(_PADDING, _PADDING)
    ),
  )


def _dc_rotate(keys: Key, images: Array) -> Array:
  degrees = jax.vmap(
    lambda key: jax.random.randint(key, (), -_DEGREES, _DEGREES)
  )(keys)
  return _around_mean(
    images, lambda images: ops.rotate(images, jnp.deg2rad(degrees))
  )


def _around_mean(images: Array, operation: Callable[[Array], Array]) -> Array:
  """Runs an operation that fills with zeros so that it fills with the mean."""
  mean = images.mean(axis=(0, 1, 2))
  return operation(images - mean) + mean


def _dc_scale(keys: Key, images: Array) -> Array:
  _, height, width, _ = images.shape

  def resize(key: Key, image: Array) -> Array:
    factors = jax.random.uniform(
      key, (2,), minval=1 - _SCALE, maxval=1 + _SCALE
    )
    rows, columns = jnp.int32(factors * jnp.array([height, width]))
    canvas = jnp.maximum(max(height, width), jnp.maximum(rows, columns))
    for axis, (new, old) in enumerate(((rows, height), (columns, width))):
      # Both the resized image and the result lie centred on a square canvas.
      position = jnp.arange(old) + (canvas - old) // 2 - (canvas - new) // 2
      inside = (position >= 0) & (position < new)
      source = jnp.clip(position * old // new, 0, old - 1)
      shape = [1, 1, 1]
      shape[axis] = old
      image = jnp.where(
        inside.reshape(shape),
        jnp.take(image, source, axis=axis, mode='clip'),
        jnp.zeros((), image.dtype),
      )
    return image

  return jax.vmap(resize)(keys, images)


def _dc_noise(keys: Key, images: Array) -> Array:
  noise = jax.vmap(
    lambda key: jax.random.normal(key, images.shape[1:], images.dtype)
  )(keys)
  return images + _NOISE * noise


_OPERATIONS: dict[str, Callable[[Key, Array], Array]] = {
  'crop': _dc_crop,
  'scale': _dc_scale,
  'rotate': _dc_rotate,
  'noise': _dc_noise,
}
