"""The papers' tables: their numbers, their runs, and one smoke run of each."""

import html
import json
import pathlib
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import runner

from dcjax import formations

tables = runner.module('tables')
table_program = runner.module('table')
making = runner.module('tables._making')
measure = runner.module('tables._measure')
pages = runner.module('tables._pages')
plots = runner.module('tables._plots')
settings = runner.module('tables._settings')
types = runner.module('tables._types')
variants = runner.module('tables._variants')
loss = runner.module('tables._loss')
workdir = runner.module('workdir')

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
  'dc_activation',
  'dc_pooling',
  'dc_normalisation',
  'dc_depth',
  'dc_width',
  'dc_ipc',
  'dc_lenet',
}


# Tables whose many networks take minutes to compile, for `pytest -m slow`.
# Those left have every kind of cell and every method.
_SLOW = {
  'dc_activation',
  'dc_ipc',
  'dc_lenet',
  'dc_normalisation',
  'dc_table3',
  'idc_figure2',
  'idc_figure5',
  'idc_figure9',
  'idc_table8',
  'idc_table12',
}


# Augmentation is most of what compiles: one of IDC's tables has it. DC's have
# their own, which leaves the digits alone unless a ConvNet has BatchNorm.
_PLAIN = {'augment.family': 'none', 'evaluation.family': 'none'}
_AUGMENTED = {'idc_table11', *(name for name in _WANTED if name[:2] == 'dc')}


def _make(name, folder):
  overrides = {} if name in _AUGMENTED else _PLAIN
  return making.make(f'{name}:size=smoke', folder, overrides=overrides)


def _entries(folder, run):
  """What a shared run's folder holds of its cells."""
  name = settings.name_of(run, 'smoke', _PLAIN)
  return measure.recorded(
    workdir.Workdir(
      str(folder / 'runs' / name),
      settings.config_of(run, 'smoke', _PLAIN),
      [],
    )
  )


@pytest.fixture(scope='module')
def shared(tmp_path_factory):
  """One folder for all tables, so that they share their runs.

  Without the parts of a run that no table reads: estimate and report.
  """
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      runner.module('experiment'), 'describe', lambda parts, path: path.name
    )
    patch.setattr(runner.module('stages'), 'show', lambda *args: None)
    yield tmp_path_factory.mktemp('tables')


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.slow) if name in _SLOW else name
    for name in _NAMES
  ],
)
def test_every_table_runs_at_smoke_size(name, shared, capsys):
  page = _make(name, shared)
  assert set(page.measured) == set(page.table.cells)
  assert {line.state for line in page.runs} == {'finished'}
  for place, entry in page.measured.items():
    mean, std = plots.value_of(page.table, place, entry)
    if isinstance(page.table.cells[place].measure, types.Accuracy):
      assert 0 <= mean <= 100
    assert np.isfinite(mean)
    assert std >= 0
  text = (shared / 'table.md').read_text(encoding='utf-8')
  for line in page.runs:
    assert line.name in text
  for row, column in page.measured:
    line = next(x for x in text.splitlines() if x.startswith(f'| {row} |'))
    shown = line.split(' | ')[1 + page.table.columns.index(column)]
    assert shown.rstrip(' |').endswith(
      f'/ {pages.measured_text(page, (row, column))}'
    )
  web = html.unescape((shared / 'table.html').read_text(encoding='utf-8'))
  assert page.table.title in web
  assert not re.search(r'(src|href)="(?!data:)', web)
  if page.table.plot is not None:
    assert (shared / 'table.png').read_bytes().startswith(b'\x89PNG')
    assert 'data:image/png;base64' in web
  assert f'run 1 of {len(page.runs)}: ' in capsys.readouterr().out


def test_whole_sets_gradients_and_losses_are_measured(shared):
  for name in ('idc_table1', 'idc_figure4', 'idc_figure2_curves'):
    _make(name, shared)
  whole = _entries(shared, types.Run('idc', 'digits', 1))['whole']
  assert (whole['images'], whole['epochs']) == (1433, 4)
  assert whole['label_regime'] == 'hard'
  run = types.Run('dsa', 'digits', 1)
  found = _entries(shared, run)
  norms = [found[types.GradientNorm('synthetic', n).key] for n in (0, 5)]
  assert all(norm['last_mean'] > 0 for norm in norms)
  assert norms[0]['last_mean'] != norms[1]['last_mean']
  folder = shared / 'runs' / settings.name_of(run, 'smoke', _PLAIN)
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  recorded = [json.loads(line)['loss'] for line in lines]
  assert [
    found[types.RecordedLoss(percent).key]['last_mean'] for percent in (40, 100)
  ] == [recorded[0], recorded[-1]]


