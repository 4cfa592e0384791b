"""Flax modules of all kinds as networks."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

from dcjax import networks

_SHAPE = (4, 4, 1)
_IMAGES = np.random.default_rng(0).uniform(size=(6, *_SHAPE)).astype('float32')
_KEY = jax.random.key(0)


class _Plain(nn.Module):
  """Has no `train`."""

  @nn.compact
  def __call__(self, images):
    return nn.Dense(3)(images.reshape(images.shape[0], -1))


class _Dropped(nn.Module):
  norm: bool = False

  @nn.compact
  def __call__(self, images, train: bool):
    x = images.reshape(images.shape[0], -1)
    if self.norm:
      x = nn.BatchNorm(use_running_average=not train)(x)
    return nn.Dense(3)(nn.Dropout(0.5, deterministic=not train)(x))


class _Nnx(nnx.Module):
  """Takes `train`, and has its own random stream."""

  def __init__(self, rngs):
    self.drop = nnx.Dropout(0.5, rngs=rngs)
    self.linear = nnx.Linear(16, 3, rngs=rngs)

  def __call__(self, images, train=None):
    assert train is not None
    x = self.drop(images.reshape(images.shape[0], -1), deterministic=not train)
    return self.linear(x)


def _logits(network, variables, train):
  outputs, state = jax.jit(network.apply, static_argnums=2)(
    variables, _IMAGES, train
  )
  return np.asarray(outputs.logits), variables._replace(state=state)


def test_a_linen_module_without_train():
  network = networks.from_linen(_Plain(), _SHAPE)
  variables = network.init(_KEY)
  trained, after = _logits(network, variables, True)
  tested, _ = _logits(network, variables, False)
  assert trained.shape == (6, 3)
  np.testing.assert_array_equal(trained, tested)
  assert after.state == {}


@pytest.mark.parametrize('norm', [False, True])
@pytest.mark.parametrize('init', ['module', 'torch'])
def test_dropout_of_a_linen_module(norm, init):
  network = networks.from_linen(_Dropped(norm), _SHAPE, init=init, dropout=True)
  variables = network.init(_KEY)
  first, following = _logits(network, variables, True)
  again, _ = _logits(network, variables, True)
  second, last = _logits(network, following, True)
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, second)
  assert set(last.state) == {'dropout', *(['batch_stats'] if norm else [])}
  assert jax.tree.structure(last) == jax.tree.structure(variables)
  tested, unchanged = _logits(network, following, False)
  assert not np.allclose(tested, second)
  jax.tree.map(np.testing.assert_array_equal, unchanged, following)
  other = network.init(jax.random.key(1)).state['dropout']['key']
  assert not np.array_equal(other, variables.state['dropout']['key'])


def test_dropout_that_was_not_asked_for():
  network = networks.from_linen(_Dropped(), _SHAPE, name='mine')
  variables = network.init(_KEY)
  assert _logits(network, variables, False)[0].shape == (6, 3)
  with pytest.raises(ValueError, match=r"network 'mine' .*dropout=True"):
    network.apply(variables, _IMAGES, True)


def test_an_nnx_module_with_train_and_dropout():
  network = networks.from_nnx(lambda rngs: _Nnx(rngs))
  variables = network.init(_KEY)
  first, following = _logits(network, variables, True)
  second, _ = _logits(network, following, True)
  assert not np.allclose(first, second)
  tested = [_logits(network, v, False)[0] for v in (variables, following)]
  np.testing.assert_array_equal(*tested)
