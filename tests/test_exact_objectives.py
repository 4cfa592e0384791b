"""CAFE and G-VBSM's densification against what the published codes compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_layout

import dcjax
from dcjax import networks, objectives
from dcjax.base import Batch


def _by_class(array, labels, classes):
  """`[N, D, H, W]` with as many images of each class -> `[C, n, H, W, D]`."""
  images = torch_layout.images(array)
  return jnp.stack([images[labels == c] for c in range(classes)])


def _flat(images, labels, classes):
  """The gradient `[C, n, H, W, D]` in the reference's order and layout."""
  result = np.empty((len(labels), *images.shape[2:]), np.float32)
  for c in range(classes):
    result[labels == c] = images[c]
  return np.moveaxis(result, -1, 1)


@pytest.fixture(scope='module')
def cafe(golden):
  """Golden file, its network's variables, and a matching function."""
  file = golden('cafe_16x3')
  network = networks.convnet((16, 16, 3), 4, width=8)
  weights = {k[2:]: v for k, v in file.items() if k.startswith('w/')}
  variables = networks.from_torch_state(network, weights, 'convnet')

  def batch(side):
    images = _by_class(file[f'x_{side}'], file[f'y_{side}'], 4)
    shape = (4, images.shape[1], 4)
    return Batch(images, jnp.broadcast_to(jnp.eye(4)[:, None], shape))

  real, synthetic = batch('real'), batch('syn')

  def run(**options):
    objective = objectives.cafe_matching(**options)

    def loss(images):
      return dcjax.match(
        network,
        variables,
        real,
        synthetic._replace(images=images),
        jax.random.key(0),
        objective=objective,
      )

    (value, metrics), gradient = jax.jit(
      jax.value_and_grad(loss, has_aux=True)
    )(synthetic.images)
    return value, metrics, _flat(np.asarray(gradient), file['y_syn'], 4)

  return file, run


def _close(gradient, expected):
  np.testing.assert_allclose(
    gradient, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
  )


def test_cafe_is_the_published_codes(cafe):
  file, run = cafe
  value, metrics, gradient = run()
  np.testing.assert_allclose(value, file['loss'], rtol=1e-5)
  np.testing.assert_allclose(
    metrics['layers'], file['layers_loss'] + file['last_distance'], rtol=1e-5
  )
  np.testing.assert_allclose(
    metrics['discrimination'], 0.01 * file['discrimination_sum'], rtol=1e-5
  )
  _close(gradient, file['dx'])
  *_, gradient = run(discrimination=0)
  _close(gradient, file['dx_layers'])


@pytest.mark.parametrize('layer', range(4))
def test_every_layer_of_cafe_is_the_published_codes(cafe, layer):
  file, run = cafe
  weights = tuple(np.eye(4)[layer])
  value, *_ = run(layer_weights=weights, last_weight=0, discrimination=0)
  np.testing.assert_allclose(value, file['layer_distances'][layer], rtol=1e-5)


def test_cafe_behind_the_pooling_is_an_option(cafe):
  file, run = cafe
  options = {'last_weight': 0, 'discrimination': 0, 'layers': 'after_pooling'}
  value, *_ = run(layer_weights=(0, 1, 0, 0), **options)
  np.testing.assert_allclose(
    value, file['after_pooling_distances'][1], rtol=1e-5
  )


def _densification(images):
  return jax.jit(jax.value_and_grad(objectives.densification))(images)


@pytest.mark.parametrize('scale', ['0_02', '0_05'])
def test_densification_is_the_published_codes(golden, scale):
  file = golden('gvbsm_densification_32x3')
  factor = float(scale.replace('_', '.'))
  images = factor * _by_class(file['x'], file['y'], 2)
  value, gradient = _densification(images)
  np.testing.assert_allclose(value, file[f'scale{scale}_loss'], rtol=1e-3)
  np.testing.assert_allclose(
    np.linalg.norm(gradient), file[f'scale{scale}_dx_norm'], rtol=1e-2
  )
  for c in range(2):
    np.testing.assert_allclose(
      objectives.densification(images[c : c + 1]),
      file[f'scale{scale}_per_class'][c],
      rtol=1e-3,
    )
  found = _flat(np.asarray(gradient), file['y'], 2)
  if scale == '0_02':
    found, expected = found[0], file['scale0_02_dx_first']
  else:
    expected = file['scale0_05_dx']
  np.testing.assert_allclose(
    found, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max()
  )


def test_densification_is_off_for_images_far_apart(golden):
  file = golden('gvbsm_densification_32x3')
  value, gradient = _densification(_by_class(file['x'], file['y'], 2))
  assert 0 <= value < 1e-6
  assert np.linalg.norm(gradient) < 1e-6
  file = golden('gvbsm_densification_real_like_32x3')
  value, gradient = _densification(_by_class(file['x'], file['y'], 2))
  assert abs(value) < 1e-6
  assert np.linalg.norm(gradient) < 1e-6


def test_densification_averages_large_images_down(golden):
  file = golden('gvbsm_densification_64x3')
  value, gradient = _densification(_by_class(file['x'], file['y'], 1))
  np.testing.assert_allclose(value, file['loss'], rtol=1e-3)
  expected = file['dx']
  np.testing.assert_allclose(
    np.moveaxis(gradient[0], -1, 1),
    expected,
    rtol=1e-2,
    atol=1e-3 * np.abs(expected).max(),
  )


def test_densification_averages_any_side_as_adaptive_pooling():
  images = np.random.default_rng(0).normal(size=(1, 2, 40, 28, 1))
  images = (0.05 * images).astype(np.float32)
  pooled = np.stack(
    [
      images[:, :, i * 40 // 32 : -(-(i + 1) * 40 // 32)].mean(2)
      for i in range(32)
    ],
    axis=2,
  )
  np.testing.assert_allclose(
    objectives.densification(jnp.asarray(images)),
    objectives.densification(jnp.asarray(pooled)),
    rtol=1e-3,
  )