def test_every_smoke_run_builds_as_it_is(tmp_path):
  jobs = {
    job.folder.path.name: job
    for name in _NAMES
    for job in making.jobs(tables.load(name, 'smoke'), 'smoke', tmp_path, None)
  }
  assert 20 <= len(jobs) <= 30
  for job in jobs.values():
    assert runner.module('builder').build(job.config).dataset.name == 'digits'
  assert list(tmp_path.iterdir()) == []


def test_a_finished_table_computes_nothing(shared, monkeypatch):
  once = _make('idc_table13', shared)
  monkeypatch.setattr(runner.module('experiment'), 'run', None)
  monkeypatch.setattr(runner.module('transfer'), 'evaluate_networks', None)
  again = _make('idc_table13', shared)
  assert again.measured == once.measured


def _pretended_run(config, path, command):
  """Leaves the folder of a finished run behind."""
  folder = workdir.Workdir(path, config, command)
  folder.claim()
  entry = {'last_mean': 0.5, 'last_std': 0.0125}
  seconds = {'condense': 75.0, 'evaluate': 10.0}
  results = {'evaluations': {'condensed': entry}, 'seconds': seconds}
  folder.write_json('results.json', results)


def test_an_interrupted_table_goes_on(tmp_path, monkeypatch, capsys):
  experiment = runner.module('experiment')
  began = []

  def run(config, path, command):
    began.append(path)
    if len(began) == 2:
      raise experiment.Interrupted('stopped')
    _pretended_run(config, path, command)

  monkeypatch.setattr(experiment, 'run', run)
  monkeypatch.setattr(plots, 'draw', lambda *args: None)
  with pytest.raises(experiment.Interrupted):
    _make('dc_ipc', tmp_path)
  said = capsys.readouterr().out
  assert 'run 2 of 2: dc-digits' in said
  assert re.search(r'; about \d+ s left$', said.rstrip())
  text = (tmp_path / 'table.md').read_text(encoding='utf-8')
  assert '| ipc 1 | – / 50.0 ± 1.2 |' in text
  assert '| ipc 2 | – / – |' in text
  assert '| finished | convnet' in text
  assert '| 1 min 15 s | 10.0 s |' in text
  assert '| waiting |' in text
  page = _make('dc_ipc', tmp_path)
  assert [line.state for line in page.runs] == ['finished'] * 2
  assert len(began) == 3  # the finished run is not repeated


def test_only_restricts_to_a_run_or_a_row(shared, tmp_path):
  table = tables.load('idc_table1', 'reference')
  everything = making.jobs(table, 'reference', tmp_path, None)
  dsa = making.choose(everything, 'dsa-')
  assert {job.run.recipe for job in dsa} == {'dsa'}
  row = making.choose(everything, 'ipc 10, ResNet')
  assert {r for job in row for r, _ in job.cells} == {'ipc 10, ResNet-10'}
  assert len(row) == 4
  with pytest.raises(ValueError, match=r'only .none.: must be part of one of'):
    making.choose(everything, 'none')


def test_all_tables_are_there_with_a_title():
  assert set(_NAMES) == _WANTED
  lines = table_program.describe().splitlines()
  assert [line.split()[0] for line in lines] == list(_NAMES)
  assert all(len(line.split()) > 3 for line in lines)


def test_the_document_lists_every_table_and_its_runs():
  text = (_DOCS / 'tables.md').read_text(encoding='utf-8')
  listed = re.findall(r'^\| `(\w+)` \|.*\| (\d+) \|', text, re.MULTILINE)
  counts = {name: int(count) for name, count in listed}
  expected = {}
  for name in _NAMES:
    cells = tables.load(name, 'short').cells.values()
    runs = {settings.name_of(cell.run, 'short') for cell in cells}
    expected[name] = len(runs)
  assert counts == expected


@pytest.mark.parametrize('size', ['reference', 'short'])
@pytest.mark.parametrize('name', sorted(_WANTED))
def test_runs_have_settings_and_names_of_their_own(name, size):
  table = tables.load(name, size)
  assert set(table.cells) <= {
    (row, column) for row in table.rows for column in table.columns
  }
  made = {}
  for cell in table.cells.values():
    config = settings.config_of(cell.run, size)
    text = config.to_json_best_effort(sort_keys=True)
    assert made.setdefault(settings.name_of(cell.run, size), text) == text
    assert config.ipc == cell.run.ipc
  assert len(set(made.values())) == len(made)
  places = {(row, column) for row in table.rows for column in table.columns}
  assert set(table.published) <= places


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
  assert number('dc_ipc', 'whole set', 'svhn') == '95.4'
  assert number('dc_depth', 'condensed with 1', '4') == '76.4 ± 3.5'
  assert number('dc_ipc', 'ipc 10', 'cifar10') == '44.9'


