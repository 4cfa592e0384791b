"""Two processes of four devices: end to end, one killed, both resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import runner
from PIL import Image

_ARGUMENTS = 'image_folder:size=16,smoke'
_CHANGES = {
  'outer': 3,
  'evaluation.at': (0.34,),  # a checkpoint after the first
  'evaluation.baselines': ('random',),
  'evaluation.epochs': 2,
  'evaluation.family': 'none',
  'evaluation.seeds': 1,
  'augment.family': 'none',  # most of what compiles
  'network': 'convnet:width=4:depth=1',
}


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
  """Eight classes of ten pictures of about 20 pixels."""
  folder = tmp_path_factory.mktemp('pictures')
  rng = np.random.default_rng(0)
  for name in 'abcdefgh':
    (folder / name).mkdir()
    for number in range(10):
      pixels = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
      Image.fromarray(pixels).save(folder / name / f'{number}.png')
  return folder


def _start(pictures, workdir):
  """Starts both processes; their output goes into files beside `workdir`."""
  environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '4'}
  command = [
    sys.executable,
    str(runner.RUN),
    f'--config=idc:{_ARGUMENTS}',
    f'--config.data_dir={pictures}',
    f'--workdir={workdir}',
    f'--coordinator=127.0.0.1:{runner.free_port()}',
    '--processes=2',
    *(f'--config.{name}={value}' for name, value in _CHANGES.items()),
  ]
  processes = []
  for number in range(2):
    with open(f'{workdir}.{number}.log', 'w') as log:
      processes.append(
        subprocess.Popen(
          [*command, f'--process={number}'],
          env=environment,
          stdout=log,
          stderr=subprocess.STDOUT,
        )
      )
  return processes


def _log(workdir, number):
  with open(f'{workdir}.{number}.log') as file:
    return file.read()


def _finish(processes, workdir, seconds=300):
  try:
    codes = [p.wait(timeout=seconds) for p in processes]
  finally:
    for process in processes:
      process.kill()
  assert codes == [0, 0], _log(workdir, 0)[-2000:] + _log(workdir, 1)[-2000:]


def _wait_for_text(path, text, processes, seconds=300):
  """Waits until a file that is always whole holds a text."""
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    assert all(p.poll() is None for p in processes)
    if path.exists() and text in path.read_text():
      return
    time.sleep(0.05)
  raise AssertionError(f'{path} holds no {text}')


@pytest.fixture(scope='module')
def finished(pictures, tmp_path_factory):
  """A run of two processes that nothing disturbed."""
  workdir = tmp_path_factory.mktemp('runs') / 'whole'
  _finish(_start(pictures, workdir), workdir)
  return workdir


def test_two_processes_condense_a_folder_of_pictures(finished):
  results = runner.outcome(finished)
  assert set(results[1]) == {'outer_1', 'condensed', 'random'}
  assert [outer for outer, _ in results[2]] == [1, 2, 3]
  for name in ('results.json', 'report.html', 'images.png'):
    assert (finished / name).stat().st_size > 0
  # One process speaks.
  assert 'condensed set:' in _log(finished, 0)
  assert 'condensed set:' not in _log(finished, 1)


def test_kill_one_and_resume_both(pictures, finished, tmp_path):
  """The other ends within a minute and says why; then, the same bytes."""
  workdir = tmp_path / 'killed'
  processes = _start(pictures, workdir)
  # Written after the first checkpoint.
  _wait_for_text(workdir / 'stages.json', 'evaluate/outer_1', processes)
  processes[1].send_signal(signal.SIGKILL)
  began = time.monotonic()
  assert processes[0].wait(timeout=60) != 0
  assert time.monotonic() - began < 60
  # Ours if a collective notices it, else that of JAX's coordination service.
  said = _log(workdir, 0)
  assert 'lost the others' in said or 'another task died' in said
  assert not (workdir / 'results.json').exists()
  _finish(_start(pictures, workdir), workdir)
  assert 'resuming condensing after' in _log(workdir, 0)
  assert runner.outcome(workdir) == runner.outcome(finished)


def test_one_process_goes_on_with_what_two_began(
  pictures, finished, tmp_path, capsys
):
  """Another number of devices reads the sharded checkpoint."""
  workdir = tmp_path / 'moved'
  shutil.copytree(finished, workdir)
  # As if it had been stopped after the first outer iteration.
  (workdir / 'results.json').unlink()
  file = workdir / 'stages.json'
  stages = json.loads(file.read_text())
  kept = {n: e for n, e in stages.items() if n in ('data', 'start')}
  file.write_text(json.dumps(kept))
  folder = workdir / 'checkpoints' / 'condense'
  steps = sorted(int(p.name) for p in folder.iterdir())
  for step in steps[1:]:
    shutil.rmtree(folder / str(step))
  changes = {n.replace('.', '__'): value for n, value in _CHANGES.items()}
  runner.run(workdir, _ARGUMENTS, data_dir=str(pictures), **changes)
  said = capsys.readouterr().out
  assert f'resuming condensing after {steps[0]} of 3' in said
  losses = [loss for _, loss in runner.outcome(workdir)[2]]
  expected = [loss for _, loss in runner.outcome(finished)[2]]
  np.testing.assert_allclose(losses, expected, rtol=1e-3)
