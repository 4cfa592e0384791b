"""What the command line and a failing run say, in one sentence."""

import sys
import types

import numpy as np
import pytest
import runner

_CONFIG = f'--config={runner.CONFIG}:digits,smoke'


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
  """Returns a function that starts `run.py` and gives its one line."""
  run = runner.module('run')
  # Other tests may hold flags that this program has, too.
  monkeypatch.setattr(run.logging, 'set_verbosity', lambda level: None)

  def start(*words):
    argv = ['run.py', *words, f'--workdir={tmp_path}/run']
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(SystemExit) as caught:
      run.main(run.parse(argv))
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (tmp_path / 'run').exists()
    return line.removeprefix('error: ')

  return start


@pytest.mark.parametrize(
  ('word', 'message'),
  [
    ('ipc=1.5', "config field 'ipc': is '1.5', must be a whole number"),
    ('seed=one', "config field 'seed': is 'one', must be a whole number"),
    (
      'images.momentum=a: b',
      "config field 'images.momentum': is 'a', must be a number",
    ),
    (
      'images.sweep=3',
      "config field 'images.sweep': is '3', must be true or false",
    ),
    (
      'evaluation.at=a,b(',
      "config field 'evaluation.at': is 'a,b(', must be a tuple such as "
      "'(0.5, 1)'",
    ),
    (
      'init=3',
      "config field 'init': is '3', must be set by its fields, or a dict of "
      'them',
    ),
  ],
)
def test_values_of_another_type(refused, word, message):
  assert refused(_CONFIG, f'--config.{word}') == message


def test_a_config_file_that_is_not_there(refused, tmp_path):
  for words in (['--config=nope.py'], ['--config', 'nope.py:digits']):
    line = refused(*words, '--config.ipc=1')
    assert line.startswith("config 'nope.py': is no file; ")
    assert 'dm.py' in line
    assert 'common.py' not in line
  assert refused(f'--config={tmp_path}').startswith('config ')


def test_a_missing_library(refused, monkeypatch):
  experiment = runner.module('experiment')

  def fail(*arguments, **options):
    raise ImportError("needs h5py: pip install 'dcjax[usps]'.")

  monkeypatch.setattr(experiment, 'run', fail)
  assert refused(_CONFIG) == "needs h5py: pip install 'dcjax[usps]'."


def test_a_smaller_rate_may_follow_one_that_explodes(tmp_path):
  changes = dict(
    data__options__size=8,
    evaluation__at=(),
    evaluation__baselines=(),
    evaluation__seeds=1,
  )
  workdir = tmp_path / 'run'
  with pytest.raises(ValueError, match=r'try a smaller one$'):
    runner.run(workdir, **changes, images__learning_rate=3e38)
  assert not list(workdir.iterdir())
  config = runner.config(**changes, images__learning_rate=0.1)
  runner.module('workdir').Workdir(str(workdir), config, [])


@pytest.mark.parametrize(
  ('loss', 'stored', 'what'),
  [
    ([1.0, np.inf], 0.0, 'loss is not finite at outer iteration 3, step 2'),
    ([1.0], np.nan, 'condensed set is not finite at outer iteration 3, step 1'),
  ],
)
def test_an_explosion_after_a_checkpoint(loss, stored, what):
  outer_loop = runner.module('outer_loop')
  state = types.SimpleNamespace(params={'images': np.array([stored])})
  parts = types.SimpleNamespace(learning_rate=1.0)
  message = f'{what} .*a smaller one in another --workdir'
  with pytest.raises(ValueError, match=message):
    outer_loop._check_finite({'outer': 3}, state, {'loss': loss}, parts, 2)
