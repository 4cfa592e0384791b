"""Task-incremental learning, adaptation, search and membership as commands."""

import subprocess
import sys

import numpy as np
import pytest
import runner

from dcjax import data

adaptation = runner.module('adaptation')
builder = runner.module('builder')
domains = runner.module('domains')
membership = runner.module('membership')
search = runner.module('search')
small_sets = runner.module('small_sets')
tasks = runner.module('tasks')


@pytest.fixture
def two_styles(monkeypatch):
  """Digits stand in for MNIST; inverted, for USPS."""

  def load(config):
    digits = data.load('digits')
    name = config.data.name
    change = {'mnist': lambda x: x, 'usps': lambda x: 255 - x}[name]
    return data.from_arrays(
      change(digits.images),
      digits.labels,
      change(digits.test_images),
      digits.test_labels,
      name=name,
      class_names=digits.class_names,
    )

  real = builder.load_dataset
  monkeypatch.setattr(
    builder,
    'load_dataset',
    lambda config: real(config) if config.data.name == 'npz' else load(config),
  )


def _config(name, arguments, **changes):
  return runner.config(
    f'{arguments},network=mlp,smoke', f'applications.{name}', **changes
  )


def test_task_incremental_learning(two_styles, tmp_path):
  config = _config('tasks', 'mnist+usps', memories=('random',), seeds=1)
  matrices = tasks.run(config, tmp_path)
  assert list(matrices) == ['random', 'random, no distillation']
  for matrix in matrices.values():
    assert np.shape(matrix) == (1, 2, 2)
    assert np.isnan(matrix[0][0][1])
  assert matrices['random'][0][0] == pytest.approx(
    matrices['random, no distillation'][0][0], nan_ok=True
  )
  assert '+ usps' in (tmp_path / 'report.md').read_text()
  # All is recorded: nothing trains again.
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tasks.applications, 'task_incremental', None)
    again = tasks.run(config, tmp_path)
  np.testing.assert_array_equal(again['random'], matrices['random'])


def test_adaptation(two_styles, tmp_path):
  config = _config('adaptation', 'mnist+usps', methods=('random',), seeds=2)
  found = adaptation.run(config, tmp_path)
  assert list(found) == ['no adaptation', 'random']
  assert all(len(values) == 2 for values in found.values())
  assert (tmp_path / 'bars.png').is_file()
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(adaptation.applications, 'teach', None)
    assert adaptation.run(config, tmp_path) == found


def test_domains_must_fit(two_styles, monkeypatch, tmp_path):
  with pytest.raises(ValueError, match='two data sets'):
    adaptation.run(_config('adaptation', 'mnist'), tmp_path)
  with pytest.raises(ValueError, match='two different ones'):
    tasks.run(_config('tasks', 'mnist+mnist'), tmp_path)
  with pytest.raises(ValueError, match="data set 'letters'"):
    tasks.run(_config('tasks', 'mnist+letters'), tmp_path)
  digits = builder.load_dataset(runner.config('digits', data__name='mnist'))
  fewer = small_sets.only_classes(digits, range(9))
  monkeypatch.setattr(
    builder,
    'load_dataset',
    lambda config: digits if config.data.name == 'mnist' else fewer,
  )
  with pytest.raises(ValueError, match='must be the same'):
    tasks.run(_config('tasks', 'mnist+usps'), tmp_path)


def test_architecture_search(tmp_path):
  config = _config('search', 'digits', proxies=('random',))
  found = search.run(config, tmp_path)
  assert set(found) == {'random', 'whole'}
  assert found['whole']['regret'] == 0
  lines = (tmp_path / 'networks.csv').read_text().splitlines()
  assert len(lines) == 3
  assert lines[0] == 'network,random mean,random std,whole mean,whole std'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(search.evaluation, 'evaluate', None)
    assert str(search.run(config, tmp_path)) == str(found)
  with pytest.raises(ValueError, match='halved'):
    search.run(_config('search', 'digits', grid__depth=(9,)), tmp_path / 'a')
  with pytest.raises(ValueError, match='grid'):
    _config('search', 'digits,grid=huge')


def test_membership_inference(tmp_path):
  config = _config('membership', 'digits', methods=('random',))
  found = membership.run(config, tmp_path)
  assert list(found) == ['random', 'all members']
  for entry in found.values():
    assert np.shape(entry['rates']) == (2, 2)
    assert all(0 <= auc <= 1 for auc in entry['auc'])
  text = (tmp_path / 'report.md').read_text()
  assert 'TPR at 0.1% FPR' in text
  assert 'private' not in text.lower()


def test_members_and_others_are_disjoint_and_alike():
  digits = data.load('digits')
  members, others = membership.halves(digits)
  np.testing.assert_array_equal(members.counts, digits.counts // 2)
  np.testing.assert_array_equal(members.labels, np.sort(members.labels))
  np.testing.assert_array_equal(members.counts, others.counts)
  seen = {image.tobytes() for image in members.images}
  assert not seen & {image.tobytes() for image in others.images}


def test_the_command_says_what_is_wrong_in_one_sentence(tmp_path):
  script = runner.EXPERIMENTS / 'continual.py'
  config = runner.EXPERIMENTS / 'configs' / 'applications' / 'continual.py'
  result = subprocess.run(
    [
      sys.executable,
      str(script),
      f'--config={config}:digits,smoke',
      f'--workdir={tmp_path / "run"}',
      '--config.steps=3',
    ],
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert result.returncode == 2
  assert result.stderr.strip().splitlines()[-1] == (
    'error: steps 3: must divide the 10 classes evenly'
  )
