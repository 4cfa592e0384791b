"""CAFE: the objective against NumPy, the recipe and its config."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import runner
import tiny
import traced

from dcjax import formations, matching, methods, networks, objectives
from dcjax.base import Batch

_NETWORK = networks.convnet((8, 8, 1), 3, width=4, depth=2)
_ONE_HOT = np.eye(3, dtype=np.float32)[:, None]


def _batch(per_class, seed, shape=(8, 8, 1), weights=None):
  rng = np.random.default_rng(seed)
  images = rng.normal(size=(3, per_class, *shape)).astype(np.float32)
  labels = np.broadcast_to(_ONE_HOT, (3, per_class, 3))
  return Batch(jnp.asarray(images), jnp.asarray(labels), weights)


_APPLY = jax.jit(_NETWORK.apply, static_argnums=2)


def _layers(variables, batch, place):
  """Python loop: per class, block outputs and embedding as `[N, features]`."""
  found = []
  for images in batch.images:
    outputs, _ = _APPLY(variables, images, True)
    blocks = outputs.unpooled if place == 'before_pooling' else outputs.taps
    layers = (*blocks, outputs.embedding)
    found.append([np.float64(x).reshape(len(images), -1) for x in layers])
  return found


def _expected(real, fake, weights, last_weight, discrimination):
  layers = 0.0
  for r, f in zip(real, fake, strict=True):
    distances = [
      np.sum((a.mean(0) - b.mean(0)) ** 2) for a, b in zip(r, f, strict=True)
    ]
    layers += np.dot(weights, distances) + last_weight * distances[-1]
  centres = np.stack([f[-1].mean(0) for f in fake])
  apart = 0.0
  for label, r in enumerate(real):
    for embedding in r[-1]:
      logits = centres @ embedding
      top = logits.max()
      apart += top + np.log(np.exp(logits - top).sum()) - logits[label]
  return layers, discrimination * apart


@pytest.mark.parametrize(
  ('options', 'weights'),
  [
    ({}, (0.1, 1.0, 1.0)),
    (
      {
        'layer_weights': (3.0, 2.0),
        'last_weight': 0.5,
        'discrimination': 0.2,
        'layers': 'after_pooling',
      },
      (3.0, 3.0, 2.0),
    ),
    ({'layer_weights': (0.0,), 'last_weight': 0.0}, (0.0, 0.0, 0.0)),
  ],
)
def test_loss_is_that_of_numpy(options, weights):
  variables = _NETWORK.init(jax.random.key(0))
  real, fake = _batch(4, 0), _batch(2, 1)
  objective = objectives.cafe_matching(**options)
  loss, metrics = jax.jit(
    lambda *args: matching.match(_NETWORK, *args, objective=objective)
  )(variables, real, fake, tiny.KEY)
  layers, apart = _expected(
    *(
      _layers(variables, batch, options.get('layers', 'before_pooling'))
      for batch in (real, fake)
    ),
    weights,
    options.get('last_weight', 1.0),
    options.get('discrimination', 0.01),
  )
  np.testing.assert_allclose(metrics['layers'], layers, rtol=1e-4)
  np.testing.assert_allclose(metrics['discrimination'], apart, rtol=1e-4)
  np.testing.assert_allclose(loss, layers + apart, rtol=1e-4)
  assert apart > 0.1  # else the comparison means nothing


def _loss(real, fake, **options):
  """Of the linear network, whose embedding is the image itself."""
  objective = objectives.cafe_matching(**options)
  return jax.jit(
    lambda *args: matching.match(tiny.LINEAR, *args, objective=objective)[0]
  )(tiny.LINEAR.init(tiny.KEY), real, fake, tiny.KEY)


def test_gradient_is_the_analytic_one_and_none_is_in_real_images():
  real, fake = _batch(4, 0, tiny.SHAPE), _batch(2, 1, tiny.SHAPE)
  into_real, into_fake = jax.grad(
    lambda r, f: _loss(real._replace(images=r), fake._replace(images=f)),
    (0, 1),
  )(real.images, fake.images)
  assert not np.any(into_real)

  seen, made = (np.float64(b.images).reshape(3, -1, 16) for b in (real, fake))
  centres = made.mean(1)
  logits = seen @ centres.T
  wrong = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True) - _ONE_HOT
  into_centres = -4 * (seen.mean(1) - centres)  # weights 1 and 1, squared
  into_centres += 0.01 * np.einsum('cnk,cnf->kf', wrong, seen)
  expected = np.broadcast_to(into_centres[:, None] / 2, (3, 2, 16))
  np.testing.assert_allclose(
    into_fake.reshape(3, 2, 16), expected, rtol=1e-4, atol=1e-6
  )


def test_weights_leave_padding_out():
  real, fake = _batch(4, 0, tiny.SHAPE), _batch(3, 1, tiny.SHAPE)
  short = [
    Batch(real.images[:, :3], real.labels[:, :3]),
    Batch(fake.images[:, :2], fake.labels[:, :2]),
  ]
  padded = [
    real._replace(weights=jnp.array([[1.0, 1, 1, 0]] * 3)),
    fake._replace(weights=jnp.array([[1.0, 1, 0]] * 3)),
  ]
  np.testing.assert_allclose(_loss(*padded), _loss(*short), rtol=1e-5)
  assert not np.isclose(_loss(real, fake), _loss(*short), rtol=1e-3)


def test_equal_images_leave_only_discrimination():
  same = _batch(3, 0, tiny.SHAPE)
  assert float(_loss(same, same, discrimination=0.0)) < 1e-10  # rounding
  assert float(_loss(same, same)) > 0.01


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'layer_weights': ()}, 'layer_weights .*at least one'),
    ({'layer_weights': (1.0, -1.0)}, 'layer_weights -1.0: must be at least 0'),
    ({'last_weight': -0.5}, 'last_weight -0.5: must be at least 0'),
    ({'discrimination': float('nan')}, 'discrimination nan: must be'),
  ],
)
def test_bad_weights(options, message):
  with pytest.raises(ValueError, match=message):
    objectives.build({'name': 'cafe', **options})


def test_needs_an_embedding():
  def apply(*args):
    outputs, state = tiny.LINEAR.apply(*args)
    return outputs._replace(embedding=None), state

  same = _batch(2, 0, tiny.SHAPE)
  with pytest.raises(ValueError, match="'linear' exposes no embedding"):
    matching.match(
      tiny.LINEAR._replace(apply=apply),
      tiny.LINEAR.init(tiny.KEY),
      same,
      same,
      tiny.KEY,
      objective=objectives.cafe_matching(),
    )


def test_rate_is_halved_three_times():
  rate = methods.cafe_learning_rate(0.8, 2000)
  steps = [0, 1199, 1200, 1599, 1600, 1799, 1800, 2000]
  np.testing.assert_allclose(
    [rate(s) for s in steps], [0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1]
  )
  with pytest.raises(ValueError, match='steps 0: must be at least 1'):
    methods.cafe_learning_rate(0.8, 0)


def test_a_period_brings_images_to_the_real_means():
  data = tiny.inner_data()
  method = methods.cafe(
    tiny.LINEAR,
    formations.identity(),
    np.array(tiny.COUNTS),
    (0.5,),
    learning_rate=methods.cafe_learning_rate(0.1, 60),
    inner_steps=60,
    networks=methods.OnSynthetic(epochs=2),
    batch_real=9,
  )
  params = {'images': tiny.stored(2)}
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, metrics = jax.jit(method.period)(tiny.KEY, state, data)
  assert metrics['layers'].shape == (60,)
  assert metrics['layers'][-1] < 0.05 * metrics['layers'][0]
  assert metrics['network_loss'][-1] < metrics['network_loss'][0]
  moved = np.abs(after.params['images'] - params['images']).max((2, 3, 4))
  assert (moved > 0).all()
  assert int(after.inner.train.step) == 60 * 2


def test_config_has_the_published_settings():
  made = runner.resolved('cifar10,ipc=10', 'cafe').config
  assert (made.outer, made.method.batch_real) == (2000, 256)
  assert (made.method.learning_rate, made.method.momentum) == (0.1, 0.5)
  assert made.method.decay == 'halved'
  assert made.method.network_learning_rate == 0.01
  assert made.augment.family == 'dsa'
  assert (made.start, made.clip) == ('normal', False)
  packed = runner.resolved('cifar10,ipc=10,factor=2', 'cafe').config
  assert (packed.factor, packed.start) == (2, 'mix')


def test_multi_formation_and_siamese_augmentation_trace():
  built = runner.built('digits,smoke,factor=2', 'cafe', ipc=2)
  assert 'color_crop_cutout' in built.strategies['match']
  found = traced.period(built)
  assert found.params['images'].shape == (10, 2, 16, 16, 1)
  assert found.metrics['loss'].shape == (2,)
  assert jax.tree.map(jnp.shape, found.after.params) == {
    'images': (10, 2, 16, 16, 1)
  }
