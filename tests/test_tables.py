"""The papers' tables: their numbers, their runs, and what is made of them."""

import html
import pathlib
import re
import urllib.parse

import jax.numpy as jnp
import numpy as np
import pytest
import runner

from dcjax import formations, networks, runs
from dcjax.runs import settings, tables
from dcjax.runs.tables import (
  _loss,
  _making,
  _packing,
  _pages,
  _plots,
  _records,
  _settings,
  _truth,
  _types,
  _work,
)

_DOCS = pathlib.Path(__file__).parent.parent / 'docs'
_NAMES = tables.names()
_WANTED = {
  *(f'idc_table{i}' for i in range(1, 15)),
  'idc_figure2',
  'idc_figure2_curves',
  'idc_figure4',
  'idc_figure5',
  'idc_figure9',
  'dc_table1',
  'dc_table2',
  'dc_table3',
  'dc_table4',
  'dc_times',
  'dc_activation',
  'dc_pooling',
  'dc_normalisation',
  'dc_depth',
  'dc_width',
  'dc_ipc',
  'dc_lenet',
  'dd_mnist',
  'edc_figure1',
  *(f'edc_table{i}' for i in (1, 2, 3, 4, 5, 22)),
  'generative_ablations',
  *(f'generative_table{i}' for i in (2, 3, 5)),
  'kip_fc',
  'label_distillation',
  'other_methods',
  'rded',
  'same_bytes',
}
# Tables that nothing here makes.
_PRINTED = {'dc_table4', 'edc_table22'}
_PLAIN_CELL = tables.Accuracy()
# Augmentation and depth are most of what compiles.
_PLAIN = {'augment.family': 'none', 'evaluation.family': 'none'}
_SMALL = {**_PLAIN, 'network': 'convnet:width=4:depth=1'}


def _table(folder, name, fields=_PLAIN, **changes):
  """Makes a table by its config, without augmentation."""
  plain = ';'.join(f'{field}={value}' for field, value in fields.items())
  return runner.run(
    folder, f'{name},size=smoke', 'table', **{'changes': plain, **changes}
  )


def _config(run, size):
  return settings.resolve(_settings.config_of(run, size)).config


def _network(run, size):
  return networks.complete('network', _config(run, size).network)


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """Table 6 as it is when its second run is stopped: folder, page, records."""
  folder = tmp_path_factory.mktemp('tables')
  table = tables.load('idc_table6', 'smoke')
  first, second = _making.jobs(table, 'smoke', _SMALL)
  thread = runner.stop_once_there(folder / 'runs' / second.name / 'config.json')
  with pytest.raises(runs.Interrupted, match='the same command goes on'):
    _table(folder, 'idc_table6', _SMALL)
  thread.join()
  text = (folder / 'table.md').read_text(encoding='utf-8')
  done = (folder / 'runs' / first.name / 'stages.json').read_bytes()
  return folder, text, (first, done)


@pytest.fixture(scope='module')
def finished(stopped):
  """The same folder after the same command: folder, page, records."""
  folder, _, first = stopped
  kept = str(folder / 'docs' / 'records')
  return folder, _table(folder, 'idc_table6', _SMALL, records=kept), first


def test_a_stopped_table_shows_what_it_has(stopped):
  _, text, (first, _) = stopped
  assert re.search(
    r'^\| ConvNet-3 \| – / \d+\.\d ± \d+\.\d \| – / – \| – / – \|$', text, re.M
  )
  assert f'| {first.name} | finished | convnet' in text
  assert text.count('| waiting |') == 1
  assert 'Size smoke: published / measured here' in text
  assert '--config=table:idc_table6,size=smoke' in text


def test_the_same_command_goes_on_and_repeats_nothing(finished):
  folder, page, (first, done) = finished
  assert (folder / 'runs' / first.name / 'stages.json').read_bytes() == done
  _check_page(folder, page)
  before = (folder / 'table.json').read_bytes()
  again = _table(folder, 'idc_table6', _SMALL)
  assert again.measured == page.measured
  assert (folder / 'table.json').read_bytes() == before


def test_what_other_settings_measured_is_not_taken_for_it(finished):
  """Such as those of a version with another protocol."""
  folder, _, _ = finished
  first, second = _making.jobs(
    tables.load('idc_table6', 'smoke'), 'smoke', _SMALL
  )
  assert _making._is_done(folder, first, 'smoke')
  config = first.config.copy_and_resolve_references()
  config.evaluation.learning_rate = 0.5
  for other in (first._replace(config=config), second._replace(config=config)):
    assert not _making._is_done(folder, other, 'smoke')
    assert _making._found(folder, other, 'smoke') == {}


