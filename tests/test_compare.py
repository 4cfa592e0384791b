"""Runs side by side: the table, the plot, and what is not finished."""

import json

import pytest
import runner

compare = runner.module('compare')


def _results(accuracy):
  entry = {'last_mean': accuracy, 'last_std': 0.01}
  return {
    'dataset': 'digits',
    'ipc': 1,
    'formation': {'name': 'uniform', 'factor': 2},
    'seconds': {'condense': 12.4},
    'evaluations': {'condensed': entry, 'random': entry},
    'checkpoints': [
      {'seconds': s, 'accuracy_mean': accuracy, 'accuracy_std': 0.01}
      for s in (0.0, 12.4)
    ],
  }


def test_table_and_plot(tmp_path):
  for name, accuracy in (('one', 0.5), ('two', 0.75)):
    folder = tmp_path / name
    folder.mkdir()
    (folder / 'results.json').write_text(json.dumps(_results(accuracy)))
  runs = {name: compare.read(tmp_path / name) for name in ('one', 'two')}
  rows = compare.table(runs).splitlines()
  assert rows[3] == (
    '| two | digits | 1 | uniform 2 | 12 s | 75.0 ± 1.0 | – | 75.0 ± 1.0 | – |'
  )
  compare.plot(runs, tmp_path / 'plot.png')
  assert (tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')


def test_unfinished_and_damaged_runs_are_named(tmp_path):
  with pytest.raises(ValueError, match='finish the run first'):
    compare.read(tmp_path)
  (tmp_path / 'results.json').write_text('{"method"')
  with pytest.raises(ValueError, match='is damaged'):
    compare.read(tmp_path)
