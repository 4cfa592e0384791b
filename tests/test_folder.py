"""The folder of a run: whose it is, what may lie in it, who is at work."""

import errno
import json
import os
import signal

import numpy as np
import orbax.checkpoint as ocp
import pytest
import runner

from dcjax import artefact, records, runs
from dcjax.runs import _folder
from dcjax.runs._checkpoint import Checkpoints
from dcjax.runs._folder import Folder

_FULL = OSError(errno.ENOSPC, 'No space left on device')
_SETTINGS = {
  'seed': 0,
  'data_dir': '/here',
  'evaluation': {'seeds': 1},
  'method': {'learning_rate': 0.1},
}


def names(folder):
  return sorted(file.name for file in folder.iterdir())


def contents(folder):
  files = [f for f in folder.rglob('*') if f.is_file()]
  return {f: f.read_bytes() for f in files}


@pytest.fixture
def claimed(tmp_path):
  """A folder that belongs to a run which is not at work."""
  folder = Folder(tmp_path / 'run', _SETTINGS)
  with folder.owned():
    pass
  return folder


# Whose it is.


def test_looking_at_a_folder_writes_nothing(tmp_path):
  Folder(tmp_path / 'run', _SETTINGS)
  assert names(tmp_path) == []


def test_the_same_settings_go_on_and_others_are_refused(claimed):
  assert names(claimed.path) == ['config.json']
  assert claimed.read('config.json') == _SETTINGS
  Folder(claimed.path, _SETTINGS)
  before = contents(claimed.path)
  for other, message in (
    (_SETTINGS | {'seed': 7}, r'seed: 0 there, 7 here\)'),
    (
      _SETTINGS | {'method': {'learning_rate': 1.0}},
      r'method\.learning_rate: 0\.1 there, 1\.0 here',
    ),
    (_SETTINGS | {'given': {'dataset': 'x'}}, r"dataset: None there, 'x' here"),
    (_SETTINGS | {f'f{i}': 0 for i in range(7)}, r'None there, 0 here, \.\.\.'),
  ):
    with pytest.raises(ValueError, match='run with other settings') as caught:
      Folder(claimed.path, other)
    assert caught.match(message)
    assert '\n' not in str(caught.value)
  assert contents(claimed.path) == before


def test_evaluations_and_the_place_of_the_data_may_change(claimed):
  other = _SETTINGS | {
    'data_dir': '/there',
    'evaluation': {'seeds': 5, 'at': [0.5]},
    'execution': {'classes': 'scan'},
  }
  folder = Folder(claimed.path, other)
  claimed.finish({'a': 1})
  assert claimed.results() == {'a': 1}
  with folder.owned():
    # Results are those of the settings beside them, however this ends.
    assert folder.results() is None
    assert claimed.results() == {'a': 1}
    folder.finish({'a': 2})
  assert folder.read('config.json') == other
  assert folder.results() == {'a': 2}
  assert claimed.results() is None


@pytest.mark.parametrize('name', _folder._OURS)
def test_files_of_nobody_are_left_alone(tmp_path, name):
  (tmp_path / name).write_text('{}')
  with pytest.raises(ValueError, match=f'holds {name} but no config.json'):
    runs.run(runner.config(), tmp_path)
  assert names(tmp_path) == [name]
  assert (tmp_path / name).read_text() == '{}'


def test_a_workdir_that_cannot_be_a_folder(tmp_path):
  file = tmp_path / 'file'
  file.write_text('mine')
  with pytest.raises(ValueError, match=f'workdir {file}: is a file'):
    Folder(file, _SETTINGS)
  with (
    pytest.raises(OSError, match=str(file)),
    Folder(file / 'below', _SETTINGS).owned(),
  ):
    pass
  assert file.read_text() == 'mine'
  with pytest.raises(ValueError, match='must be a folder of this machine'):
    Folder('gs://bucket/run', _SETTINGS)
  with pytest.raises(
    ValueError, match=r"workdir 'w\\udcc3': must be a name in"
  ):
    Folder('w\udcc3', _SETTINGS)


