"""Observers of RDED, SRe2L, CDA, G-VBSM and EDC: trained, imported, measured.

Whole runs are in `test_smoke_runs.py`.
"""

import jax
import numpy as np
import pytest
import runner
import tiny
from stopping import StopWhen

import dcjax
from dcjax import networks
from dcjax.runs import (
  Interrupted,
  _observers,
  _pipelines,
  _stage,
  _statistics,
  _wanted,
)
from dcjax.runs._folder import Folder, Stop
from dcjax.runs._outlook import Outlook
from dcjax.runs._stage import Work

_ONE = ('convnet:width=3:depth=1:norm=batch',)
_TWO = (*_ONE, 'convnet:width=2:depth=1')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Settings of tiny runs that share their data: few classes and pixels."""
  folder = tmp_path_factory.mktemp('edc')
  data = runner.write_npz(folder / 'data.npz')
  return dict(
    data_dir=str(data),
    observers__matching=_TWO,
    observers__labelling=_ONE,
    observers__padding=0,
    observers__images_per_class=0,
    statistics__images_per_class=0,
    batches__batch_size=4,
  )


@pytest.fixture(scope='module')
def store(tmp_path_factory):
  return tmp_path_factory.mktemp('store')


@pytest.mark.parametrize('recipe', ['rded', 'sre2l', 'edc'])
def test_students_of_imagenet_see_stored_images_whole(recipe):
  """Four crops may share an image; they are no images of their own."""
  built = runner.built('digits:size=8,like=imagenet10,smoke,ipc=2', recipe)
  assert _wanted.longest(built) == 20
  assert ('rded:factor=2:' in built.config.start) == (recipe != 'sre2l')
  shuffled = built.config.augment.evaluate.startswith('shuffle=2|')
  assert shuffled == (recipe == 'rded')


def _built(place, recipe='edc', **changes):
  return runner.built('npz,smoke', recipe, **{**place, **changes})


def _obtain(path, built, store=None, stop=None, measured=False):
  """Runs the stages of observers, and of statistics if asked for."""
  folder = Folder(path, {})
  with folder.owned():
    work = Work(folder, stop or Stop(), Outlook(), store)
    found = _observers.observers(built, _observers.ROLES)
    stages = [_observers.observer_stage(built, work, o) for o in found]
    if measured:
      looking = [o for o in found if 'matching' in o.roles]
      stages += [_statistics.stage(built, o) for o in looking]
    stages = [_pipelines.data_stage(built), *stages]
    return found, _stage.run(stages, work)


@pytest.fixture(scope='module')
def trained(place, store, tmp_path_factory):
  """Observers and their statistics, trained and measured once."""
  folder = tmp_path_factory.mktemp('trained') / 'run'
  return _obtain(folder, _built(place), store, measured=True)


def test_each_observer_is_made_once_whatever_it_is_for(place, trained):
  found, made = trained
  roles = {o.word: o.roles for o in found}
  assert roles == {_TWO[0]: ('matching', 'labelling'), _TWO[1]: ('matching',)}
  other = _observers.observers(
    _built(place, observers__labelling_epochs=3), _observers.ROLES
  )
  assert [(o.word, o.epochs, o.roles) for o in other] == [
    (_TWO[0], 1, ('matching',)),
    (_TWO[1], 1, ('matching',)),
    (_TWO[0], 3, ('labelling',)),
  ]
  for observer in found:
    assert 0 <= made(observer.stage)['accuracy'] <= 1


def test_observers_and_statistics_are_found_again_in_a_store(
  place, store, trained, tmp_path
):
  before = {p: p.stat().st_mtime_ns for p in store.iterdir()}
  assert len(before) == 4
  _, made = _obtain(tmp_path, _built(place, ipc=1), store, measured=True)
  assert {p: p.stat().st_mtime_ns for p in store.iterdir()} == before
  assert not (tmp_path / 'checkpoints').exists()
  for name, key in trained[1].keys.items():
    assert made.keys[name] == key
    if name != 'data':
      tiny.assert_trees_equal(made(name), trained[1](name))


@pytest.mark.parametrize(
  ('changes', 'again'),
  [
    ({'method__alpha': 1.0, 'method__weight': 0.5}, ()),
    ({'statistics__patch_size': 2}, ('statistics',)),
    ({'augment__flip': 'yes'}, ('observers', 'statistics')),
    ({'observers__seed': 1}, ('observers', 'statistics')),
    ({'seed': 1, 'ipc': 1}, ()),
  ],
)
def test_what_observers_and_statistics_depend_on_is_in_their_keys(
  place, trained, changes, again
):
  built = _built(place, **changes)
  found = _observers.observers(built, _observers.ROLES)
  stages = [_pipelines.data_stage(built)]
  stages += [_observers.observer_stage(built, None, o) for o in found]
  stages += [_statistics.stage(built, o) for o in found]
  keys = {}
  for stage in stages:
    keys[stage.name] = _stage.key_of(stage, [keys[n] for n in stage.inputs])
  different = {
    name.partition('/')[0]
    for name, key in keys.items()
    if key != trained[1].keys[name]
  }
  assert different == set(again)


def test_statistics_of_classes_are_left_out_where_they_do_not_count(
  place, trained
):
  found, made = trained
  targets = made(f'statistics/{found[0].stage.partition("/")[2]}')
  assert targets.classes is not None
  assert _statistics.used(_built(place), targets).classes is not None
  whole = _statistics.used(_built(place, method__alpha=1.0), targets)
  assert whole.classes is None
  tiny.assert_trees_equal(whole.whole, targets.whole)


def test_observers_of_one_shape_differ_and_a_training_goes_on(
  place, trained, tmp_path
):
  built = _built(
    place,
    observers__matching=_ONE * 2,
    observers__epochs=2,
    observers__labelling_epochs=2,
  )
  found, whole = _obtain(tmp_path / 'whole', built)
  assert [o.roles for o in found] == [('matching', 'labelling'), ('matching',)]
  first, second = (
    jax.tree.leaves(whole(o.stage)['variables'])[-1] for o in found
  )
  assert not np.array_equal(first, second)
  stopped = tmp_path / 'stopped'
  with pytest.raises(Interrupted, match=r'training convnet.* epoch 1 of 2'):
    _obtain(stopped, built, stop=StopWhen(stopped, 'checkpoints/*'))
  _, made = _obtain(stopped, built)
  for observer in found:
    tiny.assert_trees_equal(made(observer.stage), whole(observer.stage))


def test_observers_come_from_state_dicts(place, trained, tmp_path, monkeypatch):
  load = networks.load_torch
  # The file's own format needs a package; what is in it does not.
  monkeypatch.setattr(
    networks, 'load_torch', lambda file, *spec: load(dict(np.load(file)), *spec)
  )
  found, made = trained
  own = made(found[0].stage)
  built = _built(place)
  spec = networks.complete('', _ONE[0])
  state = networks.to_torch(
    own['variables'], spec, built.dataset.image_shape, 4
  )
  file = tmp_path / 'observer.npz'
  np.savez(file, **state)
  words = (f'{_ONE[0]}@{file}',)
  built = _built(place, observers__matching=words, observers__labelling=words)
  (imported,), given = _obtain(tmp_path / 'run', built)
  tiny.assert_trees_equal(given(imported.stage)['variables'], own['variables'])
  assert given(imported.stage)['accuracy'] == own['accuracy']
  missing = _built(place, observers__matching=(f'{_ONE[0]}@{file}x',))
  with pytest.raises(FileNotFoundError, match='which is no file'):
    _obtain(tmp_path / 'none', missing)
  words = (f'convnet:width=4:depth=1:norm=batch@{file}',)
  (wide, _), given = _obtain(
    tmp_path / 'wide', _built(place, observers__matching=words)
  )
  with pytest.raises(ValueError, match='conv'):
    given(wide.stage)


def test_a_path_of_this_machine_does_not_go_into_the_artefact(place, tmp_path):
  word = f'{_ONE[0]}@{tmp_path}/observer.pth'
  config = runner.resolved(
    'npz,smoke', 'edc', **{**place, 'observers__matching': (word,)}
  ).config
  plain = dcjax.runs._build.plain(config)
  assert plain['observers']['matching'] == [f'{_ONE[0]}@observer.pth']
  assert 'data_dir' not in plain


@pytest.mark.parametrize(
  ('recipe', 'changes', 'message'),
  [
    (
      'edc',
      {'observers__matching': ()},
      r'observers\.matching \(\): must name',
    ),
    ('sre2l', {}, 'looks through one network'),
    ('edc', {'observers__matching': ('vgg',)}, r"observers\.matching.*'vgg'"),
    ('edc', {'observers__labelling': ()}, r'labels\.regime.*labelling'),
    (
      'edc',
      {'labels__regime': 'stored', 'augment__evaluate': 'randaugment|flip'},
      r'augment\.evaluate .*stored labels',
    ),
    (
      'edc',
      {
        'labels__regime': 'stored',
        'augment__evaluate': 'resized_crop=0.5|flip',
        'augment__mix': 'none',
      },
      r'augment\.mix .*stored labels',
    ),
  ],
)
def test_bad_observers_are_named_before_anything_is_trained(
  recipe, changes, message, place, tmp_path
):
  with pytest.raises(ValueError, match=message):
    runner.run(tmp_path / 'run', 'npz,smoke', recipe, **{**place, **changes})
  assert not (tmp_path / 'run' / 'config.json').exists()
