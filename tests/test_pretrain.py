"""Pools of pretrained networks: trained, resumed, found again, used."""

import jax
import numpy as np
import pytest
import runner
import tiny
from stopping import StopWhen

from dcjax.runs import Interrupted, _networks, _pipelines, _stage
from dcjax.runs._folder import Folder, Stop
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import Work


def _built(**changes):
  plain = {'augment__train': 'none', 'augment__train_mix': 'none'}
  small = {'method__pool_networks': 2, 'method__pool_epochs': 2}
  changes = {**plain, **small, 'method__network_batch_size': 400, **changes}
  return runner.built('digits:size=8,smoke,network=mlp', **changes)


def _make(path, built, store=None, stop=None):
  """Runs the stages up to the pool; returns the pool."""
  folder = Folder(path, {})
  with folder.owned():
    work = Work(folder, stop or Stop(), Outlook(), store)
    stages = [_pipelines.data_stage(built), _networks.pool_stage(built, work)]
    return _stage.run(stages, work)('pool')


@pytest.fixture(scope='module')
def built():
  return _built()


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  return tmp_path_factory.mktemp('store')


@pytest.fixture(scope='module')
def pool(built, store, tmp_path_factory):
  return _make(tmp_path_factory.mktemp('first') / 'run', built, store)


def _weights(pool):
  return np.asarray(jax.tree.leaves(pool.params)[-1])


def test_networks_of_a_pool_differ_and_another_run_finds_them(
  built, pool, store, tmp_path
):
  assert _weights(pool).shape[0] == 2
  assert not np.array_equal(*_weights(pool))
  found = _make(tmp_path, built, store)
  tiny.assert_trees_equal(found, pool)
  assert jax.tree.structure(found) == jax.tree.structure(pool)
  assert not (tmp_path / 'checkpoints').exists()


def test_an_interrupted_training_goes_on_bit_for_bit(built, pool, tmp_path):
  with pytest.raises(Interrupted, match='training pool after epoch 1 of 2'):
    _make(tmp_path, built, stop=StopWhen(tmp_path, 'checkpoints/pool'))
  tiny.assert_trees_equal(_make(tmp_path, built), pool)


def test_what_a_pool_depends_on_is_in_its_key(built):
  def settings(**changes):
    return _networks.pool_stage(_built(**changes), None).settings

  usual = settings()
  assert settings(outer=7, ipc=3, evaluation__epochs=9) == usual
  for changes in (
    {'method__network_learning_rate': 0.001},
    {'method__pool_networks': 3},
    {'method__pool_epochs': 1},
    {'augment__train_mix': 'cutmix'},
    {'seed': 1},
  ):
    assert settings(**changes) != usual
