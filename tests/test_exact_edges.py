"""What is stored, seen together or imported says so; its shape says nothing."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from flax import nnx

import dcjax
from dcjax import formations, losses, methods, networks, objectives, optimizers
from dcjax.base import Batch, Outputs

_STD = (0.2, 0.3, 0.4)


class _Coupled(nn.Module):
  """Normalises with the statistics of the batch and keeps none."""

  @nn.compact
  def __call__(self, images):
    x = nn.Conv(4, (3, 3))(images)
    x = (x - x.mean((0, 1, 2))) / (x.std((0, 1, 2)) + 1e-3)
    x = nn.relu(x).mean((1, 2))
    # Starts at zero, as heads may: what couples must be seen all the same.
    logits = nn.Dense(3, kernel_init=nn.initializers.zeros)(x)
    return Outputs(logits, x)


class _Alone(nn.Module):
  """As `_Coupled`, image by image."""

  @nn.compact
  def __call__(self, images):
    x = nn.Conv(4, (3, 3))(images)
    x = (x - x.mean((1, 2), keepdims=True)) / 2
    x = nn.relu(x).mean((1, 2))
    return Outputs(nn.Dense(3)(x), x)


class _CoupledNnx(nnx.Module):
  def __init__(self, rngs):
    self.linear = nnx.Linear(48, 3, rngs=rngs)

  def __call__(self, images):
    x = self.linear(images.reshape(images.shape[0], -1))
    return x - x.mean(0)


def _parted(monkeypatch):
  """Batches of 8 small images are then taken in two parts."""
  monkeypatch.setattr(losses, '_MOST_PIXELS', 1)
  monkeypatch.setattr(jax, 'device_count', lambda: 1)


@pytest.mark.parametrize(
  ('network', 'alone'),
  [
    (networks.from_linen(_Coupled(), (4, 4, 3)), False),
    (networks.from_nnx(lambda rngs: _CoupledNnx(rngs)), False),
    (networks.from_linen(_Alone(), (4, 4, 3)), True),
    (networks.from_linen(_Alone(), (4, 4, 3), independent=False), False),
    (networks.convnet((4, 4, 3), 3, depth=1, norm='batch'), False),
    (networks.convnet((4, 4, 3), 3, depth=1), True),
  ],
)
def test_networks_whose_images_see_each_other_are_found_out(network, alone):
  assert networks.images_are_independent(network, (4, 4, 3)) is alone
  answers = []

  @jax.jit
  def traced(images):
    answers.append(networks.images_are_independent(network, (4, 4, 3)))
    return images

  traced(jnp.zeros(3))
  assert answers == [alone]


@pytest.mark.parametrize('name', ['gradient', 'distribution'])
def test_a_stateless_coupled_network_is_matched_whole(monkeypatch, name):
  network = networks.from_linen(_Coupled(), (4, 4, 3))
  variables = network.init(tiny.KEY)
  variables = variables._replace(
    params=jax.tree.map(lambda p: p + 0.1, variables.params)
  )
  real, synthetic = (
    Batch(
      tiny.stored(n, 3, (4, 4, 3), seed),
      jnp.broadcast_to(jnp.eye(3)[:, None], (3, n, 3)),
    )
    for n, seed in ((8, 0), (4, 1))
  )
  objective = objectives.build({'name': name})

  def run():
    return jax.jit(
      lambda *args: dcjax.match(network, *args, objective=objective)[0]
    )(variables, real, synthetic, tiny.KEY)

  monkeypatch.setattr(jax, 'device_count', lambda: 2)
  whole = run()
  _parted(monkeypatch)
  np.testing.assert_allclose(run(), whole, rtol=1e-5)
  assert whole > 0


def _method(name, formation):
  options = {'inner_steps': 1, 'batch_real': 4}
  if name != 'dm':
    options['networks'] = methods.OnSynthetic(1)
  return getattr(methods, 'dc' if name == 'dsa' else name)(
    networks.convnet((8, 8, 3), 3, depth=1, width=4),
    formation,
    np.array(tiny.COUNTS),
    _STD,
    **options,
  )


@pytest.mark.parametrize('name', ['dm', 'dc', 'cafe'])
def test_a_decoder_is_condensed_beside_the_images(name):
  formation = formations.learnable(2, features=3, shrink=2)
  method = _method(name, formation)
  data = tiny.inner_data(shape=(8, 8, 3))
  params = formation.init(tiny.KEY, tiny.stored(1, 3, (8, 8, 3)))
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, metrics = jax.jit(method.period)(tiny.KEY, state, data)
  assert np.isfinite(metrics['loss']).all()
  assert np.any(after.params['images'] != params['images'])
  moved = jax.tree.map(
    lambda a, b: np.any(a != b), after.params['decoder'], params['decoder']
  )
  assert any(jax.tree.leaves(moved))


def test_a_codebook_is_condensed_with_the_units_of_its_own():
  formation = formations.codebook(3, (8, 8, 3), codes_dim=4, width=4)
  method = _method('dm', formation)
  data = tiny.inner_data(shape=(8, 8, 3))
  params = formation.init(tiny.KEY, jnp.zeros((3, 1, 8, 8, 3)))
  state = jax.jit(method.init)(tiny.KEY, params, data)
  after, _ = jax.jit(method.period)(tiny.KEY, state, data)
  assert np.any(after.params['codes'] != params['codes'])


def test_normalised_units_are_those_of_stored_images_alone():
  """Numbers whose last axis is as long as std's are no images."""
  optimizer = optimizers.in_normalised_units(
    optimizers.sgd(1.0, momentum=0.0), _STD, formations.identity().stored_images
  )
  params = {
    'images': jnp.ones((1, 1, 2, 2, 3)),
    'decoder': {'kernel': jnp.ones((3, 3, 3, 3))},
    'labels': jnp.ones((1, 1, 10)),
  }
  steps, _ = optimizer.update(params, optimizer.init(params), params)
  np.testing.assert_allclose(steps['images'][0, 0, 0, 0], -np.square(_STD))
  np.testing.assert_array_equal(steps['decoder']['kernel'], -1)
  np.testing.assert_array_equal(steps['labels'], -1)
  assert formations.codebook(3, (8, 8, 3)).stored_images == ()


def _aligned(array):
  """The same numbers where JAX could share them, as in torch's memory."""
  buffer = np.empty(array.nbytes + 64, np.uint8)
  start = -buffer.ctypes.data % 64
  copy = buffer[start : start + array.nbytes].view(array.dtype)
  copy = copy.reshape(array.shape)
  copy[...] = array
  return copy


@pytest.mark.parametrize('reader', ['from_torch_state', 'load_torch'])
def test_imported_weights_are_copies(reader):
  spec = {'name': 'convnet', 'depth': 1, 'width': 8}
  network = networks.build(spec, (8, 8, 3), 3)
  stored = networks.to_torch(network.init(tiny.KEY), spec, (8, 8, 3), 3)
  stored = {name: _aligned(array) for name, array in stored.items()}
  if reader == 'load_torch':
    variables = networks.load_torch(stored, spec, (8, 8, 3), 3)
  else:
    variables = networks.from_torch_state(network, stored, 'convnet')
  before = jax.tree.map(np.array, variables)
  for array in stored.values():
    array += 1
  tiny.assert_trees_equal(variables, before)
