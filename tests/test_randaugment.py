"""RandAugment's operations against Pillow's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_observer
from PIL import Image, ImageEnhance, ImageOps

from dcjax import augment
from dcjax.augment import _randaugment

_STRENGTH = 0.3


@pytest.fixture(scope='module')
def image():
  rng = np.random.default_rng(0)
  smooth = rng.uniform(0, 255, (5, 6, 3)).astype(np.uint8)
  return Image.fromarray(smooth).resize((18, 16), Image.Resampling.BILINEAR)


@pytest.fixture(scope='module')
def results(image):
  """All operations with both signs, in levels, `[kinds, 2, H, W, 3]`."""
  array = jnp.asarray(np.asarray(image), jnp.float32) / 255

  def one(kind, sign):
    return _randaugment.randaugment_operation(array, kind, _STRENGTH, sign)

  kinds = jnp.arange(len(augment.RANDAUGMENT))
  over_signs = jax.vmap(one, (None, 0))
  program = tiny_observer.jit(jax.vmap(over_signs, (0, None)))
  return 255 * np.asarray(program(kinds, jnp.array([1.0, -1.0])))


def _affine(image, *numbers):
  return image.transform(
    image.size, Image.Transform.AFFINE, numbers, Image.Resampling.NEAREST
  )


def _rotated(image, degrees):
  return image.rotate(degrees, Image.Resampling.NEAREST)


def _pillow(name, image, sign):
  shear, blend = 0.3 * _STRENGTH * sign, 1 + 0.9 * _STRENGTH * sign
  x, y = (
    math.trunc(150 / 331 * side * _STRENGTH) * sign for side in image.size
  )
  return {
    'identity': lambda: image,
    'shear_x': lambda: _affine(image, 1, shear, 0, 0, 1, 0),
    'shear_y': lambda: _affine(image, 1, 0, 0, shear, 1, 0),
    'translate_x': lambda: _affine(image, 1, 0, x, 0, 1, 0),
    'translate_y': lambda: _affine(image, 1, 0, 0, 0, 1, y),
    'rotate': lambda: _rotated(image, 30 * _STRENGTH * sign),
    'brightness': lambda: ImageEnhance.Brightness(image).enhance(blend),
    'color': lambda: ImageEnhance.Color(image).enhance(blend),
    'contrast': lambda: ImageEnhance.Contrast(image).enhance(blend),
    'sharpness': lambda: ImageEnhance.Sharpness(image).enhance(blend),
    'posterize': lambda: ImageOps.posterize(image, 7),
    'solarize': lambda: ImageOps.solarize(image, 255 * (1 - _STRENGTH)),
    'auto_contrast': lambda: ImageOps.autocontrast(image),
    'equalize': lambda: ImageOps.equalize(image),
  }[name]()


@pytest.mark.parametrize('sign', [1, -1])
@pytest.mark.parametrize('name', augment.RANDAUGMENT)
def test_operation_equals_pillow(name, sign, image, results):
  expected = np.asarray(_pillow(name, image, sign), np.float32)
  found = results[augment.RANDAUGMENT.index(name), 0 if sign == 1 else 1]
  wrong = np.abs(found - expected).max(-1) > 2
  # Pillow rounds coordinates on the border of a pixel its own way.
  allowed = 4 if name in ('rotate', 'shear_x', 'shear_y') else 0
  assert wrong.sum() <= allowed
  changes = np.abs(expected - np.asarray(image)).max() > 0
  assert changes == (name != 'identity')


def test_every_image_has_its_own_draw(image):
  array = np.asarray(image, np.float32)[:8, :8] / 255
  images = jnp.asarray(np.stack([array] * 8))
  program = tiny_observer.jit(augment.randaugment(1))
  result = np.asarray(program(jax.random.key(1), images))
  assert result.min() >= 0
  assert result.max() <= 1
  assert len({r.tobytes() for r in result}) > 4


def test_bad_options_are_errors():
  with pytest.raises(ValueError, match=r'magnitude 31: must be in 0\.\.30'):
    augment.randaugment(magnitude=31)
  with pytest.raises(ValueError, match='operations -1'):
    augment.randaugment(operations=-1)
  with pytest.raises(ValueError, match='number of channels 2'):
    augment.randaugment()(jax.random.key(0), jnp.zeros((1, 4, 4, 2)))
