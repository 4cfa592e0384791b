"""A run that was stopped anywhere ends with the bytes of one that was not."""

import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import pytest
import runner

_SETTINGS = dict(
  data__options__size=8,
  schedule__outer=6,
  evaluation__at=(0.34, 0.67),
  evaluation__seeds=1,
  evaluation__baselines=('random',),
)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """Returns the folder of a run that nothing interrupted."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  runner.run(workdir, **_SETTINGS)
  return workdir


def _assert_same(workdir, whole):
  condensed, evaluations, losses = runner.outcome(workdir)
  expected = runner.outcome(whole)
  assert condensed == expected[0]
  assert evaluations == expected[1]
  assert losses == expected[2]


def _command(workdir):
  changes = [
    f'--config.{field.replace("__", ".")}={value}'
    for field, value in _SETTINGS.items()
  ]
  config = f'--config={runner.CONFIG}:digits,smoke'
  return [sys.executable, runner.RUN, config, f'--workdir={workdir}', *changes]


def _signal_when(workdir, number, reached):
  """Starts a run, sends a signal once something is reached; returns its end."""
  cache = {
    'JAX_COMPILATION_CACHE_DIR': jax.config.jax_compilation_cache_dir,
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.5',
  }
  process = subprocess.Popen(
    _command(workdir),
    env={**os.environ, **cache},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  deadline = time.monotonic() + 300
  while process.poll() is None and not reached():
    assert time.monotonic() < deadline
    time.sleep(0.005)
  process.send_signal(number)
  process.wait(300)
  with process.stdout, process.stderr:
    return process.returncode, process.stderr.read()


def _lines(workdir):
  file = workdir / 'metrics.jsonl'
  return len(file.read_text().splitlines()) if file.exists() else 0


def test_killed_and_stopped_processes_resume(tmp_path, whole):
  workdir = tmp_path / 'run'
  code, _ = _signal_when(workdir, signal.SIGKILL, lambda: _lines(workdir) >= 1)
  assert code == -signal.SIGKILL
  fourth = workdir / 'checkpoints' / '4'
  code, _ = _signal_when(workdir, signal.SIGKILL, fourth.exists)
  assert code == -signal.SIGKILL
  condensed = workdir / 'condensed.npz'
  assert not condensed.exists()
  code, said = _signal_when(
    workdir, signal.SIGINT, lambda: _lines(workdir) >= 5
  )
  assert code == 130
  assert 'the same command goes on from here' in said
  code, said = _signal_when(workdir, signal.SIGTERM, condensed.exists)
  assert code == 130
  assert 'stopped while evaluating' in said
  assert 'the same command goes on from here' in said
  assert len(said.splitlines()) == 1
  assert not (workdir / 'results.json').exists()
  runner.run(workdir, **_SETTINGS)
  _assert_same(workdir, whole)


def _terminate_in(patch, title):
  """Sends SIGTERM when the bar of this title moves for the first time."""
  progress = runner.module('evaluations').Progress
  update = progress.update

  def terminating(self, done, note=''):
    update(self, done, note)
    if self._title == title:
      os.kill(os.getpid(), signal.SIGTERM)

  patch.setattr(progress, 'update', terminating)


def test_stopped_evaluations_resume(tmp_path, whole):
  """Neither waits for the rest of the evaluation, and both are repeated."""
  workdir = tmp_path / 'run'
  stopped = runner.module('workdir').Interrupted
  for name in ('outer_2', 'initial'):
    with pytest.MonkeyPatch.context() as patch:
      _terminate_in(patch, f'evaluating {name}')
      with pytest.raises(stopped, match=f'while evaluating {name}; the same'):
        runner.run(workdir, **_SETTINGS)
    evaluated = workdir / 'evaluations.json'
    assert not evaluated.exists() or name not in evaluated.read_text()
  runner.run(workdir, **_SETTINGS)
  _assert_same(workdir, whole)


class _Killed(BaseException):
  """Stands for the end of the process: nothing in the runner catches it."""


def _die(patch, place, name, when=lambda *arguments: True, after=False):
  """Makes `place.name` end the run when `when(*arguments)`."""
  original = getattr(place, name)

  def dying(*arguments, **options):
    if when(*arguments) and not after:
      raise _Killed
    result = original(*arguments, **options)
    if when(*arguments):
      raise _Killed
    return result

  patch.setattr(place, name, dying)


def test_run_resumes_from_every_kind_of_place(tmp_path, whole):
  workdir = tmp_path / 'run'
  folder = runner.module('workdir').Workdir
  stages, experiment = runner.module('stages'), runner.module('experiment')
  saved = runner.module('checkpoint').Checkpoints
  third = lambda self, record: record['outer'] == 3  # noqa: E731
  second = lambda self, step, *rest: step == 2  # noqa: E731
  random = lambda self, name, entry: name == 'random'  # noqa: E731
  for place, name, when, after in (
    (saved, 'save', second, False),
    (saved, 'save', second, True),
    (folder, 'append_metrics', third, True),
    (experiment.artefact, 'save', lambda *_: True, True),
    (folder, 'add_evaluation', random, False),
    (stages, 'show', lambda *_: True, False),
  ):
    with pytest.MonkeyPatch.context() as patch:
      _die(patch, place, name, when, after)
      with pytest.raises(_Killed):
        runner.run(workdir, **_SETTINGS)
    assert not (workdir / 'results.json').exists()
  with open(workdir / 'metrics.jsonl', 'a') as file:
    file.write('{"outer": 7, "lo')  # a line that a kill cut short
  runner.run(workdir, **_SETTINGS)
  _assert_same(workdir, whole)


def test_damaged_checkpoint_is_named_and_the_one_before_works(tmp_path, whole):
  workdir = tmp_path / 'run'
  shutil.copytree(whole, workdir)
  for name in ('results.json', 'condensed.npz', 'evaluations.json'):
    (workdir / name).unlink()
  newest = workdir / 'checkpoints' / '6'
  files = [f for f in newest.rglob('*') if f.is_file()]
  largest = max(files, key=lambda f: f.stat().st_size)
  content = bytearray(largest.read_bytes())
  content[len(content) // 2] ^= 255
  largest.write_bytes(bytes(content))
  message = f'checkpoint {newest} .*; delete that folder to go on from'
  with pytest.raises(ValueError, match=message) as caught:
    runner.run(workdir, **_SETTINGS)
  assert '\n' not in str(caught.value)
  shutil.rmtree(newest)
  runner.run(workdir, **_SETTINGS)
  condensed, evaluations, losses = runner.outcome(workdir)
  expected = runner.outcome(whole)
  assert (condensed, losses) == (expected[0], expected[2])
  for name in ('outer_4', 'condensed', 'initial', 'random'):
    assert evaluations[name] == expected[1][name]


def test_second_request_stops_at_once(tmp_path):
  module = runner.module('workdir')
  folder = module.Workdir(str(tmp_path), runner.config(), [])
  before = signal.getsignal(signal.SIGINT)
  with folder.graceful_stop() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.asked
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
  assert signal.getsignal(signal.SIGINT) is before
