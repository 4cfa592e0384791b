"""Task-incremental learning, adaptation, search and membership as commands."""

import dataclasses
import json

import numpy as np
import published
import pytest
import runner

from dcjax import data
from dcjax.runs.applications import _shared


@pytest.fixture(scope='module')
def data_dir(tmp_path_factory):
  """Files of MNIST and, with other classes, of Fashion-MNIST."""
  folder = tmp_path_factory.mktemp('data')
  for name in ('mnist', 'fashion_mnist'):
    published.write_idx_set(folder / name, count=40)
  return str(folder)


def _run(folder, name, arguments, **changes):
  changes = {'sets__names': ('random',), **changes}
  return runner.run(folder, f'{arguments},network=mlp,smoke', name, **changes)


def _assert_nothing_is_repeated(folder, run, found):
  """A second run finds what it asks for, with the seconds of the first."""
  before = (folder / 'stages.json').read_bytes()
  np.testing.assert_equal(run(), found)
  assert (folder / 'stages.json').read_bytes() == before


def test_strategies_follow_the_set_and_what_it_is_like():
  digits = data.load('digits')
  for arguments, name, like in (
    ('image_folder,like=mnist', 'image_folder', 'mnist'),
    ('tfds:mnist:3.0.1', 'tfds:mnist:3.0.1', 'mnist'),
    ('mnist+fashion_mnist', 'fashion_mnist', 'fashion_mnist'),
    ('mnist+fashion_mnist,like=svhn', 'fashion_mnist', 'svhn'),
  ):
    config = runner.resolved(arguments, 'tasks').config
    one = dataclasses.replace(digits, name=name)
    assert _shared.like_of(config, one) == like


def test_task_incremental_learning(data_dir, tmp_path):
  def run():
    return _run(tmp_path, 'tasks', 'mnist+digits', data_dir=data_dir, seeds=1)

  matrices = run()
  assert list(matrices) == ['random', 'random, no distillation']
  for matrix in matrices.values():
    assert np.shape(matrix) == (1, 2, 2)
    assert np.isnan(matrix[0][0][1])
  assert matrices['random'][0][0] == pytest.approx(
    matrices['random, no distillation'][0][0], nan_ok=True
  )
  assert '+ digits' in (tmp_path / 'report.md').read_text()
  # No NaN, which JSON does not know.
  json.loads(
    (tmp_path / 'results.json').read_text(), parse_constant=pytest.fail
  )
  _assert_nothing_is_repeated(tmp_path, run, matrices)


def test_adaptation(data_dir, tmp_path):
  def run():
    return _run(tmp_path, 'adaptation', 'mnist+digits', data_dir=data_dir)

  found = run()
  assert list(found) == ['no adaptation', 'random']
  assert all(len(values) == 2 for values in found.values())
  assert (tmp_path / 'plot.svg').is_file()
  _assert_nothing_is_repeated(tmp_path, run, found)


@pytest.mark.parametrize(
  ('name', 'arguments', 'message'),
  [
    ('adaptation', 'mnist', 'two data sets'),
    ('tasks', 'digits', 'two or more different sets'),
    ('tasks', 'mnist+mnist', 'two or more different sets'),
    ('tasks', 'mnist+letters', "data 'letters': must be one of"),
    ('tasks', 'mnist+fashion_mnist', 'must be the same'),
  ],
)
def test_domains_must_fit(data_dir, tmp_path, name, arguments, message):
  with pytest.raises(ValueError, match=message):
    _run(tmp_path / 'run', name, arguments, data_dir=data_dir)
  assert not (tmp_path / 'run').exists()


def test_architecture_search(tmp_path):
  found = _run(tmp_path, 'search', 'digits')
  assert set(found) == {'random', 'whole'}
  assert found['whole']['regret'] == 0
  lines = (tmp_path / 'networks.csv').read_text().splitlines()
  assert len(lines) == 3
  assert lines[0] == 'network,random mean,random std,whole mean,whole std'
  _assert_nothing_is_repeated(
    tmp_path, lambda: _run(tmp_path, 'search', 'digits'), found
  )


def test_a_grid_that_cannot_be_built_is_heard_of_at_once(tmp_path):
  with pytest.raises(ValueError, match='halved'):
    _run(tmp_path / 'run', 'search', 'digits', grid__depth=(9,))
  assert not (tmp_path / 'run').exists()


def test_membership_inference(tmp_path):
  found = _run(tmp_path, 'membership', 'digits')
  assert list(found) == ['random', 'all members']
  for entry in found.values():
    assert np.shape(entry['rates']) == (2, 2)
    assert all(0 <= auc <= 1 for auc in entry['auc'])
  text = (tmp_path / 'report.md').read_text()
  assert 'TPR at 0.1% FPR' in text
  assert 'private' not in text.lower()


def test_members_and_others_are_disjoint_and_alike():
  digits = data.load('digits')
  members, others = data.halves(digits)
  np.testing.assert_array_equal(members.counts, digits.counts // 2)
  np.testing.assert_array_equal(members.labels, np.sort(members.labels))
  np.testing.assert_array_equal(members.counts, others.counts)
  seen = {image.tobytes() for image in members.images}
  assert not seen & {image.tobytes() for image in others.images}


def test_the_command_says_what_is_wrong_in_one_sentence(called, tmp_path):
  words = ('--config=continual:digits,smoke', '--config.steps=3')
  assert called(*words, f'--workdir={tmp_path / "run"}') == (
    2,
    '',
    'error: steps 3: must divide the 10 classes evenly\n',
  )