def test_reference_runs_are_the_published_settings():
  cells = tables.load('idc_table11', 'reference').cells
  with_cutmix, without = (
    cells['tested w/o S.A.', name] for name in ('IDC', 'IDC w/o S.A.')
  )
  assert settings.config_of(with_cutmix.run, 'reference').augment.cutmix == -1
  assert settings.config_of(without.run, 'reference').augment.cutmix == 0
  assert with_cutmix.measure.changes['evaluation.family'] == 'dsa'
  cell = tables.load('idc_table2', 'reference').cells[
    'ipc 10, ResNet-10', 'IDC'
  ]
  assert cell.measure.epochs_divisor == 4
  vgg = tables.load('dc_table2', 'short').cells['condensed with VGG', 'VGG']
  config = settings.config_of(vgg.run, 'short')
  assert config.network.to_dict() == {
    'name': 'vgg11',
    'norm': 'batch',
    'width': 16,
  }
  assert vgg.measure.network['norm'] == 'instance'
  speech = tables.load('idc_table4', 'reference').cells['ipc 10', 'DM']
  assert settings.config_of(speech.run, 'reference').network.depth == 4


def test_imagenet_is_condensed_and_tested_as_published():
  cells = tables.load('idc_table3', 'reference').cells
  assert ('imagenet100, ipc 10, ResNet-18', 'Full data') not in cells
  found = {}
  for method in ('DSA', 'DM', 'IDC-I', 'IDC', 'Full data'):
    cell = cells['imagenet10, ipc 20, ResNet-18', method]
    config = found[method] = settings.config_of(cell.run, 'reference')
    assert (config.network.name, config.network.depth) == ('resnet', 10)
    assert config.network.average_pooling
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
  condensing = settings.config_of(cells['ConvNet-3', 'RN'].run, 'reference')
  assert condensing.network.get('form', 'auto') == form
  assert condensing.network.norm == 'instance'


def test_cells_without_their_data_say_so(tmp_path, monkeypatch):
  def run(config, path, command):
    if config.data.name.startswith('imagenet'):
      runner.module('builder').load_dataset(config)
    _pretended_run(config, path, command)

  monkeypatch.setattr(runner.module('experiment'), 'run', run)
  monkeypatch.setattr(plots, 'draw', lambda *args: None)
  absent = {'data.dir': str(tmp_path / 'absent')}
  page = making.make('idc_table7', tmp_path, overrides=absent, only='ConvNet-3')
  assert len(page.measured) == 4
  assert page.said == {}
  page = making.make('idc_table7', tmp_path, overrides=absent, only='ResNetAP')
  assert len(page.measured) == 4
  assert set(page.missing.values()) == {'ImageNet'}
  assert {row.split(',')[0] for row, _ in page.missing} == {'imagenet10'}
  text = (tmp_path / 'table.md').read_text(encoding='utf-8')
  assert '| 65.5 / needs ImageNet | 73.3 / needs ImageNet |' in text
  assert f'Needs ImageNet: {next(iter(page.said.values()))}' in text
  assert 'train/<synset>' in text
  assert text.count('| needs data |') == 4
  assert '69.5 / 50.0 ± 1.2' in text


def test_a_table_without_any_data_fails(tmp_path):
  absent = {'data.dir': str(tmp_path / 'absent')}
  with pytest.raises(FileNotFoundError, match='absent'):
    table_program.make('idc_table13', tmp_path, overrides=absent)
  assert '/ needs cifar10 |' in (tmp_path / 'table.md').read_text('utf-8')
  assert not (tmp_path / 'runs').exists()


