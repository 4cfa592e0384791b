"""The examples run as they say; `own_data.py` is run by `test_docs`."""

import pathlib
import re
import runpy
import sys

_EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / 'examples'


def test_match_gradient_lowers_the_loss(monkeypatch, capsys):
  path = str(_EXAMPLES / 'match_gradient.py')
  monkeypatch.setattr(sys, 'argv', [path, '6'])
  names = runpy.run_path(path)
  said = capsys.readouterr().out
  losses = [float(loss) for loss in re.findall(r'loss ([\d.]+)', said)]
  assert len(losses) == 6
  assert losses[-1] < 0.8 * losses[0]
  images = names['images']
  assert images.shape == (10, 1, 16, 16, 1)
  assert 0 <= images.min() < images.max() <= 1


def test_kernel_regression_learns_digits(monkeypatch, capsys):
  path = str(_EXAMPLES / 'kernel_regression.py')
  words = 'digits --ipc 1 --labels --batch 50 --at 0 40'
  monkeypatch.setattr(sys, 'argv', [path, *words.split()])
  runpy.run_path(path, run_name='__main__')
  said = capsys.readouterr().out
  found = [float(a) for a in re.findall(r'^step \d+: ([\d.]+)', said, re.M)]
  assert len(found) == 2
  assert found[0] + 10 < found[1]
  assert found[1] > 80


def test_match_gradient_stays_short():
  text = (_EXAMPLES / 'match_gradient.py').read_text(encoding='utf-8')
  code = text.split('"""')[2]
  assert sum(bool(line.strip()) for line in code.splitlines()) <= 30


def _run(monkeypatch, capsys, name, *arguments):
  path = str(_EXAMPLES / name)
  monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
  runpy.run_path(path, run_name='__main__')
  return capsys.readouterr().out


def test_distil_unrolled_learns_and_goes_on(monkeypatch, capsys, tmp_path):
  arguments = ['--data', 'digits', '--network', 'mlp', '--steps', 1]
  arguments += ['--passes', 2, '--batch', 29, '--initialisation', 'known']
  arguments += ['--state', tmp_path / 'state.pkl', '--epochs']
  for epochs in (120, 160):
    said = _run(monkeypatch, capsys, 'distil_unrolled.py', *arguments, epochs)
    found = re.findall(r'step (\d+): .* test ([\d.]+) \+-', said)
    # What was done before is not done again.
    assert [int(step) for step, _ in found] == [{120: 590, 160: 767}[epochs]]
    assert float(found[0][1]) > 40


def test_match_trajectories_lowers_the_loss(monkeypatch, capsys):
  said = _run(
    monkeypatch,
    capsys,
    'match_trajectories.py',
    *('--data', 'digits', '--width', 8, '--experts', 2, '--steps', 8),
    *('--starts', 1, '--iterations', 50, '--epochs', 3),
  )
  losses = [float(loss) for loss in re.findall(r'loss ([\d.]+)', said)]
  assert len(losses) == 2
  assert losses[1] < losses[0]
  assert re.search(r'condensed: [\d.]+ \+- [\d.]+', said)


def test_examples_stay_short():
  for name in ('distil_unrolled.py', 'match_trajectories.py'):
    text = (_EXAMPLES / name).read_text(encoding='utf-8').split('"""', 2)[2]
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 100
