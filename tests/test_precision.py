"""Rounded operands of convolutions: how far off, and at every derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dcjax import networks
from dcjax.base import Network, Outputs, Variables

_SIZE = (6, 6, 3)


def _network(form, stride=1):
  """One convolution without bias; the logits are its sums."""

  def apply(variables, images, train):
    del train
    result = networks.convolve(
      images, variables.params, padding=1, stride=stride, form=form
    )
    return Outputs(jnp.tanh(result).sum((1, 2))), variables.state

  return Network(lambda key: Variables(None, {}), apply, 'one convolution')


def _numbers(network):
  """Logits, the kernel's gradient, and its distance's gradient in images."""
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.normal(size=(2, *_SIZE)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(3, 3, 3, 4)), jnp.float32)

  def logits(kernel, images):
    return network.apply(Variables(kernel, {}), images, True)[0].logits

  def gradient(images):
    return jax.grad(lambda k: (logits(k, images) ** 2).sum())(kernel)

  second = jax.grad(lambda x: (gradient(x) ** 2).sum())(images)
  return logits(kernel, images), gradient(images), second


def _off(numbers, exact):
  return [
    float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))
    for a, b in zip(numbers, exact, strict=True)
  ]


@pytest.mark.parametrize(
  ('form', 'stride'),
  [('hybrid', 1), ('patches', 1), ('lax', 1), ('hybrid', 2)],
)
def test_bfloat16_rounds_every_derivative(form, stride):
  network = _network(form, stride)
  exact = _numbers(network)
  rounded = _numbers(networks.with_precision(network, 'bfloat16'))
  assert all(r.dtype == jnp.float32 for r in rounded)
  for off in _off(rounded, exact):
    assert 1e-4 < off < 3e-2  # bfloat16 keeps eight bits


def test_bfloat16_rounds_the_blocks_of_lenet():
  network = networks.lenet((12, 12, 1), 3)
  variables = network.init(jax.random.key(0))
  images = jnp.asarray(
    np.random.default_rng(0).normal(size=(2, 12, 12, 1)), jnp.float32
  )

  def numbers(network):
    def logits(params, images):
      outputs, _ = network.apply(
        variables._replace(params=params), images, True
      )
      return outputs.logits

    def gradient(images):
      found = jax.grad(lambda p: (logits(p, images) ** 2).sum())
      return found(variables.params)['conv0']['kernel']

    second = jax.grad(lambda x: (gradient(x) ** 2).sum())(images)
    return logits(variables.params, images), gradient(images), second

  rounded = numbers(networks.with_precision(network, 'bfloat16'))
  assert all(r.dtype == jnp.float32 for r in rounded)
  for off in _off(rounded, numbers(network)):
    assert 1e-5 < off < 5e-2  # the layers after the blocks are exact


@pytest.mark.parametrize('precision', ['auto', 'float32', 'tensorfloat32'])
def test_other_precisions_are_exact_on_a_cpu(precision):
  network = _network('hybrid')
  rounded = _numbers(networks.with_precision(network, precision))
  assert max(_off(rounded, _numbers(network))) < 1e-6


def test_sums_stay_float32():
  """256 equal terms: a bfloat16 sum would stop growing, or jump by two."""
  images = jnp.full((1, 16, 16, 1), 1.0)
  network = networks.with_precision(_sum_of_pixels(), 'bfloat16')
  outputs, _ = network.apply(
    Variables(jnp.ones((16, 16, 1, 1)) * (1 + 2**-7), {}), images, True
  )
  assert float(outputs.logits[0, 0]) == 256 * (1 + 2**-7)


def _sum_of_pixels():
  def apply(variables, images, train):
    del train
    result = networks.convolve(images, variables.params, padding=0)
    return Outputs(result.reshape(1, 1)), variables.state

  return Network(lambda key: Variables(None, {}), apply, 'sum')


def test_nothing_is_left_behind():
  network = _network('hybrid')
  before = _numbers(network)
  _numbers(networks.with_precision(network, 'bfloat16'))
  assert max(_off(_numbers(network), before)) == 0


def test_unknown_precision():
  with pytest.raises(ValueError, match="precision 'int8': must be one of"):
    networks.with_precision(_network('lax'), 'int8')