def _check_page(folder, page):
  """Every cell has a number, and the pages show it."""
  assert set(page.measured) == set(page.table.cells)
  assert {line.state for line in page.runs} == {'finished'}
  for place, entry in page.measured.items():
    mean, std = _plots.value_of(page.table, place, entry)
    if isinstance(page.table.cells[place].measure, tables.Accuracy):
      assert 0 <= mean <= 100
    assert np.isfinite(mean)
    assert std >= 0
  text = (folder / 'table.md').read_text(encoding='utf-8')
  for line in page.runs:
    assert line.name in text
  for row, column in page.measured:
    line = next(x for x in text.splitlines() if x.startswith(f'| {row} |'))
    shown = line.split(' | ')[1 + page.table.columns.index(column)]
    assert shown.rstrip(' |').endswith(
      f'/ {_pages.measured_text(page, (row, column))}'
    )
  web = html.unescape((folder / 'table.html').read_text(encoding='utf-8'))
  assert page.table.title in web
  # Every cell and every run leads to a report, which holds the cell's number.
  for link in set(re.findall(r'(?:src|href)="([^"]*)"', web)):
    assert (folder / urllib.parse.unquote(link)).is_file()
  for line in page.runs:
    told = (folder / 'runs' / line.name / 'report.html').read_text('utf-8')
    for place, run in page.places.items():
      number = _pages.measured_text(page, place)
      if run == line.name and page.table.cells[place].measure == _PLAIN_CELL:
        assert number in told
  if page.table.plot is not None and page.table.plot.kind != 'heat':
    assert (folder / 'table.svg').read_bytes().startswith(b'<svg')
    assert '<svg' in web


def test_what_a_table_measures_is_kept_as_records(finished):
  folder, page, (first, _) = finished
  kept = folder / 'docs' / 'records'
  found = _records.read(kept)['idc_table6', 'smoke', '']
  assert set(found) == set(page.measured)
  for place, measured in found.items():
    entry = page.measured[place]
    assert list(measured.last) == entry['per_seed_last']
    assert list(measured.best) == entry['per_seed_best']
    assert measured.seconds == entry['seconds']
  one = found['ConvNet-3', page.table.columns[0]]
  assert one.record['run'] == first.name
  assert 'condense' in one.record['seconds']
  stages = runner.stages(folder / 'runs' / first.name)
  assert one.made['settings'] == stages['artefact']['key']
  assert set(one.made['versions']) >= {'jax', 'python'}
  assert (one.made['seed'], one.budget) == (0, (2560, 10240, 10240))
  assert one.made['command'] == 'run.py --config=table:idc_table6,size=smoke'
  text = (folder / 'docs' / 'published.md').read_text('utf-8')
  assert text == _page(kept)
  assert 'At size smoke' in text


def _page(folder):
  known = {name: tables.load(name, 'reference') for name in _NAMES}
  return _truth.page(folder, known)


_MADE = {
  'command': 'dcjax ...',
  'commit': 'abc',
  'date': '2026-01-02',
  'machine': '1 CPU (slow)',
  'versions': {'jax': '0.10'},
  'seed': 0,
  'settings': 'key',
}
_GOOD, _BAD = (('condensed with MLP', name) for name in ('MLP', 'ConvNet'))
_BUDGET = {'numbers': 7840, 'float32_bytes': 31360, 'stored_bytes': 7840}


def _record(folder, entries=None, run='dc-mnist', **made):
  """A record of DC's Table 2 with these accuracies of networks."""
  entries = entries or {
    _GOOD: [0.705, 0.715],  # printed: 70.5 +- 1.2
    _BAD: [0.30, 0.32],  # printed: 63.9 +- 6.5
  }
  found = {
    place: {
      'last_mean': np.mean(last),
      'per_seed_last': last,
      'budget': _BUDGET,
      'made': _MADE | made,
    }
    for place, last in entries.items()
  }
  seconds = {'condense': 3.0}
  return _records.keep(folder, 'dc_table2', 'reference', run, found, seconds)


def _texts(folder):
  return _truth.measured_texts(
    folder, {'dc_table2': tables.load('dc_table2', 'reference')}
  )


