"""Runs side by side: table, plots, page, and what is not finished."""

import json

import pages
import pytest

from dcjax.runs import command, report
from dcjax.runs.report import _groups


@pytest.fixture
def folder(tmp_path):
  """Two seeds of one setting, and another ipc."""
  for name, seed, ipc, mean in (
    ('one', 0, 1, 0.5),
    ('two', 1, 1, 0.54),
    ('three', 0, 10, 0.75),
  ):
    entries = pages.results()['evaluations']
    entries['condensed'] = pages.evaluation(mean)
    entries['random'] = pages.evaluation(mean - 0.1, images=10 * ipc)
    sizes = {'numbers': 64 * ipc, 'float32_bytes': 256 * ipc}
    pages.write_run(
      tmp_path / name,
      seed=seed,
      ipc=ipc,
      evaluations=entries,
      storage={'images': sizes | {'disk_bytes': 64 * ipc}},
      bytes={},
    )
  return tmp_path


def _told(words, capsys):
  with pytest.raises(SystemExit) as ended:
    command.main(['dcjax', *map(str, words)])
  said = capsys.readouterr()
  return ended.value.code, said.out, said.err


def test_the_command_prints_a_table_and_draws(folder, capsys):
  plot, page = folder / 'plot.pdf', folder / 'page.html'
  words = ('compare', folder, f'--plot={plot}', f'--page={page}')
  code, out, _ = _told(words, capsys)
  assert code == 0
  rows = out.splitlines()
  assert len(rows) == 5
  assert rows[2].startswith(
    '| IDC digits ipc 1 factor 2 | 2 | 52.0 ± 2.8 % | a tie (+2.0 ± '
  )
  assert rows[2].endswith(
    '| 42.0 ± 2.8 % | 67.5 ± 0.0 % | 64 bytes | 256 bytes | 2 h 2 min |'
  )
  assert rows[3].startswith('| IDC digits ipc 10 factor 2 | 1 | 75.0 ± 1.2 % |')
  assert plot.read_bytes().startswith(b'%PDF')
  text = page.read_text(encoding='utf-8')
  for name in ('one', 'two', 'three'):
    assert f'href="{name}/report.html"' in text


def test_seeds_are_grouped_and_frontiers_drawn(folder):
  runs = report.collect([str(folder)])
  by_bytes, by_time = report.plots(runs)
  frontier, *series = by_bytes.series
  found = {s.name: (list(s.x), [round(y, 1) for y in s.y]) for s in series}
  # Real images are 64 bytes each; 10 and 100 of them.
  assert found['random real images'] == ([640, 6400], [42.0, 65.0])
  assert found['IDC digits ipc 1 factor 2'] == ([64], [52.0])
  assert found['all real images'][1] == [94.0]
  steps = list(zip(frontier.x, frontier.y, strict=True))
  assert [x for x, _ in steps] == [64, 640]
  assert [round(y, 1) for _, y in steps] == [52.0, 75.0]
  curves = [s for s in by_time.series if s.name == '' and len(s.x) == 10]
  assert len(curves) == 2
  names = [g.name for g in _groups.grouped(runs)]
  assert names == ['IDC digits ipc 1 factor 2', 'IDC digits ipc 10 factor 2']


def test_settings_tell_groups_of_one_name_apart(tmp_path):
  for name, rate in (('a', 0.1), ('b', 0.2)):
    pages.write_run(tmp_path / name)
    file = tmp_path / name / 'config.json'
    file.write_text(json.dumps({'seed': 0, 'method': {'rate': rate}}))
  names = [g.name for g in _groups.grouped(report.below(tmp_path))]
  assert names == [
    f'IDC digits ipc 10 factor 2 method.rate={r}' for r in (0.1, 0.2)
  ]


def test_runs_of_earlier_versions_are_compared(tmp_path):
  """Without data, bytes, checkpoints, per-seed numbers or a config."""
  entry = {'last_mean': 0.5, 'last_std': 0.01}
  old = {
    'dataset': 'digits',
    'ipc': 1,
    'formation': {'name': 'uniform', 'factor': 2},
    'seconds': {'condense': 12.4},
    'evaluations': {'condensed': entry, 'random': entry},
  }
  (tmp_path / 'results.json').write_text(json.dumps(old))
  runs = report.collect([str(tmp_path)])
  assert '| 50.0 ± 1.0 % | – | – | 50.0 ± 1.0 % |' in report.table(runs)
  report.write_page(runs, tmp_path / 'page.html')
  assert '12.4 s' in (tmp_path / 'page.html').read_text(encoding='utf-8')


def test_unfinished_and_damaged_runs_are_named(tmp_path, capsys):
  with pytest.raises(ValueError, match='finish the run first'):
    report.collect([str(tmp_path)])
  (tmp_path / 'results.json').write_text('{"accuracy": 1}')
  with pytest.raises(ValueError, match='no run that condensed'):
    report.read(tmp_path)
  (tmp_path / 'results.json').write_text('{"method"')
  for words, said in (
    (['compare'], 'name at least one'),
    (['compare', tmp_path], 'is damaged'),
    (['compare', tmp_path, '--plto=a'], "option '--plto=a': must be --page="),
    (['gallery', tmp_path / 'absent'], 'holds no run'),
    (['gallery'], 'name one folder'),
  ):
    code, _, err = _told(words, capsys)
    assert (code, err.count('\n')) == (2, 1)
    assert said in err