@pytest.mark.parametrize('name', ['config.json', 'results.json'])
@pytest.mark.parametrize('content', ['{"ipc"', '[]', '\0', '{"a": NaN}', ''])
def test_damaged_records_are_named(claimed, name, content):
  (claimed.path / name).write_text(content)
  with pytest.raises(ValueError, match=name) as caught:
    Folder(claimed.path, _SETTINGS).read(name)
  assert 'damaged' in str(caught.value)
  assert '\n' not in str(caught.value)


# Who is at work.


def test_a_second_owner_is_refused_and_removes_nothing(claimed):
  with claimed.owned():
    (claimed.path / '.condensed.npz.tmp').write_text('being written')
    before = contents(claimed.path)
    second = Folder(claimed.path, _SETTINGS)
    message = f'is in use by process {os.getpid()} on .*; wait for it, or use'
    with pytest.raises(ValueError, match=message) as caught, second.owned():
      pass
    assert '\n' not in str(caught.value)
    assert contents(claimed.path) == before
  assert '.lock' not in names(claimed.path)
  with second.owned():
    assert '.lock' in names(claimed.path)


def test_a_lock_that_a_killed_process_left_is_no_lock(claimed):
  (claimed.path / '.lock').write_text('process 1 on elsewhere')
  with claimed.owned():
    text = (claimed.path / '.lock').read_text()
    assert text.startswith(f'process {os.getpid()} on ')


def test_a_lock_is_never_taken_through_a_link(claimed, tmp_path):
  file = tmp_path / 'mine'
  file.write_text('mine')
  (claimed.path / '.lock').symlink_to(file)
  with pytest.raises(OSError, match=r'\.lock'), claimed.owned():
    pass
  assert file.read_text() == 'mine'


def test_a_lock_that_its_owner_just_took_away_is_taken_anew(
  claimed, monkeypatch
):
  path = claimed.path / '.lock'
  lock, seen = _folder.fcntl.flock, []

  def flock(stream, how):
    if not seen:
      path.unlink()
    seen.append(stream)
    return lock(stream, how)

  monkeypatch.setattr(_folder.fcntl, 'flock', flock)
  with claimed.owned():
    assert len(seen) == 2
    with (
      pytest.raises(ValueError, match='is in use by'),
      Folder(claimed.path, _SETTINGS).owned(),
    ):
      pass


def test_what_killed_writers_left_is_swept(claimed):
  below = claimed.path / 'stages'
  below.mkdir()
  left = '.x.npz.' + 32 * 'a' + '.tmp'
  for folder in (claimed.path, below):
    (folder / left).write_text('half')
    (folder / '.mine.tmp').write_text('kept')
  with claimed.owned():
    assert names(below) == ['.mine.tmp']
    assert names(claimed.path) == [
      '.lock',
      '.mine.tmp',
      'config.json',
      'stages',
    ]


def test_a_signal_is_heard_and_a_second_one_stops_at_once(claimed, capsys):
  before = signal.getsignal(signal.SIGINT)
  with claimed.owned() as stop:
    assert not stop.agreed()
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.agreed()
    with pytest.raises(runs.Interrupted, match='stopped here; everything'):
      stop.check('here')
    with pytest.raises(KeyboardInterrupt):
      os.kill(os.getpid(), signal.SIGINT)
  assert signal.getsignal(signal.SIGINT) is before
  assert 'once more to stop at once' in capsys.readouterr().out


def test_a_signal_is_heard_from_when_the_folder_shows(claimed, monkeypatch):
  write = records.write

  def seen(path, record):
    write(path, record)
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    os.kill(os.getpid(), signal.SIGTERM)

  monkeypatch.setattr(records, 'write', seen)
  (claimed.path / 'config.json').unlink()
  with claimed.owned() as stop:
    assert stop.agreed()


# What a failing run leaves.


def write_stages(folder, **seconds):
  entries = {n: {'key': 'k', 'seconds': s} for n, s in seconds.items()}
  (folder.path / 'stages.json').write_text(json.dumps(entries))
  (folder.path / 'stages').mkdir()


