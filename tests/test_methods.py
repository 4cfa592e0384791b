"""Recipes: DC, DSA and DM against the reference and direct computations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
import torch_layout

from dcjax import (
  formations,
  inner,
  matching,
  methods,
  networks,
  objectives,
  optimizers,
)
from dcjax.base import Batch

_STD = (0.5,)


def test_dm_loss_and_gradient_meet_the_reference(golden):
  data = golden('dm_loss_w16')
  network = networks.convnet((32, 32, 3), 10, width=16)
  weights = {n[2:]: data[n] for n in data if n.startswith('w/')}
  variables = networks.from_torch_state(network, weights, 'convnet')

  def batch(images):
    images = jnp.stack([torch_layout.images(i) for i in images])
    return Batch(images, jnp.zeros((*images.shape[:2], 10)))

  metrics, gradient = jax.jit(
    lambda real, fake: matching.match_and_gradient(
      network,
      variables,
      real,
      fake,
      jax.random.key(0),
      objective=objectives.distribution_matching(),
    )
  )(batch(data['x_real']), batch(data['x_syn']))
  np.testing.assert_allclose(metrics['loss'], data['loss'], rtol=1e-4)
  expected = jnp.stack([torch_layout.images(i) for i in data['dx']])
  np.testing.assert_allclose(
    gradient.images,
    expected,
    rtol=1e-3,
    atol=1e-5 * np.abs(expected).max(),
  )


def test_distribution_matching_needs_an_embedding():
  network = tiny.linear_network()
  blind = network._replace(
    apply=lambda *args: (
      network.apply(*args)[0]._replace(embedding=None),
      args[0].state,
    )
  )
  batch = Batch(tiny.stored(2), jnp.ones((3, 2, 3)) / 3)
  with pytest.raises(ValueError, match='exposes no embedding'):
    matching.match(
      blind,
      network.init(tiny.KEY),
      batch,
      batch,
      tiny.KEY,
      objective=objectives.distribution_matching(),
    )


@pytest.mark.parametrize(
  ('ipc', 'loops'),
  [(1, (1, 1)), (10, (10, 50)), (20, (20, 25)), (50, (50, 10)), (7, (7, 50))],
)
def test_dc_loops(ipc, loops):
  assert methods.dc_loops(ipc) == loops


def test_dc_loops_take_any_ipc_but_zero():
  assert methods.dc_loops(35) == (35, 20)
  assert methods.dc_loops(500) == (100, 2)
  with pytest.raises(ValueError, match='ipc 0'):
    methods.dc_loops(0)


def test_steps_in_normalised_units():
  mean, std = np.array([0.3, 0.6]), np.array([0.5, 0.25])
  stored = np.random.default_rng(0).normal(size=(3, 2, 4, 4, 2))
  target = np.zeros_like(stored)
  plain = optimizers.sgd(0.1, momentum=0.5)
  ours = optimizers.in_normalised_units(plain, std)

  def run(optimizer, images, gradient):
    state = optimizer.init(images)
    for _ in range(3):
      updates, state = optimizer.update(gradient(images), state, images)
      images = optax.apply_updates(images, updates)
    return images

  # The loss is a function of normalised images; ours sees it through [0, 1].
  normalised = run(plain, jnp.asarray(stored), lambda n: (n - target) ** 3)
  raw = run(
    ours,
    jnp.asarray(stored * std + mean),
    lambda x: ((x - mean) / std - target) ** 3 / std,
  )
  np.testing.assert_allclose((raw - mean) / std, normalised, rtol=2e-4)


@pytest.mark.parametrize('name', ['dc', 'dm'])
def test_a_period_of_each_recipe_moves_every_image(name):
  data = tiny.inner_data()
  options = {'networks': methods.OnSynthetic(2)} if name == 'dc' else {}
  method = getattr(methods, name)(
    tiny.LINEAR,
    formations.identity(),
    np.array(tiny.COUNTS),
    _STD,
    inner_steps=3,
    batch_real=4,
    **options,
  )
  params = {'images': tiny.stored(2)}
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, metrics = jax.jit(method.period)(tiny.KEY, state, data)
  assert metrics['loss'].shape == (3,)
  assert np.isfinite(metrics['loss']).all()
  moved = np.abs(after.params['images'] - params['images']).max((2, 3, 4))
  assert (moved > 0).all()
  assert jax.tree.structure(after) == jax.tree.structure(state)


def test_dc_trains_its_network_on_the_synthetic_set():
  images, labels = tiny.images_and_labels((4, 4, 4))
  order = np.argsort(labels, kind='stable')
  stored = jnp.asarray(images[order].reshape(3, 4, *tiny.SHAPE))
  labels = jnp.broadcast_to(jnp.eye(3)[:, None], (3, 4, 3))
  loop = inner.train_on_synthetic(
    tiny.LINEAR, optimizers.sgd(0.5, momentum=0.0), epochs=60, batch_size=5
  )
  state = loop.init(tiny.KEY, None)
  state, metrics = jax.jit(
    lambda state: loop.update(tiny.KEY, state, None, Batch(stored, labels))
  )(state)
  assert int(state.train.step) == 60 * 3
  outputs, _ = tiny.LINEAR.apply(
    state.variables, stored.reshape(-1, *tiny.SHAPE), False
  )
  answers = outputs.logits.argmax(-1).reshape(3, 4)
  np.testing.assert_array_equal(answers, np.arange(3)[:, None] * np.ones(4))
  assert float(metrics['loss']) < 1.1


def test_dm_draws_a_new_network_for_every_step():
  loop = inner.resample(tiny.LINEAR)
  state = loop.init(tiny.KEY, None)
  seen = [np.asarray(state.variables.params['weight'])]
  for step in range(2):
    key = jax.random.fold_in(tiny.KEY, step)
    state, _ = loop.update(key, state, None, None)
    seen.append(np.asarray(state.variables.params['weight']))
  assert not np.allclose(seen[0], seen[1])
  assert not np.allclose(seen[1], seen[2])
