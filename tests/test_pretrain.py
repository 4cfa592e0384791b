"""Pools of pretrained networks: trained, resumed, stored, found again, used."""

import shlex
import sys

import jax
import numpy as np
import pytest
import runner
import tiny
from absl import flags
from ml_collections import config_flags

from dcjax import networks

builder = runner.module('builder')
pretrain = runner.module('pretrain')
_KEY = jax.random.key(0)


def _config(**changes):
  plain = {'augment__train': 'none', 'augment__cutmix': 0.0}
  changes = {**plain, 'inner__batch_size': 400, **changes}
  return runner.config('digits,smoke,network=mlp', **changes)


def _weights(pool):
  return np.asarray(jax.tree.leaves(pool.params)[-1])


@pytest.fixture(scope='module')
def parts():
  return builder.build(_config())


@pytest.fixture(scope='module')
def pool(parts):
  return pretrain.train(parts, 2, 2, _KEY)


def test_pool_round_trip_and_use(parts, pool, tmp_path):
  path = tmp_path / 'pools' / 'pool.npz'
  pretrain.save(path, pool)
  loaded = pretrain.load(path, parts.network)
  tiny.assert_trees_equal(loaded, pool)
  weights = _weights(pool)
  assert weights.shape[0] == 2
  assert not np.array_equal(weights[0], weights[1])
  data = builder.build(_config(inner__pool=str(path))).inner_data
  tiny.assert_trees_equal(data.pool, pool)


def test_an_interrupted_training_goes_on_bit_for_bit(parts, pool, tmp_path):
  folder = tmp_path / 'unfinished'
  first = pretrain.train(parts, 2, 1, _KEY, folder)
  assert not np.array_equal(_weights(first), _weights(pool))
  tiny.assert_trees_equal(pretrain.train(parts, 2, 2, _KEY, folder), pool)
  slower = parts._replace(config=_config(inner__learning_rate=0.001))
  with pytest.raises(ValueError, match=r'unfinished: holds .* other settings'):
    pretrain.train(slower, 2, 2, _KEY, folder)


def test_pools_are_made_where_the_config_looks_for_them(tmp_path, capsys):
  path = tmp_path / 'pool.npz'
  config = _config(inner__pool=str(path))
  with pytest.raises(ValueError, match=r'pool\.npz: no such file; make it'):
    pretrain.require(config)
  assert pretrain.make(config, 1, 1) == path
  pretrain.require(config)
  assert list(tmp_path.iterdir()) == [path]
  made = path.stat().st_mtime_ns
  pretrain.make(config, 1, 1)
  assert path.stat().st_mtime_ns == made
  assert 'finished already' in capsys.readouterr().out
  with pytest.raises(ValueError, match='--pool: must name a file'):
    pretrain.make(_config(), 1, 1)


def _parsed(command, monkeypatch):
  """The config that `pretrain.py` would see, and its other flag."""
  monkeypatch.chdir(runner.EXPERIMENTS.parent)
  words = shlex.split(command)[1:]
  monkeypatch.setattr(sys, 'argv', words)  # config_flags looks there, too
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, '', flag_values=values)
  flags.DEFINE_string('pool', '', '', flag_values=values)
  values(words)
  return values.config, values.pool


@pytest.mark.parametrize(
  ('arguments', 'changes'),
  [
    ('imagenet100,ipc=20', {}),
    ('image_folder,like=imagenet100,size=64', {'data__dir': 'my data'}),
    (
      'cifar10,schedule=short,network=resnet18:norm=batch',
      {'seed': 3, 'inner__learning_rate': 0.02, 'augment__cutmix': 0.25},
    ),
    ('image_folder', {'data__options__classes': ('ant', 'bee')}),
  ],
)
def test_the_command_of_a_missing_pool_is_exact(
  arguments, changes, tmp_path, monkeypatch
):
  path = str(tmp_path / 'none here.npz')
  config = runner.config(arguments, inner__pool=path, **changes)
  with pytest.raises(ValueError, match='no such file; make it') as caught:
    pretrain.require(config)
  command = str(caught.value).partition('make it with ')[2]
  found, pool = _parsed(command, monkeypatch)
  assert pool == path
  assert found.data.to_dict() == config.data.to_dict()
  assert found.network.to_dict() == config.network.to_dict()
  for field in pretrain._FIELDS:
    assert pretrain._flat(found)[field] == pretrain._flat(config)[field]


def test_a_pool_of_another_network_or_a_damaged_one(parts, pool, tmp_path):
  path = tmp_path / 'pool.npz'
  with pytest.raises(ValueError, match='no such file'):
    pretrain.load(path, parts.network)
  pretrain.save(path, pool)
  other = networks.convnet(parts.dataset.image_shape, 10, width=8, depth=2)
  with pytest.raises(ValueError, match='another network'):
    pretrain.load(path, other)
  path.write_bytes(path.read_bytes()[:-200])
  with pytest.raises(ValueError, match='damaged'):
    pretrain.load(path, parts.network)
