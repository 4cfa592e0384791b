"""Network, data and condenser so small that tests compile in moments."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

import dcjax
from dcjax import (
  condensing,
  formations,
  inner,
  objectives,
  optimizers,
  training,
)
from dcjax.base import Network, Outputs, Variables
from dcjax.data import sampling

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


def match(network, variables, target, synthetic, key, **options):
  """`dcjax.match` as one program: op by op, each would be compiled alone."""

  @jax.jit
  def program(variables, target, synthetic, key):
    return dcjax.match(network, variables, target, synthetic, key, **options)

  return program(variables, target, synthetic, key)


def assert_trees_equal(actual, expected):
  """Asserts that two pytrees agree bit for bit."""
  jax.tree.map(np.testing.assert_array_equal, actual, expected)


COUNTS = (9, 9, 9)
KEY = jax.random.key(0)
LINEAR = linear_network()
ALL = objectives.gradient_matching(tensors='all')
INNER_SGD = optimizers.sgd(0.1, momentum=0.9)


def inner_data(counts=COUNTS, shape=SHAPE, pool=None):
  """What inner loops draw from, and optionally pretrained networks."""
  return inner.InnerData(device_data(counts, shape), pool)


def train_on_real(counts=COUNTS, **options):
  """IDC's inner loop with the linear network and batches of four."""
  options = {'batch_size': 4, 'num_batches': 1, **options}
  return inner.train_on_real(
    LINEAR,
    INNER_SGD,
    num_images=sum(counts),
    num_classes=len(counts),
    **options,
  )


def condenser(counts=COUNTS, **options):
  """A linear network, SGD of rate 1, the stored images themselves."""
  defaults = {
    'formation': formations.identity(value_range=(None, None)),
    'objective': ALL,
    'source': condensing.real_batches(np.array(counts), 4),
    'inner': train_on_real(counts),
    'optimizer': optax.sgd(1.0),
    'inner_steps': 1,
  }
  return condensing.condenser(LINEAR, **{**defaults, **options})


def period(condenser, images, data=None, key=KEY):
  """State and metrics after one period from stored images."""
  data = data or inner_data()
  state = condenser.init(jax.random.key(1), {'images': images}, data)
  return jax.jit(condenser.period)(key, state, data)


def frozen(variables):
  """An inner loop with one network that never changes."""
  return inner.InnerLoop(
    lambda key, data: inner.InnerState(
      training.start_from(variables, INNER_SGD), ()
    ),
    lambda key, state, data: state,
    lambda key, state, data, synthetic: (state, {}),
  )
