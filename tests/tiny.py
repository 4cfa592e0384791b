"""A network and data so small that tests compile in moments."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Network, Outputs, Variables
from dcjax.data import _sampling as sampling

SHAPE = (4, 4, 1)


def linear_network(image_shape=SHAPE, num_classes=3):
  """One linear layer; the flattened images are the embedding."""
  size = math.prod(image_shape)

  def init(key):
    weight = 0.1 * jax.random.normal(key, (size, num_classes))
    return Variables({'bias': jnp.zeros(num_classes), 'weight': weight}, {})

  def apply(variables, images, train):
    del train
    flat = images.reshape(images.shape[0], -1)
    logits = flat @ variables.params['weight'] + variables.params['bias']
    return Outputs(logits, flat), variables.state

  return Network(init, apply, 'linear')


def images_and_labels(counts, shape=SHAPE, seed=0):
  """Noisy images whose row `label` is bright, classes in random order."""
  rng = np.random.default_rng(seed)
  labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
  images = rng.uniform(0.0, 0.4, (len(labels), *shape)).astype(np.float32)
  images[np.arange(len(labels)), labels] += 0.6
  return images, labels


def device_data(counts, shape=SHAPE, seed=0):
  """The same on the device, grouped by class."""
  return sampling.to_device(*images_and_labels(counts, shape, seed), 1.0)


def stored(ipc, num_classes=3, shape=SHAPE, seed=1):
  """Uniform noise `[num_classes, ipc, *shape]` to condense into."""
  rng = np.random.default_rng(seed)
  images = rng.uniform(size=(num_classes, ipc, *shape))
  return jnp.asarray(images, jnp.float32)


def assert_trees_equal(actual, expected):
  """Asserts that two pytrees agree bit for bit."""
  jax.tree.map(np.testing.assert_array_equal, actual, expected)
