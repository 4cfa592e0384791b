"""Herding against the reference's choice, random choice, embeddings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from dcjax import coresets
from dcjax.base import Outputs


def _features(labels, seed=0, size=4):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(len(labels), size)) + np.asarray(labels)[:, None]


def _greedy(features, ipc):
  """Herding as its definition reads, in float64."""
  chosen, mean = [], features.mean(axis=0)
  for step in range(ipc):
    target = (step + 1) * mean - features[chosen].sum(axis=0)
    distances = np.linalg.norm(target - features, axis=1)
    distances[chosen] = np.inf
    chosen.append(int(distances.argmin()))
  return chosen


def test_herding_equals_golden(golden):
  data = golden('herding')
  chosen = coresets.herding(data['features'], data['targets'], int(data['ipc']))
  assert chosen.shape == (3, 7)
  assert chosen.dtype == jnp.int32
  indices = coresets.to_dataset_indices(chosen, data['targets'])
  for label in range(3):
    np.testing.assert_array_equal(indices[label], data[f'indices_class{label}'])
  np.testing.assert_array_equal(indices.ravel(), data['indices'])


@pytest.mark.parametrize('offset', [0.0, 100.0])
def test_herding_of_unbalanced_classes(offset):
  """Also with features whose mean is large against their spread."""
  labels = np.random.default_rng(3).permutation(
    np.repeat([0, 1, 2], [5, 20, 9])
  )
  features = np.float32(_features(labels) + offset)
  chosen = np.asarray(coresets.herding(jnp.asarray(features), labels, 5))
  for label in range(3):
    own = features[labels == label].astype(np.float64)
    assert chosen[label].tolist() == _greedy(own, 5)


def test_herding_never_chooses_twice():
  labels = np.repeat([0, 1], [6, 9])
  # Equal images would be chosen again and again.
  features = np.zeros((15, 3), np.float32)
  chosen = np.asarray(coresets.herding(features, labels, 6))
  for row, size in zip(chosen, (6, 9), strict=True):
    assert len(set(row.tolist())) == 6
    assert row.max() < size


def test_to_dataset_indices():
  labels = np.array([1, 0, 1, 2, 0, 2, 2])
  indices = coresets.to_dataset_indices(
    jnp.array([[1, 0], [0, 1], [2, 0]]), labels
  )
  np.testing.assert_array_equal(indices, [[4, 1], [0, 2], [6, 3]])


def test_random():
  chosen = coresets.random(jax.random.key(0), np.array([4, 30, 9]), 4)
  assert chosen.shape == (3, 4)
  assert chosen.dtype == jnp.int32
  for row, size in zip(np.asarray(chosen), (4, 30, 9), strict=True):
    assert len(set(row.tolist())) == 4
    assert row.min() >= 0
    assert row.max() < size
  again = coresets.random(jax.random.key(0), np.array([4, 30, 9]), 4)
  np.testing.assert_array_equal(again, chosen)
  other = coresets.random(jax.random.key(1), np.array([4, 30, 9]), 4)
  assert (other != chosen).any()


def test_embed_keeps_the_order_and_scales():
  data = tiny.device_data([3, 2, 2])
  data = data._replace(
    images=(255 * data.images).astype(jnp.uint8), scale=jnp.asarray(255.0)
  )
  network = tiny.linear_network()
  features = coresets.embed(
    network,
    network.init(jax.random.key(0)),
    data,
    lambda key, images: images - 0.5,
    batch_size=3,
  )
  expected = np.asarray(data.images).reshape(7, -1) / 255 - 0.5
  np.testing.assert_allclose(features, expected, atol=1e-6)


def test_embed_needs_an_embedding():
  network = tiny.linear_network()

  def apply(variables, images, train):
    outputs, state = network.apply(variables, images, train)
    return Outputs(outputs.logits), state

  with pytest.raises(ValueError, match="'linear' exposes no embedding"):
    coresets.embed(
      network._replace(apply=apply),
      network.init(jax.random.key(0)),
      tiny.device_data([2, 2, 2]),
      lambda key, images: images,
    )


def test_rejects():
  labels = np.repeat([0, 1], [4, 3])
  with pytest.raises(ValueError, match='ipc 4: class 1 holds only 3'):
    coresets.herding(_features(labels), labels, 4)
  with pytest.raises(ValueError, match=r'features \(7, 4, 1\): .* M = 7'):
    coresets.herding(_features(labels)[..., None], labels, 2)
  with pytest.raises(ValueError, match=r'features \(6, 4\)'):
    coresets.herding(_features(labels)[1:], labels, 2)
  with pytest.raises(ValueError, match='class 0 holds only 0'):
    coresets.herding(_features(labels), labels + 1, 2)
  with pytest.raises(ValueError, match='class 1 has 3 images; 4 are asked'):
    coresets.random(jax.random.key(0), np.array([4, 3]), 4)


def test_k_center_against_a_plain_loop():
  rng = np.random.default_rng(3)
  counts = (9, 4, 6)
  labels = rng.permutation(np.repeat(np.arange(3), counts))
  features = rng.normal(size=(len(labels), 5)) + 7
  chosen = np.asarray(coresets.k_center(jnp.asarray(features), labels, 4))
  for label in range(3):
    own = features[labels == label]
    expected = [np.argmin(np.linalg.norm(own - own.mean(0), axis=1))]
    while len(expected) < 4:
      gaps = np.linalg.norm(own[:, None] - own[expected], axis=2).min(1)
      expected.append(np.argmax(gaps))
    np.testing.assert_array_equal(chosen[label], expected)


def test_k_center_never_takes_an_image_twice():
  labels = np.zeros(5, int)
  chosen = coresets.k_center(jnp.ones((5, 3)), labels, 5)
  assert sorted(np.asarray(chosen[0])) == [0, 1, 2, 3, 4]
  with pytest.raises(ValueError, match='class 0 holds only 5'):
    coresets.k_center(jnp.ones((5, 3)), labels, 6)