def test_another_data_set_has_no_published_numbers():
  table = tables.load('idc_table1', 'short', 'cifar100')
  assert {cell.run.dataset for cell in table.cells.values()} == {'cifar100'}
  assert table.published == {}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('idc_table', r"table 'idc_table': must be one of dc_activation"),
    ('idc_table1:size=big', r"size 'big': must be one of reference, short"),
    ('idc_table1:big', r"table argument 'big': must be size=... or dataset"),
    ('idc_table1:dataset=moon', r"data set 'moon': must be one of"),
  ],
)
def test_unknown_names_list_the_known_ones(text, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    making.make(text, tmp_path / 'never')
  assert not (tmp_path / 'never').exists()


def test_the_command_says_what_is_wrong():
  command = [sys.executable, str(runner.EXPERIMENTS / 'table.py')]
  command += ['--table=moon', '--workdir=never']
  done = subprocess.run(command, capture_output=True, text=True, timeout=300)
  assert done.returncode == 2
  assert "error: table 'moon': must be one of dc_activation" in done.stderr


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    ('network.size', 1, "'size' must be one of .*'depth'"),
    ('netwerk.width', 1, "'netwerk' must be one of .*'network'"),
    (
      'evaluation.seeds',
      'many',
      'evaluation.seeds: .many. must be of type int',
    ),
  ],
)
def test_bad_overrides_name_the_field(field, value, message):
  run = types.Run('idc', 'digits', 1)
  with pytest.raises(ValueError, match=message):
    settings.config_of(run, 'short', {field: value})


def test_overrides_are_read_and_get_their_own_folder():
  words = ['table.py', '--table=x', '--config.seed=3', '--config.data.dir=a b']
  others, overrides = table_program.read_overrides(words)
  assert others == ['table.py', '--table=x']
  assert overrides == {'seed': 3, 'data.dir': 'a b'}
  run = types.Run('idc', 'digits', 1)
  names = {settings.name_of(run, 'short', {'seed': i}) for i in range(3)}
  assert len(names) == 3
  assert settings.config_of(run, 'short', overrides).seed == 3
  place = settings.name_of(run, 'short', {'data.dir': 'a'})
  assert place == settings.name_of(run, 'short')
  with pytest.raises(ValueError, match=r'--config.seed: must be --config'):
    table_program.read_overrides(['--config.seed'])


def test_post_downsample_is_what_factor_two_enlarges():
  rng = np.random.default_rng(0)
  images = jnp.asarray(rng.uniform(size=(3, 8, 6, 6, 2)), jnp.float32)
  stored = variants.post_downsample(images, 2)
  assert stored.shape == (3, 2, 6, 6, 2)
  # Cell 1 (upper right) of stored image 0 is image 1 * N / 4 = 2, shrunk.
  small = variants.resized(images[:, 2], (3, 3))
  np.testing.assert_allclose(stored[:, 0, :3, 3:], small, rtol=1e-6)
  flat = jnp.full((1, 4, 4, 4, 1), 0.25).at[0, 1].set(0.75)
  formation = formations.uniform(2)
  decoded = formation.decode({'images': variants.post_downsample(flat, 2)})
  np.testing.assert_allclose(decoded.images, flat, rtol=1e-6)
  with pytest.raises(ValueError, match='factor 2 must divide'):
    variants.post_downsample(images[:, :3], 2)


def test_losing_resolution_keeps_the_mean_and_blurs():
  images = jnp.asarray(np.indices((8, 8)).sum(0) % 2, jnp.float32)[..., None]
  blurred = loss.lose_resolution(images, 50)
  assert blurred.shape == images.shape
  assert float(jnp.std(blurred)) < 0.2 < float(jnp.std(images))
  np.testing.assert_allclose(jnp.mean(blurred), 0.5, atol=0.05)
  np.testing.assert_array_equal(loss.lose_resolution(images, 100), images)
  with pytest.raises(ValueError, match='percent 0: must be above 0'):
    loss.lose_resolution(images, 0)


def test_published_text_must_fit_the_labels():
  found = types.published(('a',), ('x', 'y', 'z'), '1.0 - 2.0±0.1')
  assert found == {('a', 'x'): '1.0', ('a', 'z'): '2.0 ± 0.1'}
  with pytest.raises(ValueError, match='must be 1 lines of 3'):
    types.published(('a',), ('x', 'y', 'z'), '1.0 2.0')


def test_lines_hold_published_and_measured_points():
  table = tables.load('idc_table7', 'reference', 'cifar10')
  entry = {'last_mean': 0.5, 'last_std': 0.01}
  measured = {('cifar10, ConvNet-3', 'factor 2'): entry}
  x, y, _ = plots.line_of(table, measured, 'cifar10, ConvNet-3', 'published')
  assert (x, y) == ([1, 2, 3, 4], [69.5, 74.5, 68.9, 62.0])
  assert plots.line_of(table, measured, 'cifar10, ConvNet-3', 'measured') == (
    [2],
    [50],
    [1],
  )
  assert (
    plots.line_of(table, measured, 'cifar10, ResNet-10', 'measured')[0] == []
  )
  whole = tables.load('dc_ipc', 'reference')
  x, y, _ = plots.line_of(whole, {}, 'mnist', 'published')
  assert (x, y) == ([1, 10, 50], [91.7, 97.4, 98.8])
