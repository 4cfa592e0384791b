"""A run that was killed or stopped ends with the bytes of one that was not."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import runner

import dcjax
from dcjax import runs

# An inner loop whose networks go on from iteration to iteration.
_ARGUMENTS = 'digits:size=8,smoke,network=mlp'
_SETTINGS = dict(
  outer=6,
  evaluation__at=(0.34, 0.67),
  evaluation__seeds=1,
  evaluation__baselines=('random',),
)


def run(workdir, **changes):
  return runner.run(workdir, _ARGUMENTS, **_SETTINGS | changes)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Returns the folder of a run that nothing interrupted."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  run(workdir)
  return workdir


def _signal_when(workdir, number, reached):
  """Starts a run, sends a signal once something is reached; returns its end."""
  changes = [
    f'--config.{field.replace("__", ".")}={value}'
    for field, value in _SETTINGS.items()
  ]
  config = f'--config={runner.CONFIG}:{_ARGUMENTS}'
  process = subprocess.Popen(
    [sys.executable, runner.RUN, config, f'--workdir={workdir}', *changes],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 300
  while process.poll() is None and not reached():
    assert time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(number)
  _, said = process.communicate(timeout=300)
  return process.returncode, said


def _lines(workdir):
  file = workdir / 'metrics.jsonl'
  return len(file.read_text().splitlines()) if file.exists() else 0


def test_killed_and_stopped_processes_resume_to_the_same_bytes(
  tmp_path, whole, monkeypatch
):
  workdir = tmp_path / 'run'
  second = workdir / 'checkpoints' / 'condense' / '2'
  code, _ = _signal_when(workdir, signal.SIGKILL, second.exists)
  assert code == -signal.SIGKILL
  code, said = _signal_when(
    workdir, signal.SIGINT, lambda: _lines(workdir) >= 4
  )
  condensed = workdir / 'condensed.npz'
  assert code == 130
  assert 'the same command goes on from here' in said
  assert not condensed.exists()
  with open(workdir / 'metrics.jsonl', 'a') as file:
    file.write('{"outer": 7, "lo')  # a line that a kill cut short
  code, said = _signal_when(workdir, signal.SIGTERM, condensed.exists)
  assert code == 130
  assert len(said.splitlines()) == 1
  assert not (workdir / 'results.json').exists()
  # The last one writes to what knows no '±', which is no reason to fail.
  stream = io.TextIOWrapper(io.BytesIO(), encoding='ascii')
  monkeypatch.setattr(sys, 'stdout', stream)
  results = run(workdir)
  assert b' ? ' in stream.buffer.getvalue()
  assert runner.outcome(workdir) == runner.outcome(whole)
  assert set(results['evaluations']) == {'condensed', 'random'}
  assert [p['outer'] for p in results['checkpoints']] == [2, 4, 6]
  assert not list(workdir.rglob('*.tmp'))


@pytest.fixture
def finished(tmp_path, whole):
  """Returns a copy of a finished run, to go on with."""
  shutil.copytree(whole, tmp_path / 'run')
  return tmp_path / 'run'


def test_a_finished_run_says_so_and_writes_nothing(finished, capsys):
  before = {f: f.stat().st_mtime_ns for f in finished.rglob('*')}
  results = run(finished)
  assert results == runner.results(finished)
  said = capsys.readouterr().out
  assert said == f'finished already: see {finished / "report.html"}\n'
  assert {f: f.stat().st_mtime_ns for f in finished.rglob('*')} == before


def test_other_evaluations_are_added_and_nothing_else_is_made(finished, whole):
  before = runner.stages(finished)
  results = run(finished, evaluation__epochs=3)
  assert results['evaluations']['condensed']['epochs'] == 3
  after = runner.stages(finished)
  for name in ('data', 'start', 'condense'):
    assert after[name] == before[name]
  assert runner.metrics(finished) == runner.metrics(whole)
  params = dcjax.load(finished / 'condensed.npz').params
  np.testing.assert_array_equal(
    params['images'], dcjax.load(whole / 'condensed.npz').params['images']
  )
  # The first ones are still there, and all is as it was.
  again = run(finished)
  assert again['evaluations'] == runner.results(whole)['evaluations']
  file = 'condensed.npz'
  assert (finished / file).read_bytes() == (whole / file).read_bytes()


def test_a_stopped_evaluation_is_made_again(finished, whole, monkeypatch):
  for name in ('results.json', 'stages.json'):
    (finished / name).unlink()
  from dcjax.runs import _evaluate

  update = _evaluate.Progress.update

  def terminating(self, done, note=''):
    update(self, done, note)
    os.kill(os.getpid(), signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(_evaluate.Progress, 'update', terminating)
    with pytest.raises(runs.Interrupted, match='while evaluating condensed; '):
      run(finished)
  assert 'condensed' not in runner.evaluations(finished)
  run(finished)
  condensed, evaluations, losses = runner.outcome(finished)
  expected = runner.outcome(whole)
  assert (condensed, losses) == (expected[0], expected[2])
  assert evaluations['condensed'] == expected[1]['condensed']
