"""RDED, SRe2L, CDA, G-VBSM and EDC from data to report, as small as can be."""

import html
import json

import jax
import numpy as np
import pytest
import runner

import dcjax
from dcjax import labelling, networks, sharding, statistics

observers = runner.module('observers')
parts_of = runner.module('statistics_parts')
statistics_run = runner.module('statistics_run')
students = runner.module('students')
_ONE = ('convnet:width=3:depth=1:norm=batch',)
_TWO = (*_ONE, 'convnet:width=2:depth=1')
# Few classes and pixels: what takes time here is compiling.
_SMALL = dict(
  ipc=2,
  data__name='npz',
  data__options__size=None,
  observers__matching=_TWO,
  observers__labelling=_ONE,
  observers__padding=0,
  synthesis__batch_size=4,
  evaluation__baselines=('random', 'random_hard'),
)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Settings of tiny runs that share their data and their observers."""
  folder = tmp_path_factory.mktemp('edc')
  data = runner.write_npz(folder / 'data.npz')
  return {
    **_SMALL,
    'data__dir': str(data),
    'observers__dir': str(folder / 'observers'),
  }


@pytest.fixture(scope='module')
def measured():
  """Stages of `whole` whose speed was measured."""
  return set()


@pytest.fixture(scope='module')
def whole(place, tmp_path_factory, measured):
  """The folder and results of a run that nothing interrupted."""
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  kind = runner.module('outlook').Outlook
  update = kind.update

  def listen(outlook, stage, part, done, piece, seconds):
    update(outlook, stage, part, done, piece, seconds)
    if seconds:
      measured.add(stage)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(kind, 'update', listen)
    return workdir, runner.run(workdir, recipe='edc', **place)


@pytest.fixture
def untrained(monkeypatch):
  """Observers and statistics are there already: none is made again."""
  monkeypatch.setattr(runner.module('rounds'), 'train_rounds', None)
  monkeypatch.setattr(statistics, 'collector', None)


def test_run_leaves_its_files_and_says_what_they_are(whole, place):
  workdir, results = whole
  assert {file.name for file in workdir.iterdir()} == {
    'checkpoints',
    'condensed.npz',
    'config.json',
    'evaluations.json',
    'images.png',
    'metrics.jsonl',
    'report.html',
    'results.json',
    'stages.json',
    'start.npz',
    'statistics.npz',
  }
  assert json.loads((workdir / 'results.json').read_text()) == results
  rows = results['evaluations']
  assert list(rows) == ['condensed', 'random', 'random_hard']
  regimes = [row['label_regime'] for row in rows.values()]
  assert regimes == ['online teacher', 'online teacher', 'hard']
  teachers = [row['teacher_bytes'] for row in rows.values()]
  assert teachers == [results['bytes']['teachers']] * 2 + [0]
  assert teachers[0] > 0
  assert results['bytes']['images'] == rows['random']['bytes'] == 4 * 8 * 64
  roles = {o['network']: o['roles'] for o in results['observers']}
  assert roles == {_TWO[0]: ['matching', 'labelling'], _TWO[1]: ['matching']}
  assert all(0 <= o['accuracy'] <= 1 for o in results['observers'])
  lines = (workdir / 'metrics.jsonl').read_text().splitlines()
  records = [json.loads(line) for line in lines]
  assert [(r['outer'], r['batch']) for r in records] == [
    (1, 1),
    (2, 1),
    (3, 2),
    (4, 2),
  ]
  page = html.unescape((workdir / 'report.html').read_text(encoding='utf-8'))
  for text in ('Observers', _TWO[1], 'bytes of teachers', 'hard labels'):
    assert text in page
  again = runner.run(workdir, recipe='edc', **place)
  assert again == results


def test_time_that_is_left_is_measured_and_ends_at_nothing(
  whole, place, measured, tmp_path
):
  assert measured == {'observers', 'synthesis', 'students'}
  plan = runner.module('statistics_plan')
  parts, _, _ = _school(place)
  wanted = observers.plans(parts.config, parts.dataset)

  def left(path):
    folder = runner.module('workdir').Workdir(str(path), parts.config, [])
    return plan.expected(parts, wanted, folder)

  assert left(whole[0]).total() == 0
  ahead = left(tmp_path)  # The observers are elsewhere, and trained.
  assert list(ahead.seconds()) == ['statistics', 'synthesis', 'students']
  assert ahead.total() > 0
  assert ahead.describe().startswith('about 0 s on cpu (rough')


def test_statistics_are_found_again_beside_their_observers(
  whole, place, tmp_path, untrained
):
  squeeze, files = map(runner.module, ('squeeze', '_stage_files'))

  def obtain(name, **changes):
    parts, _, found = _school(place, **changes)
    folder = runner.module('workdir').Workdir(
      str(tmp_path / name), parts.config, []
    )
    folder.path.mkdir()
    data = observers.data_identity(parts.dataset)
    stages = files.Stages(folder)
    return squeeze.targets(parts, found['matching'], stages, data, folder.path)

  found = obtain('same')
  with np.load(whole[0] / 'statistics.npz') as file:
    expected = [file[name] for name in file.files]
  for one, other in zip(jax.tree.leaves(found), expected, strict=True):
    np.testing.assert_array_equal(one, other)
  fewer = obtain('whole only', synthesis__alpha=1.0)
  assert [t.classes for t in fewer] == [None, None]
  for name, changes in (
    ('patches', {'statistics__patch_size': 2}),
    ('flips', {'augment__flip': 'yes'}),
  ):
    with pytest.raises(TypeError, match="'NoneType' object is not callable"):
      obtain(name, **changes)


def test_a_mesh_changes_nothing(whole, place, untrained, tmp_path, monkeypatch):
  """One of one device: where things are is said, but it is one place."""
  monkeypatch.setattr(
    runner.module('devices'),
    'mesh_of',
    lambda dataset, devices_per_class=0: sharding.make_mesh(4),
  )
  config = runner.config('digits,smoke', 'edc', **place)
  parts = parts_of.build(config)
  folder = runner.module('workdir').Workdir(str(tmp_path), config, [])
  with folder.graceful_stop() as stop:
    made = statistics_run.make_set(
      parts, observers.plans(config, parts.dataset), folder, stop
    )
  np.testing.assert_allclose(
    made.condensed.params['images'],
    dcjax.load(whole[0] / 'condensed.npz').params['images'],
    atol=1e-5,
  )


def test_images_moved_and_the_artefact_opens_with_numpy(whole):
  workdir, _ = whole
  with np.load(workdir / 'condensed.npz', allow_pickle=False) as file:
    meta = json.loads(file['meta'].tobytes())
    images = file['params/images']
  assert meta['label_regime'] == 'online teacher'
  assert meta['protocol']['teachers'] == list(_ONE)
  assert images.shape == (4, 2, 8, 8, 1)
  assert images.min() >= 0
  assert images.max() <= 1
  with np.load(workdir / 'start.npz') as file:
    moved = np.abs(images - file['images'])
  assert (moved.max((2, 3, 4)) > 1e-3).all()


def _school(place, arguments='digits,smoke', **changes):
  """Students and teachers of a finished run, from its files alone."""
  config = runner.config(arguments, 'edc', **{**place, **changes})
  parts = parts_of.build(config)
  found = observers.obtain(
    parts, observers.plans(config, parts.dataset), None, None
  )
  return parts, students.Students(parts, found['labelling']), found


def test_a_loaded_artefact_trains_to_the_same_accuracy(whole, place, untrained):
  workdir, results = whole
  images = dcjax.load(workdir / 'condensed.npz').batch().images
  parts, school, _ = _school(place)
  entry = school.run(
    'again',
    np.asarray(images),
    students.Labels('online'),
    statistics_run.keys(parts.config.seed)['evaluate'],
  )
  recorded = results['evaluations']['condensed']
  assert entry['per_seed_last'] == recorded['per_seed_last']
  assert entry['per_seed_best'] == recorded['per_seed_best']


def test_a_killed_synthesis_ends_with_the_same_bytes(
  whole, place, untrained, tmp_path, monkeypatch
):
  workdir = tmp_path / 'run'
  module = runner.module('workdir').Workdir
  append = module.append_metrics
  made = {}
  for period in (3, 4):  # after an image batch, and within one

    def die(folder, record, period=period):
      append(folder, record)
      if record['outer'] == period:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
      patch.setattr(module, 'append_metrics', die)
      patch.setattr(module, 'seconds_since_save', lambda folder: 99)
      with pytest.raises(KeyboardInterrupt):
        runner.run(workdir, recipe='edc', **place)
    assert (workdir / 'checkpoints' / str(period - 1)).is_dir()
    files = [workdir / f'{name}.npz' for name in ('start', 'statistics')]
    times = [file.stat().st_mtime_ns for file in files]
    assert times == made.setdefault('times', times)
  runner.run(workdir, recipe='edc', **place)
  assert [file.stat().st_mtime_ns for file in files] == made['times']
  assert runner.outcome(workdir) == runner.outcome(whole[0])


def test_stored_labels_lie_beside_the_artefact(
  place, untrained, tmp_path, whole
):
  changes = {**place, 'labels__regime': 'stored', 'synthesis__alpha': 0.5}
  changes['evaluation__baselines'] = ('random',)
  workdir = tmp_path / 'run'
  results = runner.run(workdir, recipe='edc', **changes)
  stored = labelling.load_labels(workdir / 'labels.npz')
  assert results['bytes'] == {
    'images': 4 * 8 * 64,
    'labels': stored.nbytes,
    'teachers': 0,
  }
  rows = results['evaluations']
  assert {r['label_regime'] for r in rows.values()} == {
    'stored soft labels per crop'
  }
  loaded = dcjax.load(workdir / 'condensed.npz')
  assert loaded.label_regime == 'stored soft labels per crop'
  assert loaded.protocol['labels_file'] == 'labels.npz'
  school = _school(changes)[1]
  images = np.asarray(loaded.batch().images)
  key = statistics_run.keys(0)['evaluate']
  entry = school.run('x', images, students.Labels('stored', None, stored), key)
  assert entry['per_seed_last'] == rows['condensed']['per_seed_last']
  # Without its results the run begins with the labels, and finds them wrong.
  (workdir / 'results.json').unlink()
  other = jax.tree.map(lambda leaf: leaf[:, :5], stored._replace(cuts=()))
  labelling.save_labels(
    workdir / 'labels.npz', other._replace(cuts=stored.cuts)
  )
  with pytest.raises(ValueError, match='labels: made for batches of 5'):
    runner.run(workdir, recipe='edc', **changes)
  (workdir / 'start.npz').write_bytes(b'PK no')
  with pytest.raises(ValueError, match=r'start\.npz: is damaged'):
    runner.run(workdir, recipe='edc', **changes)


def test_rded_with_one_soft_label_per_image(place, untrained, tmp_path, whole):
  changes = {n: v for n, v in place.items() if 'synthesis' not in n}
  changes |= {
    'observers__matching': _ONE,
    'labels__regime': 'image',
    'evaluation__protocol': 'edc',
    'evaluation__smallest_crop': 0.5,
    'evaluation__students': (_TWO[1],),
    **_training(),
  }
  workdir = tmp_path / 'run'
  results = runner.run(workdir, recipe='rded', **changes)
  loaded = dcjax.load(workdir / 'condensed.npz')
  assert loaded.label_regime == 'one soft label per image'
  assert loaded.labels.shape == (4, 2, 4)
  np.testing.assert_allclose(loaded.labels.sum(-1), 1, rtol=1e-5)
  assert results['bytes']['labels'] == loaded.labels.nbytes
  images, labels = loaded.numpy()
  assert images.shape == (8, 8, 8, 1)
  assert labels.shape == (8, 4)
  assert not (workdir / 'checkpoints').exists()
  rows = results['evaluations']
  more = [f'{name}, {_TWO[1]}' for name in ('condensed', 'random')]
  assert list(rows) == ['condensed', 'random', 'random_hard', *more]
  students = [row['network'] for row in rows.values()]
  assert students == ['convnet1w4'] * 3 + ['convnet1w2'] * 2
  assert [rows[name]['label_regime'] for name in more] == [
    'one soft label per image'
  ] * 2


def _training():
  """How EDC trains observers: RDED finds the same ones."""
  section = runner.config('digits,smoke', 'edc').observers
  names = ('learning_rate', 'zeta', 'batch_size', 'weight_decay')
  return {f'observers__{n}': section[n] for n in names}


@pytest.mark.parametrize('recipe', ['sre2l', 'cda', 'gvbsm'])
def test_methods_from_noise(recipe, place, tmp_path):
  changes = {
    **place,
    'observers__matching': _ONE,
    'labels__regime': 'online',
    **_training(),
  }
  config = runner.config('digits,smoke', recipe, **changes)
  parts = parts_of.build(config)
  folder = runner.module('workdir').Workdir(str(tmp_path), config, [])
  with folder.graceful_stop() as stop:
    made = statistics_run.make_set(
      parts, observers.plans(config, parts.dataset), folder, stop
    )
  assert made.condensed.provenance['method'] == recipe
  images = made.condensed.params['images']
  assert (np.abs(images - made.start).max((2, 3, 4)) > 1e-3).all()
  records = folder.metrics()
  assert len(records) == 4
  if recipe != 'cda':  # whose crops become smaller
    assert records[1]['statistics'] < records[0]['statistics']


def test_observers_of_one_shape_are_trained_together_and_go_on(
  place, tmp_path, monkeypatch
):
  changes = {
    **place,
    'observers__matching': _ONE * 2,
    'observers__labelling': _ONE,
    'observers__epochs': 2,
    'observers__labelling_epochs': 2,
    'observers__dir': str(tmp_path / 'there'),
  }
  config = runner.config('digits,smoke', 'edc', **changes)
  parts = parts_of.build(config)
  plans = observers.plans(config, parts.dataset)
  every = observers.obtain(parts, plans, tmp_path, None)
  found = every['matching']
  assert every['labelling'] == found[:1]
  assert found[0].identity != found[1].identity
  first, second = (jax.tree.leaves(o.variables)[-1] for o in found)
  assert not np.array_equal(first, second)
  config.observers.dir = str(tmp_path / 'here')

  class Stop:
    calls = 0

    def agreed(self):
      self.calls += 1
      return self.calls == 1

  with pytest.raises(Exception, match='stopped while training convnet'):
    observers.obtain(parts, plans, tmp_path, Stop())
  again = observers.obtain(parts, plans, tmp_path, None)['matching']
  for one, other in zip(found, again, strict=True):
    jax.tree.map(np.testing.assert_array_equal, one.variables, other.variables)
    assert one.accuracy == other.accuracy
  names = sorted(f.suffix for f in (tmp_path / 'here').iterdir())
  assert names == ['.json'] * 2 + ['.npz'] * 2


def test_observers_come_from_state_dicts(place, whole, tmp_path, monkeypatch):
  load = networks.load_torch
  # The file's own format needs a package; what is in it does not.
  monkeypatch.setattr(
    networks, 'load_torch', lambda file, *spec: load(dict(np.load(file)), *spec)
  )
  parts, _, found = _school(place)
  one = found['matching'][0]
  shape = parts.dataset.image_shape
  state = networks.to_torch(one.variables, one.plan.spec, shape, 4)
  file = tmp_path / 'observer.npz'
  np.savez(file, **state)
  words = (f'{_ONE[0]}@{file}',)
  _, _, imported = _school(place, observers__matching=words)
  given = imported['matching'][0]
  jax.tree.map(np.testing.assert_array_equal, given.variables, one.variables)
  assert given.accuracy == one.accuracy
  with pytest.raises(FileNotFoundError, match='which is no file'):
    _school(place, observers__matching=(f'{_ONE[0]}@{file}x',))
  wide = (f'convnet:width=4:depth=1:norm=batch@{file}',)
  with pytest.raises(ValueError, match='conv'):
    _school(place, observers__matching=wide)