def test_the_page_says_what_was_reproduced_and_what_changed(tmp_path):
  before = _texts(tmp_path)
  path = _record(tmp_path).path
  table = tables.load('dc_table2', 'reference')
  found = _records.read(tmp_path)['dc_table2', 'reference', '']
  drawn = {line.place: line for line in _truth.lines(table, found)}
  good, bad = drawn[_GOOD], drawn[_BAD]
  assert (good.verdict, bad.verdict) == ('ok', 'off')
  np.testing.assert_allclose(good.points, 0.5)
  np.testing.assert_allclose(bad.deviations, (31.0 - 63.9) / 6.5)
  assert drawn['condensed with MLP', 'LeNet'].verdict == 'open'
  changes = list(_truth.changes(before, _texts(tmp_path)))
  assert len(changes) == 2 and changes[0].endswith('(2), off (new)')
  assert '| 7.8 / 31 / 7.8 |' in _page(tmp_path)
  # A reason stays with its number, and goes with it.
  record = path.read_text().replace('"reason": ""', '"reason": "too short"')
  path.write_text(record)
  assert not _record(tmp_path).said
  assert 'MLP · ConvNet: too short' in _page(tmp_path)
  kept = _record(tmp_path, {_BAD: [0.6, 0.62]})
  assert kept.said == [
    'condensed with MLP · ConvNet: the reason goes: too short'
  ]
  assert 'MLP · MLP: too short' in _page(tmp_path)


def test_a_cell_says_how_it_was_made_itself(tmp_path):
  """Cells that were there before keep their commit, date and command."""
  _record(tmp_path)
  _record(tmp_path, {_BAD: [0.5]}, commit='def', command='dcjax other')
  found = _records.read(tmp_path)['dc_table2', 'reference', '']
  assert found[_GOOD].made == _MADE
  assert found[_BAD].made == _MADE | {
    'commit': 'def',
    'command': 'dcjax other',
  }
  text = _page(tmp_path)
  assert 'commit abc' in text and 'commit def' in text


def test_commands_of_records_tell_no_place_of_a_machine():
  words = ['--config=table:x,data_dir=/a,records=/b', '--config.data_dir=/a c']
  said = tables._recorded(
    ['run.py', *words, '--workdir=/w', '--store=/s', '--config.only=a b'], 'x'
  )
  assert said == (
    'run.py --config=table:x,data_dir=DATA,records=docs/records '
    "--config.data_dir=DATA --workdir=runs/x '--config.only=a b'"
  )


def test_two_records_of_a_cell_become_one(tmp_path):
  """More networks stay; as many or fewer make way."""
  first = _record(tmp_path).path
  kept = _record(tmp_path, {_GOOD: [0.7], _BAD: [0.6, 0.62]}, run='other')
  assert kept.said == [
    'condensed with MLP · MLP: not recorded, as dc-mnist.json has 2 networks '
    'of it, and this run 1',
    'condensed with MLP · ConvNet: no longer in dc-mnist.json',
  ]
  found = _records.read(tmp_path)['dc_table2', 'reference', '']
  assert found[_GOOD].last == (0.705, 0.715)
  assert found[_BAD].last == (0.6, 0.62)
  _record(tmp_path, {_GOOD: [0.7, 0.71, 0.72]}, run='third')
  assert not first.exists()
  assert 'condensed with MLP' in _page(tmp_path)


def test_other_data_sets_stand_beside_the_papers(tmp_path):
  """The same cell of several data sets, each under its name."""
  path = _record(tmp_path).path
  own = path.read_text().replace('"reference"', '"short"')
  path.write_text(own)
  for name, value in (('usps', '0.4'), ('svhn', '0.5')):
    other = own.replace('"data": ""', f'"data": "{name}"')
    (path.parent / f'{name}.json').write_text(other.replace('0.705', value))
  text = _page(tmp_path)
  for words, number in (
    ('', '71.0'),
    ('on `usps`, ', '55.8'),
    ('on `svhn`, ', '60.8'),
  ):
    _, _, rows = text.partition(f'At size short ({words}narrower')
    first = rows.index('| condensed with MLP | MLP |')
    assert rows[first:].startswith(f'| condensed with MLP | MLP | {number}')
    # And how it was made, as changes that no row tells are in a run's name.
    assert '- `dc-mnist`, seed 0: ' in rows[first:].partition('\n## ')[0]


