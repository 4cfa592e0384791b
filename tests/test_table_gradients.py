"""Gradient norms and similarities of the figures, against direct sums."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from dcjax.base import Batch
from dcjax.objectives import network_gradient
from dcjax.runs.tables import _gradients, _loss


def _normalise(key, images):
  del key
  return images - 0.5


def _batch(images):
  """Hard labels for images [C, N, H, W, D]."""
  classes, count = images.shape[:2]
  labels = np.broadcast_to(np.eye(classes)[:, None], (classes, count, classes))
  return Batch(jnp.asarray(images), jnp.asarray(labels, jnp.float32))


def _gradient(variables, batch, label, chosen):
  """Flat gradient of some images of a class."""
  part = Batch(batch.images[label][chosen] - 0.5, batch.labels[label][chosen])
  tree = network_gradient(tiny.LINEAR, variables, part)
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_class_norm_is_the_mean_of_the_norms_of_the_classes():
  variables, batch = tiny.LINEAR.init(tiny.KEY), _batch(tiny.stored(4))
  found = _gradients.class_norm(tiny.LINEAR, variables, batch, _normalise)
  norms = [
    np.abs(_gradient(variables, batch, label, slice(None))).sum()
    for label in range(3)
  ]
  np.testing.assert_allclose(found, np.mean(norms), rtol=1e-5)


def test_similarity_is_the_mean_cosine_of_all_pairs():
  variables, batch = tiny.LINEAR.init(tiny.KEY), _batch(tiny.stored(4))
  found = _gradients.pairwise_similarity(
    tiny.LINEAR, variables, batch, _normalise
  )
  cosines = []
  for label in range(3):
    single = [
      _gradient(variables, batch, label, slice(i, i + 1)) for i in range(4)
    ]
    for a, b in itertools.combinations(single, 2):
      cosines.append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
  np.testing.assert_allclose(found, np.mean(cosines), rtol=1e-4)
  assert 0 < found < 1


def test_equal_images_are_alike():
  variables = tiny.LINEAR.init(tiny.KEY)
  batch = _batch(jnp.repeat(tiny.stored(1), 3, axis=1))
  found = _gradients.pairwise_similarity(
    tiny.LINEAR, variables, batch, _normalise
  )
  np.testing.assert_allclose(found, 1, rtol=1e-5)


def test_networks_are_drawn_from_the_seed():
  def measure(key, data):
    return {'one': jax.random.normal(key) + data}

  first, same = (
    _loss.over_networks(measure, 3, 4, jnp.ones(())) for _ in range(2)
  )
  np.testing.assert_array_equal(first['one'], same['one'])
  assert first['one'].shape == (4,)
  assert len(set(first['one'].tolist())) == 4
