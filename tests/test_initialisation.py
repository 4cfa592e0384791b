"""Initialisation: noise, the choice of real images, start modes, errors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import initialisation


def _random(shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.uniform(size=shape).astype(np.float32)


def test_noise_is_clipped_and_centred():
  images = initialisation.noise(jax.random.key(0), (2, 3, 16, 16, 1))
  chex.assert_shape(images, (2, 3, 16, 16, 1))
  assert images.min() == 0.0
  assert images.max() == 1.0
  assert abs(images.mean() - 0.5) < 0.03
  # Clipping at two deviations takes the deviation from 0.25 to 0.240.
  assert abs(images.std() - 0.24) < 0.015


def test_select_draws_without_replacement_from_the_class():
  sizes = [3, 50, 7]
  chosen = initialisation.select(jax.random.key(1), sizes, 3)
  chex.assert_shape(chosen, (3, 3))
  for row, size in zip(np.asarray(chosen), sizes, strict=True):
    assert len(set(row.tolist())) == 3
    assert row.min() >= 0
    assert row.max() < size
  other = initialisation.select(jax.random.key(2), sizes, 3)
  assert (chosen != other).any()
  longer = initialisation.select(jax.random.key(1), [7, 50, 7], 5)
  np.testing.assert_array_equal(longer[1:, :3], chosen[1:])


def test_select_draws_every_image_equally_often():
  keys = jax.random.split(jax.random.key(0), 100)
  counts = np.zeros(6)
  for key in keys:
    np.add.at(counts, np.asarray(initialisation.select(key, [6, 9], 2)[0]), 1)
  # 100 draws of 2 out of 6: 33.3 times each, standard deviation 4.7.
  assert abs(counts - 200 / 6).max() < 20


def test_select_first_is_data_set_order():
  chosen = initialisation.select(None, np.array([4, 9]), 3, order='first')
  np.testing.assert_array_equal(chosen, [[0, 1, 2], [0, 1, 2]])
  assert chosen.dtype == jnp.int32


def test_select_rejects():
  key = jax.random.key(0)
  with pytest.raises(ValueError, match='class 1 has 4 images; 5 are asked'):
    initialisation.select(key, [9, 4], 5)
  with pytest.raises(ValueError, match="order 'last': must be one of"):
    initialisation.select(key, [9, 4], 2, order='last')
  with pytest.raises(ValueError, match='per_class is 0'):
    initialisation.select(key, [9, 4], 0)
  with pytest.raises(ValueError, match='one integer for each class'):
    initialisation.select(key, [2.5, 4.0], 1)