def test_a_record_keeps_the_cells_of_the_same_settings(tmp_path):
  _record(tmp_path)
  before = _texts(tmp_path)
  new = {('condensed with MLP', 'LeNet'): [0.8]}
  for key, count, said in (
    ('key', 3, ['new']),
    ('other', 1, ['gone', 'gone']),
  ):
    _record(tmp_path, new, settings=key)
    after = _texts(tmp_path)
    assert len(after) == count
    changes = list(_truth.changes(before, after))
    assert all(w in c for w, c in zip(said, changes, strict=True))
    before = after
  assert 'condensed with MLP' in _page(tmp_path)


@pytest.mark.parametrize(
  ('old', 'new', 'said'),
  [
    ('"commit"', '"comit"', "field 'commit' must be a str"),
    ('"made": 0', '"made": 1', r'made 1: must be in range\(0, 1\)'),
    ('0.705', '"a"', 'must be a list of numbers'),
    ('condensed with MLP', 'condensed with X', 'has no cell'),
    ('0.705', 'NaN', 'is damaged'),
  ],
)
def test_a_damaged_record_is_named(tmp_path, old, new, said):
  path = _record(tmp_path).path
  path.write_text(path.read_text().replace(old, new))
  with pytest.raises(ValueError, match=said):
    _page(tmp_path)


def test_the_page_of_published_cells_follows_from_the_records():
  page = (_DOCS / 'published.md').read_text(encoding='utf-8')
  assert page == _page(_DOCS / 'records')


def test_operations_are_counted_without_pixels():
  """DC at one image a class: 743 and a forward of 96.8 MFLOP, by hand."""
  table = tables.load('dc_depth', 'reference')
  place = ('condensed with 3', '3')
  table = table._replace(cells={place: table.cells[place]})
  # 1000 networks, 10 classes, 256 real images and one synthetic thrice.
  expected = 3 * 1000 * 10 * (256 + 3) * 96.8e6
  np.testing.assert_allclose(_work.of_table(table)[place], expected, rtol=0.1)
  with pytest.raises(ValueError, match="like 'mine': must be one of mnist"):
    _work.blank('mine')


def test_cells_of_every_kind_read_one_run(finished, tmp_path):
  """And a run whose data are not there says what it needs."""
  folder, _, _ = finished
  run = tables.Run('idc', 'digits', 1, 1, {'ipc': 4})
  kinds = {
    'condensed': tables.Accuracy(),
    'random': tables.Accuracy('random'),
    'whole': tables.Accuracy('whole'),
    'tested with an MLP': tables.Accuracy(
      network={'name': 'mlp', 'width': 128}
    ),
    'a quarter of the epochs': tables.Accuracy(epochs_divisor=4),
    'one network': tables.Accuracy(changes={'evaluation.seeds': 1}),
    'packed': tables.Accuracy(pack=2),
    'loss at 50 %': tables.MatchingLoss(50),
    'loss at 100 %': tables.MatchingLoss(100),
    'first': tables.RecordedLoss(40),
    'last': tables.RecordedLoss(100),
    'norm at 0': tables.GradientNorm('synthetic', 0),
    'norm at 5': tables.GradientNorm('synthetic', 5),
    'class': tables.ClassGradient('norm'),
    'alike': tables.ClassGradient('similarity'),
  }
  cells = {('here', name): tables.Cell(run, m) for name, m in kinds.items()}
  absent = tables.Run('idc', 'imagenet10', 1, 3)
  cells['absent', 'condensed'] = tables.Cell(absent)
  title = 'A <b>table</b> & more'
  table = tables.Table(
    title, 'Nobody', ('here', 'absent'), tuple(kinds), cells, {}, 'A <i>note'
  )
  condensed = _entry(folder, run, 'condense')
  page = _making.make(
    table, 'smoke', folder, overrides={**_SMALL, 'data_dir': str(tmp_path)}
  )
  assert _entry(folder, run, 'condense') == condensed  # of Table 6
  found = {column: entry for (_, column), entry in page.measured.items()}
  assert list(found) == list(kinds)
  assert (found['whole']['images'], found['whole']['epochs']) == (1433, 4)
  assert found['whole']['label_regime'] == 'hard'
  assert found['a quarter of the epochs']['epochs'] == 1
  assert len(found['one network']['per_seed_last']) == 1
  assert found['tested with an MLP']['network'].startswith('mlp')
  assert (found['packed']['images'], found['condensed']['images']) == (40, 40)
  assert found['packed']['per_seed_last'] != found['condensed']['per_seed_last']
  recorded = [r['loss'] for r in runner.metrics(_place(folder, run))]
  assert [found[n]['last_mean'] for n in ('first', 'last')] == [
    recorded[0],
    recorded[-1],
  ]
  for name in ('loss at 50 %', 'norm at 0', 'norm at 5', 'class', 'alike'):
    assert found[name]['last_mean'] > 0
  assert found['norm at 0']['last_mean'] != found['norm at 5']['last_mean']
  assert (
    found['loss at 50 %']['last_mean'] != found['loss at 100 %']['last_mean']
  )

  assert page.missing == {('absent', 'condensed'): 'ImageNet'}
  text = (folder / 'table.md').read_text(encoding='utf-8')
  assert '| absent | – / needs ImageNet |' in text
  assert f'Needs ImageNet: {page.said["ImageNet"]}' in text
  assert 'train/<synset>' in text
  assert '| needs data |' in text
  web = (folder / 'table.html').read_text(encoding='utf-8')
  assert title in html.unescape(web)
  assert not {'<b>', '<i>', '<synset>'} & set(re.findall(r'<\w+>', web))


