"""Statistics of observers and the losses in them, against plain NumPy."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import tiny_observer

from dcjax import augment, networks, statistics
from dcjax.base import Batch

_SHAPE = tiny_observer.SHAPE
_COUNTS = (5, 3, 6)
_PATCH = 4


@pytest.fixture(scope='module')
def observer():
  return tiny_observer.observer()


@pytest.fixture(scope='module')
def collected(observer):
  data = tiny.device_data(_COUNTS, _SHAPE)
  targets = statistics.collect(
    *observer, data, 3, key=tiny.KEY, augment=augment.identity, batch_size=4
  )
  return data, targets


def _inputs(network, variables, images):
  return tiny_observer.jit(lambda v, x: networks.layer_inputs(network, v, x))(
    variables, images
  )


def _patches(x, size=_PATCH):
  """The pixels of each patch position, `[positions, everything else]`."""
  b, h, w, c = x.shape
  up = (b, -(-h // size) * size, -(-w // size) * size, c)
  x = np.asarray(jax.image.resize(x, up, 'bilinear', antialias=False))
  return np.stack(
    [
      x[:, r : r + size, s : s + size].ravel()
      for r in range(0, up[1], size)
      for s in range(0, up[2], size)
    ]
  )


def _assert_layer(layer, x):
  """Statistics of the input `x [B, h, w, c]` of one layer."""
  x = np.asarray(x, np.float64)
  close = dict(rtol=2e-4, atol=2e-6)
  np.testing.assert_allclose(layer.channel.mean, x.mean((0, 1, 2)), **close)
  np.testing.assert_allclose(layer.channel.variance, x.var((0, 1, 2)), **close)
  if layer.patch is not None:
    flat = _patches(x)
    np.testing.assert_allclose(layer.patch.mean, flat.mean(1), **close)
    np.testing.assert_allclose(layer.patch.variance, flat.var(1), **close)


def test_pooled_statistics_are_those_of_all_pixels():
  rng = np.random.default_rng(0)
  inputs = OrderedDict(
    a=rng.normal(2, 3, (4, 5, 7, 3)).astype(np.float32),
    b=rng.normal(size=(4, 8, 8, 2)).astype(np.float32),
  )

  @tiny_observer.jit
  def measure(inputs):
    measured = statistics.image_statistics(inputs, {'b'}, _PATCH)
    weights = jnp.array([1.0, 1.0, 0.0, 1.0])
    pooled = statistics.pool(measured), statistics.pool(measured, weights)
    return measured, *pooled

  measured, batch, weighted = measure(inputs)
  assert measured['a'].patch is None
  assert measured['b'].patch.mean.shape == (4, 4)
  for name, x in inputs.items():
    _assert_layer(batch[name], x)
    _assert_layer(weighted[name], x[[0, 1, 3]])


def test_class_statistics_equal_brute_force(observer, collected):
  data, targets = collected
  inputs = _inputs(*observer, data.images)
  assert list(targets.classes) == ['conv', 'norm']
  for name, x in inputs.items():
    for c in range(3):
      of_class = jax.tree.map(lambda leaf, c=c: leaf[c], targets.classes[name])
      _assert_layer(of_class, x[np.asarray(data.labels) == c])


def test_batches_do_not_change_class_statistics(observer, collected):
  data, targets = collected
  at_once = statistics.collect(
    *observer, data, 3, key=tiny.KEY, augment=augment.identity, batch_size=99
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
    at_once.classes,
    targets.classes,
  )
  inputs = _inputs(*observer, data.images)
  _assert_layer(at_once.whole['conv'], inputs['conv'])


def test_global_statistics_average_those_of_batches(observer):
  network, variables = observer
  images, labels = tiny.images_and_labels((4, 3, 3), _SHAPE)
  parts = statistics.collector(
    network, _SHAPE, 3, class_variance='within', batch_norm='measured'
  )
  state = parts.init(variables)
  cuts = (slice(0, 4), slice(4, 10))
  for cut in cuts:
    batch = Batch(jnp.asarray(images[cut]), jax.nn.one_hot(labels[cut], 3))
    state = tiny_observer.jit(parts.update)(state, variables, batch)
  targets = parts.finish(state, variables)
  inputs = _inputs(network, variables, images)
  for name, x in inputs.items():
    x = np.asarray(x)
    expected = 0.4 * x[:4].var((0, 1, 2)) + 0.6 * x[4:].var((0, 1, 2))
    np.testing.assert_allclose(
      targets.whole[name].channel.variance, expected, rtol=1e-4
    )
    within = np.stack([x[labels == c].var((1, 2)).mean(0) for c in range(3)])
    np.testing.assert_allclose(
      targets.classes[name].channel.variance, within, rtol=1e-4
    )


def test_batch_norm_targets_are_its_running_statistics(observer, collected):
  network, variables = observer
  running = variables.state['batch_stats']['norm']
  alone = statistics.running_statistics(network, variables, _SHAPE)
  assert list(alone) == ['norm']
  for layer in (alone['norm'], collected[1].whole['norm']):
    np.testing.assert_array_equal(layer.channel.mean, running['mean'])
    np.testing.assert_array_equal(layer.channel.variance, running['var'])


def test_layers_can_be_chosen(observer):
  network, _ = observer
  assert list(statistics.observed_layers(network, _SHAPE)) == ['conv', 'norm']
  only = statistics.observed_layers(network, _SHAPE, 'convolution')
  assert list(only) == ['conv']
  with pytest.raises(ValueError, match="layers 'dense': must be one of"):
    statistics.observed_layers(network, _SHAPE, 'dense')


def test_a_class_without_images_is_an_error(observer):
  network, variables = observer
  parts = statistics.collector(network, _SHAPE, 3)
  state = parts.init(variables)._replace(counts=np.array([2, 1, 0]))
  with pytest.raises(ValueError, match='class 2: has no image'):
    parts.finish(state, variables)


def test_an_observer_of_other_data_is_an_error(observer):
  network, variables = observer
  for shape, classes in ((_SHAPE, 4), ((6, 6, 3), 3)):
    other = tiny_observer.network(classes, shape=shape)
    with pytest.raises(ValueError, match='has shape'):
      statistics.check_observer(other, variables, shape, classes)
  with pytest.raises(ValueError, match='tells 3 classes apart'):
    statistics.check_observer(network, variables, _SHAPE, 4)
  with pytest.raises(ValueError, match='other entries'):
    statistics.check_observer(network, variables._replace(state={}), _SHAPE, 3)


@pytest.mark.parametrize(
  'options', [{'class_variance': 'x'}, {'batch_norm': 'x'}, {'patch_size': 0}]
)
def test_options_are_checked(observer, options):
  with pytest.raises(ValueError, match=next(iter(options))):
    statistics.collector(observer[0], _SHAPE, 3, **options)