@pytest.mark.parametrize('stages', [{}, {'data': 0.1}, {'data': 1, 'start': 2}])
def test_a_folder_with_little_in_it_is_released(claimed, stages):
  write_stages(claimed, **stages)
  claimed.append_metrics({'outer': 1})
  (claimed.path / 'checkpoints').mkdir()
  claimed.release()
  assert names(claimed.path) == []
  Folder(claimed.path, _SETTINGS | {'seed': 7})


@pytest.mark.parametrize('stages', [{'start': 60}, {'data': 0, 'pool': 1}])
def test_a_folder_with_finished_stages_is_not_released(claimed, stages):
  write_stages(claimed, **stages)
  before = contents(claimed.path)
  claimed.release()
  assert contents(claimed.path) == before


def test_a_folder_with_a_checkpoint_or_damage_is_not_released(claimed):
  (claimed.path / 'stages.json').write_text('[]')
  claimed.release()
  assert names(claimed.path) == ['config.json', 'stages.json']
  (claimed.path / 'stages.json').unlink()
  saved = Checkpoints(claimed.path / 'checkpoints' / 'condense')
  saved.save(1, {'a': np.ones(1)}, {})
  saved.close()
  claimed.release()
  assert names(claimed.path) == ['checkpoints', 'config.json']


# Records.


@pytest.mark.parametrize(
  'line',
  ['3', '[1]', 'null', '{"loss": 1}', '{"ou', '{"outer": 3, "loss": NaN}', ''],
)
def test_a_damaged_line_of_metrics_is_named(claimed, line):
  good = [{'outer': 1, 'loss': 2.0}, {'outer': 2, 'loss': 1.0}]
  for record in good:
    claimed.append_metrics(record)
  with open(claimed.path / 'metrics.jsonl', 'a') as file:
    file.write('{"outer": 3, "lo')
  assert claimed.metrics() == good  # a kill cut the last one short
  claimed.keep_metrics(1)
  assert claimed.metrics() == good[:1]
  with open(claimed.path / 'metrics.jsonl', 'a') as file:
    file.write(f'{line}\n' + json.dumps({'outer': 4}) + '\n')
  before = contents(claimed.path)
  message = r'metrics\.jsonl, line 2: is damaged .*; delete that line'
  for reads in (claimed.metrics, lambda: claimed.keep_metrics(1)):
    with pytest.raises(ValueError, match=message) as caught:
      reads()
    assert '\n' not in str(caught.value)
  assert contents(claimed.path) == before


def test_an_accuracy_of_metrics_that_is_none_is_named(claimed):
  claimed.append_metrics({'outer': 1, 'accuracy_mean': float('nan')})
  assert claimed.metrics() == [{'outer': 1, 'accuracy_mean': None}]
  claimed.append_metrics({'outer': 2, 'accuracy_mean': 62.5})
  with pytest.raises(
    ValueError, match=r'line 2: is damaged \(accuracy_mean is'
  ):
    claimed.metrics()


def test_metrics_that_are_not_finite_are_null(claimed):
  claimed.append_metrics({'outer': 1, 'loss': 2.0, 'norm': float('nan')})
  assert claimed.metrics() == [{'outer': 1, 'loss': 2.0, 'norm': None}]


@pytest.mark.parametrize(
  ('name', 'value'),
  [
    ('stages.json', {'evaluate/x 1': {'key': 'x', 'value': {'best_mean': 7}}}),
    ('stages.json', {'a': {'last_mean': -0.1, 'per_seed_last': [0.5]}}),
    ('stages.json', {'a': {'accuracy': {'x': [[0.5, 1.5]]}}}),
    ('results.json', {'own': {'condensed': {'per_seed_last': ['0.5', 0]}}}),
    ('results.json', {'checkpoints': [{'accuracy_mean': None}]}),
    ('results.json', {'condensed': {'by_class': [0.5, None, 1.5]}}),
    ('results.json', {'a': {'last_std': 2, 'per_seed_last': [0.5]}}),
    ('results.json', {'a': {'accuracy': True}}),
  ],
)
def test_accuracies_that_are_none_are_damage(claimed, name, value):
  claimed.write(name, value)
  message = rf'{name}: is damaged \(\w+ is .* allowed are fractions in 0\.\.1'
  with pytest.raises(ValueError, match=message):
    claimed.read(name)