def _place(folder, run):
  return folder / 'runs' / _settings.name_of(run, 'smoke', _SMALL)


def _entry(folder, run, stage):
  return runner.stages(_place(folder, run))[stage]


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(_WANTED - _PRINTED - {'idc_table6'}))
def test_every_table_runs_at_smoke_size(name, finished):
  folder, _, _ = finished
  # DC's have their own augmentation, which leaves most digits alone, and
  # students of observers have no family.
  own = name.startswith(('dc', 'edc', 'rded'))
  changes = {'changes': ''} if own else {}
  _check_page(folder, _table(folder, name, **changes))


def test_tables_are_made_but_for_those_that_are_only_printed():
  loaded = {name: tables.load(name, 'reference') for name in _NAMES}
  assert {name for name, table in loaded.items() if not table.cells} == _PRINTED
  for table in loaded.values():
    for place in table.cells.keys() & table.published.keys():
      value, _, spread = table.published[place].partition(' ± ')
      assert float(value) > 0 and float(spread or 0) >= 0


def test_only_restricts_to_a_run_or_a_row():
  table = tables.load('idc_table1', 'reference')
  everything = _making.jobs(table, 'reference')
  dsa = _making.choose(everything, 'dsa-')
  assert {job.run.recipe for job in dsa} == {'dsa'}
  row = _making.choose(everything, 'ipc 10, ResNet')
  assert {r for job in row for r, _ in job.cells} == {'ipc 10, ResNet-10'}
  assert len(row) == 4


def test_the_whole_label_of_a_row_means_that_row_alone():
  """One image a class is part of ten, and a data set of another one."""
  table = tables.load('dc_table1', 'reference')
  (job,) = _making.choose(_making.jobs(table, 'reference'), 'mnist, ipc 1')
  assert {row for row, _ in job.cells} == {'mnist, ipc 1'}
  some = _making.choose(_making.jobs(table, 'reference'), 'mnist, ipc')
  assert len({row for job in some for row, _ in job.cells}) == 6


def test_coresets_alone_need_no_condensation(tmp_path):
  few = {**_PLAIN, 'evaluation.epochs': 1, 'evaluation.seeds': 1}
  page = _table(tmp_path, 'dc_table1', few, columns='Random+Whole set')
  assert {column for _, column in page.measured} == {'Random', 'Whole set'}
  (folder,) = (tmp_path / 'runs').iterdir()
  assert not (folder / 'condensed.npz').exists()
  stages = (folder / 'stages.json').read_text('utf-8')
  assert 'select/random' in stages and '"condense' not in stages


def test_a_table_without_any_data_fails(tmp_path):
  with pytest.raises(FileNotFoundError, match='absent'):
    _table(
      tmp_path,
      'idc_table13',
      size='short',
      only='ConvNet-3',
      data_dir=str(tmp_path / 'absent'),
    )
  assert '/ needs cifar10 |' in (tmp_path / 'table.md').read_text('utf-8')
  assert not (tmp_path / 'runs').exists()


def test_all_tables_are_there_with_a_title():
  assert set(_NAMES) == _WANTED
  assert list(tables.titles()) == list(_NAMES)
  assert all(len(title.split()) > 3 for title in tables.titles().values())


