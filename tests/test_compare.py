"""Runs side by side: the table, the plot, and what is not finished."""

import json

import pytest

from dcjax.runs import command, report


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


@pytest.fixture
def two(tmp_path):
  """Two finished runs."""
  for name, accuracy in (('one', 0.5), ('two', 0.75)):
    folder = tmp_path / name
    folder.mkdir()
    (folder / 'results.json').write_text(json.dumps(_results(accuracy)))
  return [str(tmp_path / name) for name in ('one', 'two')]


def test_the_command_prints_a_table_and_draws_a_plot(two, tmp_path, capsys):
  plot = tmp_path / 'plot.png'
  with pytest.raises(SystemExit) as ended:
    command.main(['dcjax', 'compare', *two, f'--plot={plot}'])
  assert ended.value.code == 0
  rows = capsys.readouterr().out.splitlines()
  assert rows[3] == (
    '| two | digits | 1 | uniform 2 | 12 s | 75.0 ± 1.0 | – | 75.0 ± 1.0 | – |'
  )
  assert plot.read_bytes().startswith(b'\x89PNG')


def test_unfinished_and_damaged_runs_are_named(tmp_path, capsys):
  with pytest.raises(ValueError, match='finish the run first'):
    report.read(tmp_path)
  (tmp_path / 'results.json').write_text('{"method"')
  with pytest.raises(ValueError, match='is damaged'):
    report.read(tmp_path)
  for words, said in (([], 'name at least one'), ([tmp_path], 'is damaged')):
    with pytest.raises(SystemExit) as ended:
      command.main(['dcjax', 'compare', *map(str, words)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
