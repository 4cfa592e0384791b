"""EDC from data to report in two processes of two devices, and on one."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import runner

import dcjax

pytestmark = pytest.mark.slow
_ONE = ('convnet:width=3:depth=1:norm=batch',)
_CHANGES = {
  'ipc': 4,
  'observers.matching': _ONE,
  'observers.labelling': _ONE,
  'observers.padding': 0,
  'batches.batch_size': 16,
  'labels.regime': 'stored',
  'evaluation.baselines': ('random',),
}


def _start(workdir):
  """Runs both processes to their end; returns what each said."""
  environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '2'}
  command = [
    sys.executable,
    str(runner.RUN),
    '--config=edc:digits,smoke',
    f'--workdir={workdir}',
    f'--coordinator=127.0.0.1:{runner.free_port()}',
    '--processes=2',
    *(f'--config.{name}={value}' for name, value in _CHANGES.items()),
  ]
  processes = [
    subprocess.Popen(
      [*command, f'--process={number}'],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for number in range(2)
  ]
  said = [process.communicate(timeout=600)[0] for process in processes]
  codes = [process.returncode for process in processes]
  assert codes == [0, 0], said[0][-2000:] + said[1][-2000:]
  return said


def test_two_processes_make_the_set_of_one_and_go_on(tmp_path):
  shared, alone = tmp_path / 'shared', tmp_path / 'alone'
  said = _start(shared)
  assert 'on 4 devices (4 class x 1 data) of 2 process(es)' in said[0]
  assert 'condensed set:' in said[0]
  assert 'condensed set:' not in said[1]
  flat = {name.replace('.', '__'): v for name, v in _CHANGES.items()}
  runner.run(alone, recipe='edc', **flat)
  one, two = (
    dcjax.load(path / 'condensed.npz').params['images']
    for path in (alone, shared)
  )
  np.testing.assert_allclose(one, two, atol=1e-4)
  whole = runner.outcome(shared)
  (shared / 'results.json').unlink()
  file = shared / 'stages.json'
  kept = ('data', 'start', 'observers/', 'statistics/')
  stages = json.loads(file.read_text())
  stages = {n: e for n, e in stages.items() if n.startswith(kept)}
  file.write_text(json.dumps(stages))
  folder = shared / 'checkpoints' / 'condense'
  steps = sorted(int(p.name) for p in folder.iterdir())
  shutil.rmtree(folder / str(steps[-1]))
  said = _start(shared)
  resumed = 'resuming synthesising after' in said[0]
  assert resumed == (len(steps) > 1)
  assert runner.outcome(shared) == whole