def test_the_document_lists_every_table_and_its_runs():
  text = (_DOCS / 'tables.md').read_text(encoding='utf-8')
  listed = re.findall(r'^\| `(\w+)` \|.*\| (\d+) \|', text, re.MULTILINE)
  counts = {name: int(count) for name, count in listed}
  expected = {}
  for name in _NAMES:
    cells = tables.load(name, 'short').cells.values()
    runs = {_settings.name_of(cell.run, 'short') for cell in cells}
    expected[name] = len(runs)
  assert counts == expected


@pytest.mark.parametrize('size', tables.SIZES)
@pytest.mark.parametrize('name', sorted(_WANTED))
def test_runs_have_settings_and_names_of_their_own(name, size):
  table = tables.load(name, size)
  assert set(table.cells) <= {
    (row, column) for row in table.rows for column in table.columns
  }
  made = {}
  for cell in table.cells.values():
    config = _config(cell.run, size)
    assert size == 'smoke' or config.ipc == cell.run.ipc
    text = config.to_json_best_effort(sort_keys=True)
    assert made.setdefault(_settings.name_of(cell.run, size), text) == text
  assert len(set(made.values())) == len(made)
  places = {(row, column) for row in table.rows for column in table.columns}
  assert size == 'smoke' or set(table.published) <= places


def test_published_numbers_are_those_of_the_papers():
  def number(name, row, column):
    return tables.load(name, 'reference').published[row, column]

  assert number('idc_table1', 'ipc 10, ResNet-10', 'IDC') == '63.5 ± 0.1'
  assert number('idc_table2', 'ipc 50, DenseNet-121', 'KIP') == '54.4'
  assert number('idc_table3', 'imagenet100, ipc 20, ResNet-18', 'DM') == '23.4'
  assert number('idc_table4', 'ipc 20', 'Herding') == '72.9'
  assert number('idc_table5', 'ResNet-10', 'Syn+MSE') == '25.7'
  assert number('idc_table7', 'cifar10, ResNet-10', 'factor 3') == '62.9'
  assert number('idc_table7', 'imagenet10, ResNet-18', 'factor 4') == '75.2'
  assert number('idc_table9', 'ConvNet-3', 'factor 3, FSRCNN') == '67.9'
  assert number('idc_table10', 'fashion_mnist, ipc 50', 'IDC-I') == '89.1'
  assert number('idc_table11', 'tested w/ S.A.', 'IDC w/o S.A.') == '74.3'
  assert number('idc_table12', 'ResNet-10', 'RNAP') == '48.8'
  assert number('dc_table1', 'svhn, ipc 10', 'K-Center') == '14.0 ± 1.3'
  assert number('dc_table2', 'condensed with VGG', 'AlexNet') == '83.4 ± 3.7'
  assert number('dc_table3', 'cifar10, ipc 10', 'DD') == '36.8 ± 1.2'
  assert number('dc_table3', 'mnist, ipc 1', 'Whole set') == '99.5 ± 0.0'
  assert number('dc_lenet', 'DC', 'VGG') == '92.9 ± 0.5'
  assert number('dc_table4', 'mnist to svhn, ipc 10', 'DC') == '74.8 ± 0.8'
  assert number('dc_times', 'cifar10, ipc 10, DD', 'memory, MB') == '3211'
  assert number('idc_table2', 'ipc 50, DenseNet-121', 'evaluation, s') == '400'
  row = 'tiny_imagenet, ipc 50'
  assert number('edc_table1', row, 'G-VBSM, ResNet-50') == '48.7 ± 0.2'
  assert number('edc_table2', 'ipc 40, EDC', 'ShuffleNet-V2') == '44.7'
  row = 'alpha 0.50, weak crops, averaged'
  assert number('edc_table5', row, 'ResNet-18') == '48.6'
  # Its own digits, which are not those of DC's paper.
  row = 'mnist, ipc 10'
  assert number('generative_table2', row, 'K-Center') == '86.4 ± 1.7'
  assert number('generative_table3', 'ipc 10', 'VQGAN') == '3.8 ± 0.2'
  assert number('dc_ipc', 'whole set', 'svhn') == '95.4'
  assert number('dc_depth', 'condensed with 1', '4') == '76.4 ± 3.5'
  assert number('dc_ipc', 'ipc 10', 'cifar10') == '44.9'


