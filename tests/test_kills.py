"""Kills at random moments: the same bytes afterwards, and nothing left over.

  python -m pytest -m fuzz -n 0 -s tests/test_kills.py

Draws follow DCJAX_FUZZ_SEED. Every start is the command itself, in a process
that was forked once all was imported, and saves after each piece.
"""

import collections
import multiprocessing
import os
import pathlib
import time

import numpy as np
import pytest
import runner

_SEED = int(os.environ.get('DCJAX_FUZZ_SEED', '0'))
_TINY = 'convnet:width=2:depth=1'
_OBSERVER = f'{_TINY}:norm=batch'
_EVERY = dict(
  network=_TINY,
  evaluation__seeds=1,
  evaluation__epochs=2,
  evaluation__at=(),
  evaluation__baselines=(),
)
_RUNS = {
  'idc': dict(outer=3, evaluation__at=(0.34,)),
  'dm': dict(outer=4),
  'edc': dict(
    observers__matching=(_OBSERVER,), observers__labelling=(_OBSERVER,)
  ),
  'generative': dict(start='generator'),
}
_SECONDS = 300
_IMPORTED = [
  *('test_kills', 'dcjax.runs.command', 'dcjax.runs._run'),
  *('matplotlib.pyplot', 'orbax.checkpoint'),
]


@pytest.fixture(scope='module')
def server():
  """Forks processes that have imported all and begun nothing."""
  context = multiprocessing.get_context('forkserver')
  context.set_forkserver_preload(_IMPORTED)
  return context


def _command(words, log):
  """The body of a process: a command line, its output in a file."""
  with open(log, 'ab') as stream:
    for number in (1, 2):
      os.dup2(stream.fileno(), number)
  import jax

  from dcjax.runs import _loop, command

  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  _loop._SAVE_AFTER = 0
  command.main(words)


def _starter(server, root, method):
  """`folder -> processes` of a run of a method, or of two processes of it."""
  changes = _EVERY | _RUNS[method.removesuffix(', two')]
  flags = [
    f'--config.{name.replace("__", ".")}={value}'
    for name, value in changes.items()
  ]
  config = f'--config={method.partition(",")[0]}:digits:size=8,smoke'

  def start(folder):
    words = ['dcjax', config, f'--workdir={root / folder}', *flags]
    ranks = [[]]
    if method.endswith(', two'):
      where = f'--coordinator=127.0.0.1:{runner.free_port()}'
      ranks = [[where, '--processes=2', f'--process={n}'] for n in (0, 1)]
    made = [
      server.Process(target=_command, args=(words + more, root / 'log'))
      for more in ranks
    ]
    for process in made:
      process.start()
    return made

  return start


def _ended(processes, seconds=_SECONDS):
  """Waits for the end of processes; returns their codes."""
  for process in processes:
    process.join(seconds)
  codes = [process.exitcode for process in processes]
  for process in processes:
    process.kill()
  return codes


def _names(folder):
  """What lies in a folder; of checkpoints only which ones."""
  found = (p.relative_to(folder) for p in folder.rglob('*'))
  return {p for p in found if p.parts[0] != 'checkpoints' or len(p.parts) < 4}


def _kills(start, root, count, rng):
  """Kills runs at random moments, and compares them once they are finished.

  Returns:
    How often what happened, and what is wrong.
  """
  began = time.monotonic()
  assert set(_ended(start('whole'))) == {0}, (root / 'log').read_text()[-2000:]
  length = time.monotonic() - began  # and shorter once all is compiled
  counts, failures = collections.Counter(), []
  while counts['kills'] < count or (root / f'run{counts["runs"]}').exists():
    folder = f'run{counts["runs"]}'
    began, processes = time.monotonic(), start(folder)
    counts['starts'] += 1
    assert counts['starts'] < 10 * count, (root / 'log').read_text()[-2000:]
    if counts['kills'] < count:
      chosen = processes[int(rng.integers(len(processes)))]
      chosen.join(length * rng.uniform(0, 1.1))
      counts['kills'] += chosen.exitcode is None
      chosen.kill()
    codes = _ended(processes)
    if None in codes:
      failures.append(f'{folder}: a process did not end')
    if set(codes) == {0}:
      length = min(length, time.monotonic() - began)
      failures += _differences(root / 'whole', root / folder)
      counts['runs'] += 1
      print(f'{folder}: {dict(counts)}, wrong: {failures}', flush=True)
  return counts, failures


def _differences(whole, folder):
  """What is not as in a run that nobody disturbed."""
  found = []
  if runner.outcome(folder) != runner.outcome(whole):
    found.append(f'{folder.name}: other numbers')
  if _names(folder) != _names(whole):
    odd = sorted(map(str, _names(folder) ^ _names(whole)))
    found.append(f'{folder.name}: left over or missing: {odd}')
  return found


@pytest.mark.fuzz
@pytest.mark.parametrize(
  ('method', 'count'), [*((m, 10) for m in _RUNS), ('dm, two', 10)]
)
def test_killed_runs_end_as_others_do(server, tmp_path, method, count):
  rng = np.random.default_rng((_SEED, *method.encode()))
  start = _starter(server, pathlib.Path(tmp_path), method)
  counts, failures = _kills(start, tmp_path, count, rng)
  print(f'{method}, DCJAX_FUZZ_SEED={_SEED}: {dict(counts)}')
  assert not failures, '\n'.join(failures)
