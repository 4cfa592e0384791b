"""Walks through data on the device: without replacement, reproducible."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax.data import sampling


def _walk(counts, batch_size, steps, *, seed=0, longest=None, **options):
  """Positions `[steps, G, B]`, weights `[steps, G, B]` of a compiled scan."""
  walk = sampling.shuffler(longest or max(counts), batch_size, **options)
  counts = jnp.asarray(counts, jnp.int32)

  @jax.jit
  def run(key):
    def body(state, step_key):
      state, positions, weights = walk.next(step_key, counts, state)
      return state, (positions, weights)

    init_key, walk_key = jax.random.split(key)
    keys = jax.random.split(walk_key, steps)
    return jax.lax.scan(body, walk.init(init_key, counts), keys)[1]

  positions, weights = run(jax.random.key(seed))
  return np.asarray(positions), np.asarray(weights)


def _pass(positions, weights, group):
  """Sorted positions that count in some batches of one group."""
  return sorted(positions[:, group][weights[:, group] > 0].tolist())


def test_every_image_once_per_pass():
  positions, weights = _walk([6, 6], 2, 12)
  assert weights.all()
  for group in range(2):
    for start in range(0, 12, 3):
      part = slice(start, start + 3)
      seen = _pass(positions[part], weights[part], group)
      assert seen == list(range(6))


def test_exhaustion_reshuffles_each_group_on_its_own():
  positions, _ = _walk([8, 8], 4, 12)
  orders = positions.reshape(6, 2, 2, 4).transpose(2, 0, 1, 3).reshape(12, 8)
  # Of 8! orders, twelve draws agree by accident once in 600 runs; none here.
  assert len({tuple(order) for order in orders}) == 12


def test_incomplete_last_batch_is_dropped():
  positions, weights = _walk([7], 3, 6)
  assert weights.all()
  left_out = set()
  for start in (0, 2, 4):
    seen = _pass(positions[start : start + 2], weights[start : start + 2], 0)
    assert len(set(seen)) == 6
    assert set(seen) <= set(range(7))
    left_out |= set(range(7)) - set(seen)
  assert len(left_out) > 1


def test_incomplete_last_batch_is_kept():
  positions, weights = _walk([7], 3, 6, keep_last=True)
  np.testing.assert_array_equal(weights[:, 0].sum(axis=1), [3, 3, 1, 3, 3, 1])
  # The short batch is filled up from the start of the same pass.
  for first, last in ((0, 2), (3, 5)):
    np.testing.assert_array_equal(
      positions[last, 0, 1:], positions[first, 0, :2]
    )
  for part in (slice(0, 3), slice(3, 6)):
    assert _pass(positions[part], weights[part], 0) == list(range(7))


def test_a_full_last_batch_is_not_followed_by_an_empty_one():
  positions, weights = _walk([6], 3, 4, keep_last=True)
  assert weights.all()
  for part in (slice(0, 2), slice(2, 4)):
    assert _pass(positions[part], weights[part], 0) == list(range(6))


def test_unbalanced_groups():
  counts = [2, 9, 4]
  positions, weights = _walk(counts, 4, 6)
  # The group smaller than the batch gives all its members every time.
  np.testing.assert_array_equal(weights[:, 0], [[1, 1, 0, 0]] * 6)
  assert weights[:, 1:].all()
  for step in range(6):
    part = slice(step, step + 1)
    assert _pass(positions[part], weights[part], 0) == [0, 1]
    assert _pass(positions[part], weights[part], 2) == [0, 1, 2, 3]
  for start in (0, 2, 4):
    part = slice(start, start + 2)
    assert len(set(_pass(positions[part], weights[part], 1))) == 8


def test_padding_repeats_the_members_of_its_group():
  positions, weights = _walk([2, 9, 4], 7, 5)
  for group, count in enumerate((2, 7, 4)):
    np.testing.assert_array_equal(weights[:, group].sum(1), [count] * 5)
  for batch in positions[:, 0]:
    assert sorted(batch[:2].tolist()) == [0, 1]
    np.testing.assert_array_equal(batch, np.resize(batch[:2], 7))
  for batch in positions[:, 2]:
    assert sorted(batch[:4].tolist()) == [0, 1, 2, 3]
    np.testing.assert_array_equal(batch[4:], batch[:3])


def test_padding_of_a_padded_set_is_never_drawn():
  positions, weights = _walk([3], 8, 4, keep_last=True, longest=20)
  assert positions.shape == (4, 1, 8)
  np.testing.assert_array_equal(weights[:, 0].sum(1), [3] * 4)
  # 8 places for 3 images: two of them come three times, one comes twice.
  for batch in positions[:, 0]:
    assert sorted(np.bincount(batch, minlength=20)) == [0] * 17 + [2, 3, 3]


def test_batch_larger_than_every_group():
  positions, weights = _walk([3, 5], 64, 3)
  assert positions.shape == (3, 2, 5)
  np.testing.assert_array_equal(weights.sum(axis=(0, 2)), [9, 15])


def test_positions_are_uniform():
  many = jax.vmap(
    lambda key: (
      sampling.shuffler(5, 5).init(key, jnp.asarray([4], jnp.int32)).order[0]
    )
  )(jax.random.split(jax.random.key(0), 400))
  np.testing.assert_array_equal(many[:, 4], 4)
  share = np.bincount(np.asarray(many[:, 0]), minlength=4) / 400
  # A share of 1/4 has a standard deviation of 0.022 over 400 draws.
  assert np.abs(share - 0.25).max() < 0.09


def test_same_key_same_walk():
  first, second = _walk([5, 9], 2, 7), _walk([5, 9], 2, 7)
  tiny.assert_trees_equal(first, second)
  assert (_walk([5, 9], 2, 7, seed=1)[0] != first[0]).any()


def test_padding_does_not_change_the_walk():
  tight = _walk([5], 2, 7, keep_last=True)
  padded = _walk([5], 2, 7, keep_last=True, longest=11)
  tiny.assert_trees_equal(padded, tight)


def test_to_device_groups_in_data_set_order():
  images = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1)
  data = sampling.to_device(images, np.array([2, 0, 1, 2, 0, 2, 0]), 255.0)
  np.testing.assert_array_equal(data.images.ravel(), [1, 4, 6, 2, 0, 3, 5])
  np.testing.assert_array_equal(data.labels, [0, 0, 0, 1, 2, 2, 2])
  np.testing.assert_array_equal(data.starts, [0, 3, 4])
  np.testing.assert_array_equal(data.counts, [3, 1, 3])
  assert data.images.dtype == jnp.uint8
  fetched = sampling.fetch(data, jnp.array([[0, 3], [6, 6]]))
  assert fetched.shape == (2, 2, 1, 1, 1)
  np.testing.assert_allclose(
    fetched.ravel(), np.array([1, 2, 5, 5]) / 255, rtol=1e-6
  )


@pytest.mark.parametrize('weighted', [False, True])
def test_class_batch(weighted):
  data = tiny.device_data([2, 3, 4])
  positions = jnp.array([[1, 0], [2, 0], [3, 1]])
  weights = jnp.array([[1.0, 0.0]] * 3) if weighted else None
  batch = sampling.class_batch(data, positions, weights, 3)
  expected = np.asarray(data.images)[[[1, 0], [4, 2], [8, 6]]]
  np.testing.assert_array_equal(batch.images, expected)
  one_hot = np.broadcast_to(np.eye(3)[:, None], (3, 2, 3))
  np.testing.assert_array_equal(batch.labels, one_hot)
  assert batch.weights is weights


def test_mixed_batch():
  data = tiny.device_data([2, 3, 4])
  batch = sampling.mixed_batch(data, jnp.array([8, 0, 3]), None, 3)
  np.testing.assert_array_equal(
    batch.images, np.asarray(data.images)[[8, 0, 3]]
  )
  np.testing.assert_array_equal(batch.labels, [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
  assert batch.weights is None