def test_reference_runs_are_the_published_settings():
  cells = tables.load('idc_table11', 'reference').cells
  with_cutmix, without = (
    cells['tested w/o S.A.', name] for name in ('IDC', 'IDC w/o S.A.')
  )
  assert _config(with_cutmix.run, 'reference').augment.mix == 'auto'
  assert _config(without.run, 'reference').augment.mix == 'none'
  assert with_cutmix.measure.changes['evaluation.family'] == 'dsa'
  cell = tables.load('idc_table2', 'reference').cells[
    'ipc 10, ResNet-10', 'IDC'
  ]
  assert cell.measure.epochs_divisor == 4
  vgg = tables.load('dc_table2', 'short').cells['condensed with VGG', 'VGG']
  network = _network(vgg.run, 'short')
  assert (network['name'], network['norm']) == ('vgg11', 'batch')
  assert network['width'] == 16
  assert vgg.measure.network['norm'] == 'instance'
  speech = tables.load('idc_table4', 'reference').cells['ipc 10', 'DM']
  assert _network(speech.run, 'reference')['depth'] == 4


def test_edc_tests_imagenet_by_its_own_protocol():
  cells = tables.load('edc_table1', 'reference').cells
  config = _config(cells['imagenet10, ipc 10', 'EDC'].run, 'reference')
  assert (config.evaluation.protocol, config.evaluation.epochs) == ('edc', 1000)


def test_edcs_ladder_gains_one_choice_a_row():
  cells = tables.load('edc_table5', 'reference').cells
  plain, averaged = (
    cells[f'alpha 0.25, weak crops{words}', 'ResNet-18']
    for words in ('', ', averaged')
  )
  assert plain.run == averaged.run
  assert plain.measure.changes == {'evaluation.average_rate': 0.0}
  config = _config(plain.run, 'reference')
  assert (config.method.alpha, config.method.smallest_crop) == (0.25, 0.5)
  flat = tables.load('edc_table4', 'reference').cells
  config = _config(
    flat["L'_FR, weight 0.25, beta 0.99, tau 4", 'ResNet-50'].run, 'reference'
  )
  assert (config.method.flatness, config.method.averaging) == (0.25, 0.99)


def test_imagenet_is_condensed_and_tested_as_published():
  cells = tables.load('idc_table3', 'reference').cells
  assert ('imagenet100, ipc 10, ResNet-18', 'Full data') not in cells
  found = {}
  for method in ('DSA', 'DM', 'IDC-I', 'IDC', 'Full data'):
    cell = cells['imagenet10, ipc 20, ResNet-18', method]
    config = found[method] = _config(cell.run, 'reference')
    network = _network(cell.run, 'reference')
    assert (network['name'], network['depth']) == ('resnet', 10)
    assert network['average_pooling']
    assert config.evaluation.protocol == found['DSA'].evaluation.protocol
  assert found['DSA'].evaluation.epochs == found['IDC-I'].evaluation.epochs
  assert cell.measure.images == 'whole'


@pytest.mark.parametrize(
  ('dataset', 'form'), [('cifar10', 'cifar_thin'), ('svhn', 'auto')]
)
def test_resnet_10_is_thin_on_cifar_only(dataset, form):
  cells = tables.load('idc_table12', 'reference', dataset).cells
  tested = cells['ResNet-10', 'CN'].measure.network
  assert tested['norm'] == 'batch'
  assert tested.get('form', 'auto') == form
  condensing = _network(cells['ConvNet-3', 'RN'].run, 'reference')
  assert condensing.get('form', 'auto') == form
  assert condensing['norm'] == 'instance'


def test_another_data_set_has_no_published_numbers():
  table = tables.load('idc_table1', 'short', 'cifar100')
  assert {cell.run.dataset for cell in table.cells.values()} == {'cifar100'}
  assert table.published == {}