def test_other_measures_may_be_any_number(claimed):
  value = {'measure/norm': {'last_mean': 12.5, 'last_std': 3.0}}
  claimed.write('stages.json', value)
  assert claimed.read('stages.json') == value


def fail(*arguments, **options):
  raise _FULL


@pytest.mark.parametrize('name', ['replace', 'fsync'])
def test_a_full_disk_names_the_record_and_keeps_what_was(
  claimed, monkeypatch, name
):
  claimed.write('stages.json', {'data': 1})
  claimed.append_metrics({'outer': 1})
  before = contents(claimed.path)
  monkeypatch.setattr(os, name, fail)
  with pytest.raises(OSError, match=r'No space left.*stages\.json'):
    claimed.write('stages.json', {'data': 2})
  with pytest.raises(OSError, match=r'No space left.*metrics\.jsonl'):
    claimed.keep_metrics(0)
  assert contents(claimed.path) == before


def test_a_full_disk_names_the_metrics(claimed, monkeypatch):
  monkeypatch.setattr('builtins.open', fail)
  with pytest.raises(OSError, match=r'metrics\.jsonl could not .*No space'):
    claimed.append_metrics({'outer': 1})


def test_a_full_disk_keeps_earlier_checkpoints(monkeypatch, tmp_path):
  checkpoints = Checkpoints(tmp_path / 'saved')
  state = {'a': np.arange(4.0)}
  checkpoints.save(1, state, {'seconds': 1.0})
  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, 'save', fail)
    with pytest.raises(OSError, match=r'checkpoint 2 .*No space left.*earlier'):
      checkpoints.save(2, {'a': np.ones(4)}, {})
  assert checkpoints.latest() == 1
  restored, progress = checkpoints.restore(1, state)
  np.testing.assert_array_equal(restored['a'], state['a'])
  assert progress == {'seconds': 1.0}
  checkpoints.close()


def test_a_full_disk_at_the_condensed_set(monkeypatch, tmp_path):
  monkeypatch.setattr(os, 'replace', fail)
  monkeypatch.setattr(os, 'link', fail)
  value = artefact.Artefact(
    params={'images': np.zeros((2, 1, 4, 4, 1), np.float32)},
    spec={'name': 'identity'},
    mean=(0.5,),
    std=(0.5,),
    class_names=('a', 'b'),
  )
  with pytest.raises(OSError, match=r'No space left.*condensed\.npz'):
    artefact.save(tmp_path / 'condensed.npz', value)
  assert names(tmp_path) == []


# The data that it belongs to.


def test_a_run_is_of_the_content_of_its_data_wherever_they_lie(tmp_path):
  for name in ('first', 'same'):
    runner.write_npz(tmp_path / f'{name}.npz')
  images = np.zeros((80, 8, 8, 1), np.uint8)
  images[::2] = 200
  runner.write_npz(tmp_path / 'other.npz', images=images)

  def condensed(name):
    config = runner.config(
      'npz,smoke', 'rded', data_dir=str(tmp_path / f'{name}.npz')
    )
    return runs.condensed(config, tmp_path / 'run')

  first = condensed('first')
  again = condensed('same')
  np.testing.assert_array_equal(first.params['images'], again.params['images'])
  before = contents(tmp_path / 'run')
  with pytest.raises(ValueError, match="'data' was made from other data") as no:
    condensed('other')
  assert '\n' not in str(no.value)
  assert contents(tmp_path / 'run') == before
  # Not even a finished run takes other content under the same name for its own.
  config = runner.config(
    'npz,smoke', 'rded', data_dir=str(tmp_path / 'first.npz')
  )
  plain = runs.resolve(config).plain()
  Folder(tmp_path / 'run', plain).finish({'evaluations': {}})
  runner.write_npz(tmp_path / 'first.npz', images=images)
  with pytest.raises(ValueError, match="'data' was made from other data"):
    runs.run(config, tmp_path / 'run')
  kept = json.dumps(dict(first.provenance))
  assert first.provenance['config']['data'] == 'npz'
  assert str(tmp_path) not in kept
