"""Pools of pretrained networks: trained, stored, found again, used."""

import jax
import numpy as np
import pytest
import runner

from dcjax import networks

builder = runner.module('builder')
pretrain = runner.module('pretrain')


@pytest.fixture(scope='module')
def parts():
  return builder.build(runner.config('digits,smoke'))


@pytest.fixture(scope='module')
def pool(parts):
  return pretrain.train(parts, 2, 3, jax.random.key(0))


def test_pool_round_trip_and_use(parts, pool, tmp_path):
  path = tmp_path / 'pools' / 'pool.npz'
  pretrain.save(path, pool)
  loaded = pretrain.load(path, parts.network)
  jax.tree.map(np.testing.assert_array_equal, loaded, pool)
  kernel = np.asarray(pool.params['conv0']['kernel'])
  assert kernel.shape[0] == 2
  assert not np.array_equal(kernel[0], kernel[1])
  config = runner.config('digits,smoke')
  config.inner.pool = str(path)
  data = builder.build(config).inner_data
  jax.tree.map(np.testing.assert_array_equal, data.pool, pool)


def test_a_missing_pool_names_the_command(parts, tmp_path):
  with pytest.raises(ValueError, match=r'no such file.*pretrain\.py'):
    pretrain.load(tmp_path / 'none.npz', parts.network)


def test_a_pool_of_another_network_or_a_damaged_one(parts, pool, tmp_path):
  path = tmp_path / 'pool.npz'
  pretrain.save(path, pool)
  other = networks.convnet(parts.dataset.image_shape, 10, width=8, depth=2)
  with pytest.raises(ValueError, match='another network'):
    pretrain.load(path, other)
  path.write_bytes(path.read_bytes()[:-200])
  with pytest.raises(ValueError, match='damaged'):
    pretrain.load(path, parts.network)
