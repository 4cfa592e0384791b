"""Winograd's form of a convolution against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import networks
from dcjax.networks import _winograd

_CHANNELS = 64


def _data(batch, height, width, *, channels=_CHANNELS, out=_CHANNELS):
  keys = jax.random.split(jax.random.key(0), 3)
  images = jax.random.normal(keys[0], (batch, height, width, channels))
  kernel = jax.random.normal(keys[1], (3, 3, channels, out)) / channels
  direction = jax.random.normal(keys[2], kernel.shape)
  return images, kernel, direction


def _all_orders(form, padding, images, kernel, direction):
  def first(images, kernel):
    def loss(images, kernel):
      result = networks.convolve(images, kernel, padding=padding, form=form)
      return jnp.sum(jnp.sin(result))

    return jax.grad(loss, (0, 1))(images, kernel)

  def second(images, kernel):
    by_images, by_kernel = first(images, kernel)
    return jnp.vdot(by_kernel, direction) + jnp.sum(by_images**2)

  return (
    networks.convolve(images, kernel, padding=padding, form=form),
    first(images, kernel),
    jax.grad(second, (0, 1))(images, kernel),
  )


def _count(text, name):
  return text.count(f'{name}[')


@pytest.mark.parametrize('padding', [0, 1, 2])
def test_all_orders_agree_with_the_plain_form(padding, monkeypatch):
  monkeypatch.setattr(_winograd, '_BLOCK', 3 * 12 * _CHANNELS)
  data = _data(7, 5, 8)  # odd rows; seven images in blocks of a few
  run = jax.jit(_all_orders, static_argnums=(0, 1))
  for x, y in zip(
    jax.tree.leaves(run('winograd', padding, *data)),
    jax.tree.leaves(run('lax', padding, *data)),
    strict=True,
  ):
    scale = float(jnp.abs(y).max())
    np.testing.assert_allclose(x, y, rtol=0, atol=4e-6 * scale)


@pytest.mark.parametrize('axes', [(0, None), (None, 0), (0, 0)])
def test_vmap_equals_one_by_one(axes):
  images, kernel, _ = _data(8, 6, 6)
  images, kernel = jnp.stack([images, 2 - images]), jnp.stack([kernel, -kernel])

  def both(images, kernel):
    def loss(kernel):
      result = networks.convolve(images, kernel, padding=1, form='winograd')
      return jnp.sum(result**2), result

    return jax.grad(loss, has_aux=True)(kernel)

  chosen = [
    x if axis == 0 else x[0]
    for x, axis in zip((images, kernel), axes, strict=True)
  ]
  together = jax.jit(jax.vmap(both, axes))(*chosen)
  for i in range(2):
    alone = jax.jit(both)(
      *(x if a is None else x[i] for x, a in zip(chosen, axes, strict=True))
    )
    jax.tree.map(
      lambda x, y, i=i: np.testing.assert_allclose(
        x[i], y, rtol=1e-4, atol=1e-3
      ),
      together,
      alone,
    )


def test_vmap_over_classes_and_networks():
  images, kernel, _ = _data(8, 6, 6)
  images, kernel = jnp.stack([images, 2 - images]), jnp.stack([kernel, -kernel])

  def run(form):
    def one(images, kernel):
      return networks.convolve(images, kernel, padding=1, form=form)

    classes = jax.vmap(one, (0, None))
    return jax.jit(jax.vmap(classes, (None, 0)))(images, kernel)

  np.testing.assert_allclose(run('winograd'), run('lax'), atol=2e-5)


@pytest.mark.parametrize(
  ('batch', 'channels', 'stride', 'taken'),
  [
    (8, _CHANNELS, 1, True),
    (1, _CHANNELS, 1, False),  # transforming the kernel would cost more
    (8, _CHANNELS - 1, 1, False),
    (8, _CHANNELS, 2, False),
  ],
)
def test_only_wide_layers_of_many_images_take_it(
  batch, channels, stride, taken
):
  images, kernel, _ = _data(batch, 6, 6, channels=channels)
  traced = {
    form: str(
      jax.make_jaxpr(
        lambda x, k, form=form: networks.convolve(
          x, k, padding=1, stride=stride, form=form
        )
      )(images, kernel)
    )
    for form in ('winograd', 'hybrid')
  }
  products = {form: _count(t, 'dot_general') for form, t in traced.items()}
  plain = {
    form: _count(t, 'conv_general_dilated') for form, t in traced.items()
  }
  if taken:
    assert products['winograd'] > 0
    assert plain == {'winograd': 0, 'hybrid': 1}
  else:
    assert products['winograd'] == products['hybrid']
    assert plain['winograd'] == plain['hybrid']


def test_bfloat16_does_not_take_it():
  images, kernel, _ = _data(8, 6, 6)
  images, kernel = images.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
  traced = str(
    jax.make_jaxpr(
      lambda x, k: networks.convolve(x, k, padding=1, form='winograd')
    )(images, kernel)
  )
  assert _count(traced, 'conv_general_dilated') == 1