@pytest.mark.parametrize(
  ('name', 'changes', 'message'),
  [
    ('idc_table', {}, r"table 'idc_table': must be one of dc_activation"),
    ('', {}, r"table '': must be one of dc_activation"),
    ('idc_table1', {'size': 'big'}, r"size 'big': must be one of reference"),
    ('idc_table1', {'dataset': 'moon'}, r"data 'moon': must be one of"),
    ('idc_table1', {'only': 'nix'}, r"only 'nix': must be part of one of"),
    ('dc_table1', {'columns': 'DC+nix'}, r"columns 'nix': must be one of"),
    ('idc_table1', {'changes': 'smoke'}, r"changes 'smoke': must be FIELD=V"),
    (
      'idc_table1',
      {'changes': 'netwerk.width=1'},
      r"'netwerk' must be one of .*'network'",
    ),
    (
      'idc_table1',
      {'changes': 'seed=1; evaluation.seeds=many'},
      r"'evaluation.seeds': is 'many', must be a whole number",
    ),
  ],
)
def test_what_is_wrong_lists_what_is_known(name, changes, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    _table(tmp_path / 'never', name, **changes)
  assert not (tmp_path / 'never').exists()


def test_the_command_says_what_is_wrong(called, tmp_path):
  code, _, said = called('--config=table:moon', f'--workdir={tmp_path}/never')
  assert code == 2
  assert said.startswith("error: table 'moon': must be one of dc_activ")
  assert said.count('\n') == 1


def test_changes_get_their_own_folder():
  run = tables.Run('idc', 'digits', 1)
  names = {_settings.name_of(run, 'short', {'seed': i}) for i in range(3)}
  assert len(names) == 3
  assert _settings.config_of(run, 'short', {'seed': '3'}).seed == 3
  place = _settings.name_of(run, 'short', {'data_dir': 'a'})
  assert place == _settings.name_of(run, 'short')


def test_how_to_go_on_is_said_without_a_command_too(tmp_path):
  config = runner.config('idc_table13', 'table', only='ConvNet', size='short')
  config.data_dir = str(tmp_path / 'a b')
  with pytest.raises(FileNotFoundError):
    runs.run(config, tmp_path / 'table')
  text = (tmp_path / 'table/table.md').read_text(encoding='utf-8')
  assert (
    "dcjax '--config=table:idc_table13,size=short,only=ConvNet,data_dir="
    in text
  )


def test_post_downsample_is_what_factor_two_enlarges():
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.uniform(size=(3, 8, 6, 6, 2)), jnp.float32)
  stored = _packing.post_downsample(images, 2)
  assert stored.shape == (3, 2, 6, 6, 2)
  # Cell 1 (upper right) of stored image 0 is image 1 * N / 4 = 2, shrunk.
  small = _packing.resized(images[:, 2], (3, 3))
  np.testing.assert_allclose(stored[:, 0, :3, 3:], small, rtol=1e-6)
  flat = jnp.full((1, 4, 4, 4, 1), 0.25).at[0, 1].set(0.75)
  formation = formations.uniform(2)
  decoded = formation.decode({'images': _packing.post_downsample(flat, 2)})
  np.testing.assert_allclose(decoded.images, flat, rtol=1e-6)
  with pytest.raises(ValueError, match='factor 2 must divide'):
    _packing.post_downsample(images[:, :3], 2)


def test_losing_resolution_keeps_the_mean_and_blurs():
  images = jnp.asarray(np.indices((8, 8)).sum(0) % 2, jnp.float32)[..., None]
  blurred = _loss.lose_resolution(images, 50)
  assert blurred.shape == images.shape
  assert float(jnp.std(blurred)) < 0.2 < float(jnp.std(images))
  np.testing.assert_allclose(jnp.mean(blurred), 0.5, atol=0.05)
  np.testing.assert_array_equal(_loss.lose_resolution(images, 100), images)
  with pytest.raises(ValueError, match='percent 0: must be above 0'):
    _loss.lose_resolution(images, 0)


def test_published_text_must_fit_the_labels():
  found = _types.published(('a',), ('x', 'y', 'z'), '1.0 - 2.0±0.1')
  assert found == {('a', 'x'): '1.0', ('a', 'z'): '2.0 ± 0.1'}
  with pytest.raises(ValueError, match='must be 1 lines of 3'):
    _types.published(('a',), ('x', 'y', 'z'), '1.0 2.0')


def test_lines_hold_published_and_measured_points():
  table = tables.load('idc_table7', 'reference', 'cifar10')
  entry = {'last_mean': 0.5, 'last_std': 0.01}
  measured = {('cifar10, ConvNet-3', 'factor 2'): entry}
  x, y, _ = _plots.line_of(table, measured, 'cifar10, ConvNet-3', 'published')
  assert (x, y) == ([1, 2, 3, 4], [69.5, 74.5, 68.9, 62.0])
  assert _plots.line_of(table, measured, 'cifar10, ConvNet-3', 'measured') == (
    [2],
    [50],
    [1],
  )
  assert (
    _plots.line_of(table, measured, 'cifar10, ResNet-10', 'measured')[0] == []
  )
  whole = tables.load('dc_ipc', 'reference')
  x, y, _ = _plots.line_of(whole, {}, 'mnist', 'published')
  assert (x, y) == ([1, 10, 50], [91.7, 97.4, 98.8])
