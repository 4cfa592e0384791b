"""What is wrong is said in one sentence, before long work starts."""

import errno
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import runner
from published import write_cifar, write_idx_set

import dcjax

_FULL = OSError(errno.ENOSPC, 'No space left on device')
# No finished evaluation is needed to fail.
_SHORT = dict(
  data__options__size=8,
  evaluation__at=(),
  evaluation__baselines=(),
  evaluation__seeds=1,
)


@pytest.fixture
def refused(monkeypatch, tmp_path):
  """Returns a function that runs and checks that nothing long has started."""
  workdir = tmp_path / 'run'

  def fail(*arguments):
    raise AssertionError('long work has started')

  monkeypatch.setattr(runner.module('outer_loop'), 'condense', fail)

  def check(message, arguments='digits,smoke', error=ValueError, **changes):
    before = _contents(workdir)
    with pytest.raises(error, match=message) as caught:
      runner.run(workdir, arguments, **changes)
    assert '\n' not in str(caught.value)
    assert _contents(workdir) == before

  return check


def _contents(folder):
  files = [f for f in folder.rglob('*') if f.is_file()]
  return {f: f.read_bytes() for f in files}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'data__name': 'digit'}, "'digit'.*allowed are cifar10, .*digits"),
    ({'network__name': 'vgg'}, "network 'vgg': must be one of .*'convnet'"),
    ({'network__depth': 9}, 'depth 9: .*8x8'),
    ({'network__width': 0}, 'width 0: must be'),
    ({'network__norm': 'l2'}, "norm 'l2': must be one of"),
    ({'method': 'dx'}, r"method 'dx': must be one of .*'idc'"),
    ({'matching__distance': 'l3'}, "distance 'l3': .*one of.*l1"),
    ({'matching__tensors': 'bias'}, "tensors 'bias': must be one of"),
    ({'matching__classes': 'all'}, "classes 'all': must be one of"),
    ({'matching__batch_real': 0}, 'matching.batch_real 0: must be at least 1'),
    ({'ipc': 0}, 'ipc 0: must be at least 1'),
    ({'ipc': 150, 'init__mode': 'random'}, "ipc 150: class '8' .* at most 139"),
    ({'ipc': 40}, 'init.mode mix: .* ipc = 40 .* 160 .*139; use'),
    ({'formation__name': 'grid'}, "'grid'; the known formations are .*uniform"),
    ({'formation__factor': 0}, 'factor is 0; .* >= 1'),
    ({'formation__factor': 9}, 'factor 9 is larger than the image of 8 x 8'),
    ({'init__mode': 'best'}, "init.mode 'best': must be one of"),
    ({'schedule__outer': 0}, 'schedule.outer 0: must be at least 1'),
    ({'images__learning_rate': -1.0}, 'images.learning_rate -1.0: .* above 0'),
    (
      {'images__learning_rate': float('inf')},
      'images.learning_rate inf: .*finite',
    ),
    ({'images__momentum': 1.0}, r'images.momentum 1.0: must be in \[0, 1\)'),
    ({'inner__learning_rate': -0.1}, 'inner.learning_rate -0.1: must be'),
    ({'inner__weight_decay': -0.1}, 'inner.weight_decay -0.1: must be'),
    ({'inner__early_batches': -1}, 'inner.early_batches -1: must be at least'),
    ({'augment__match': 'twist'}, "strategy 'twist', .*must be one of .*flip"),
    ({'augment__cutmix': 1.5}, r'augment.cutmix 1.5: must be'),
    ({'evaluation__at': (0.5, 2.0)}, r'evaluation.at 2.0: must be in \(0, 1\]'),
    ({'evaluation__at': ('a',)}, "evaluation.at 'a': must be in"),
    ({'evaluation__baselines': ('best',)}, "'best': must be .*'herding'"),
    ({'evaluation__protocol': 'x'}, "evaluation.protocol 'x': must be .*'idc'"),
    ({'evaluation__herding_steps': 0}, 'evaluation.herding_steps 0: must be'),
  ],
)
def test_bad_settings(refused, changes, message):
  refused(message, **_SHORT | changes)


@pytest.mark.parametrize(
  ('recipe', 'method', 'field'),
  [
    ('dc', 'idc', 'images.sweep'),
    ('idc', 'dc', 'inner.epochs'),
    ('idc', 'cafe', 'matching.layer_weights'),
    ('dm', 'dc', 'matching.distance'),
    ('dm', 'label_distillation', 'labels.start'),
    ('cafe', 'dsa', 'matching.distance'),
    ('label_distillation', 'cafe', 'matching.layer_weights'),
  ],
)
def test_method_of_another_config(recipe, method, field):
  message = (
    f"method '{method}' needs config field '{field}'; use its own config file "
    f'experiments/configs/{method}.py'
  )
  with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
    _build(recipe, method=method)


def test_labels_need_a_method_that_learns_them():
  with pytest.raises(ValueError, match=r"'labels': .*'dm'"):
    _build('label_distillation', method='dm')


@pytest.mark.parametrize(
  ('recipe', 'changes', 'message'),
  [
    ('cafe', {'matching__last_weight': float('inf')}, 'last_weight inf: must'),
    ('cafe', {'matching__last_weight': float('nan')}, 'last_weight nan: must'),
    (
      'cafe',
      {'matching__layer_weights': (1.0, float('nan'))},
      'matching.layer_weights nan: must be finite',
    ),
    (
      'cafe',
      {'matching__layer_weights': (0.5,) * 4},
      r'layer_weights \(0.5, .*: must be at most 3, as convnet2w4 has 2 blocks',
    ),
    ('dc', {'inner__learning_rate': float('inf')}, 'inner.learning_rate inf'),
    ('dc', {'augment__evaluate': 'flip'}, "'crop', 'scale', 'rotate', 'noise'"),
    ('dsa', {'augment__evaluate': 'noise'}, 'noise.*must be one of'),
    (
      'dc',
      {'network__name': 'lenet'},
      "'lenet' has no option '.*config argument network=lenet brings",
    ),
  ],
)
def test_bad_settings_of_other_methods(recipe, changes, message):
  with pytest.raises(ValueError, match=message) as caught:
    _build(recipe, **changes)
  assert '\n' not in str(caught.value)


def _build(recipe, **changes):
  changes = {'data__options__size': 8, **changes}
  config = runner.config('digits,smoke', recipe, **changes)
  return runner.module('builder').build(config)


def test_every_method_says_which_fields_it_needs():
  needed = runner.module('_config_checks')._NEEDED
  assert needed.keys() == runner.module('recipes').CONDENSERS.keys()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ('nope,smoke', "data set 'nope': must be one of .*'digits'"),
    ('digits,zap', "config argument 'zap': must be .*ipc, factor"),
    ('digits,ipc=two', 'config argument ipc=two: must be int'),
    ('digits,smoke=2', 'config argument smoke=2: must be true or false'),
    ('digits,schedule=long', "schedule 'long': must be one of .*'short'"),
    ('digits,network=vgg', "network 'vgg': must be one of .*'vgg11'"),
    ('digits,network=own', "network 'own': must be one of .*'convnet'"),
    ('digits,network=mlp:norm=batch', "'mlp' has no option 'norm'"),
    ('digits,network=mlp:width=wide', 'option width=wide: must be int'),
  ],
)
def test_bad_config_arguments(refused, arguments, message):
  refused(message, arguments)


_IMAGES = np.zeros((80, 8, 8, 1), np.float32)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'images': _IMAGES[..., 0, 0]}, r'images have shape \(80, 8\); allowed'),
    ({'images': _IMAGES.astype(np.int64)}, 'images have dtype int64; allowed'),
    ({'images': _IMAGES + 2}, r'images hold 2\.\.2; allowed'),
    ({'images': _IMAGES * np.nan}, 'images hold NaN .*allowed'),
    ({'images': _IMAGES[:9]}, 'images hold 9 and labels 80'),
    ({'labels': np.arange(80) % 2 * 2}, 'no training image in class 1'),
    ({'labels': np.arange(80) / 2}, 'labels have dtype float64; allowed'),
  ],
)
def test_bad_arrays(refused, tmp_path, changes, message):
  path = runner.write_npz(tmp_path / 'own.npz', **changes)
  refused(message, 'npz,smoke', data__dir=str(path))


def test_bad_data_files(refused, tmp_path):
  folder = tmp_path / 'data'
  place = dict(data__dir=str(folder))
  refused('mnist: .*idx3.*prepare', 'mnist', FileNotFoundError, **place)
  write_idx_set(folder)
  file = folder / 'train-images-idx3-ubyte'
  file.write_bytes(file.read_bytes()[:-5])
  refused('train-images-idx3-ubyte is not', 'mnist,smoke', **place)
  write_cifar(folder, 'cifar10')
  (folder / 'data_batch_2').write_bytes(b'damaged')
  refused('data_batch_2 is not .*CIFAR', 'cifar10,smoke', **place)
  refused('no file', 'npz,smoke', FileNotFoundError, data__dir=f'{folder}/x')


# The folder of a run.


@pytest.fixture(scope='module')
def half_way(tmp_path_factory):
  """A run whose disk fills up at the third outer iteration's record."""
  workdir = tmp_path_factory.mktemp('run') / 'run'
  folder = runner.module('workdir').Workdir
  append = folder.append_metrics

  def full(self, record):
    if record['outer'] == 3:
      raise _FULL
    append(self, record)

  settings = _SHORT | dict(schedule__outer=4, evaluation__at=(0.25, 0.5))
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(folder, 'append_metrics', full)
    with pytest.raises(OSError, match='No space left'):
      runner.run(workdir, **settings)
  return workdir, settings


def _copy(half_way, tmp_path):
  workdir, settings = half_way
  shutil.copytree(workdir, tmp_path / 'run')
  return tmp_path / 'run', settings


def test_workdir_of_other_settings(refused, half_way, tmp_path):
  _, settings = _copy(half_way, tmp_path)
  message = 'belongs to a run with other settings .*seed: 0 there, 7 here'
  refused(message, **settings | {'seed': 7})


def test_damaged_config(refused, half_way, tmp_path):
  workdir, settings = _copy(half_way, tmp_path)
  for content in ('{"ipc"', '[]', '\0'):
    (workdir / 'config.json').write_text(content)
    refused(r'config\.json: is damaged', **settings)
  (workdir / 'config.json').unlink()
  refused('holds checkpoints but no config.json', **settings)


def test_workdir_that_cannot_be_a_folder(tmp_path):
  file = tmp_path / 'file'
  file.write_text('mine')
  with pytest.raises(ValueError, match=f'workdir {file}: is a file'):
    runner.run(file, **_SHORT)
  with pytest.raises(OSError, match=str(file)):
    runner.run(file / 'below', **_SHORT)
  assert file.read_text() == 'mine'


def test_damaged_checkpoint(half_way, tmp_path):
  workdir, settings = _copy(half_way, tmp_path)
  newest = workdir / 'checkpoints' / '2'
  damaged = [f for f in newest.rglob('*') if f.is_file()]
  for file in damaged:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  message = f'checkpoint {newest} .*; delete that folder to go on'
  before = _contents(workdir)
  with pytest.raises(ValueError, match=message) as caught:
    runner.run(workdir, **settings)
  assert '\n' not in str(caught.value)
  after = _contents(workdir)
  assert {f: after[f] for f in before} == before


@pytest.mark.parametrize('what', ['condensed', 'missing', 'text'])
def test_damaged_condensed_set(tmp_path, what):
  path = tmp_path / 'condensed.npz'
  if what == 'text':
    path.write_text('not a condensed set')
  elif what == 'condensed':
    runner.write_npz(path)
  error = FileNotFoundError if what == 'missing' else ValueError
  with pytest.raises(error, match=r'condensed\.npz'):
    dcjax.load(path)


# A full disk, and numbers that explode.


def test_full_disk_names_the_file(monkeypatch, tmp_path):
  module = runner.module('workdir')
  folder = module.Workdir(str(tmp_path), runner.config(), [])
  folder.write_json('evaluations.json', {'initial': 1})
  folder.append_metrics({'outer': 1})
  before = _contents(tmp_path)

  def fail(*arguments, **options):
    raise _FULL

  for target, name in ((os, 'replace'), (os, 'fsync'), (module, 'open')):
    with monkeypatch.context() as patch:
      patch.setattr(target, name, fail, raising=False)
      with pytest.raises(OSError, match=r'evaluations\.json .*No space left'):
        folder.add_evaluation('random', {})
    assert _contents(tmp_path) == before
  with monkeypatch.context() as patch:
    patch.setattr(module, 'open', fail, raising=False)
    with pytest.raises(OSError, match=r'metrics\.jsonl could not .*No space'):
      folder.append_metrics({'outer': 2})
    patch.setattr(pathlib.Path, 'write_text', fail)
    with pytest.raises(OSError, match=r'metrics\.jsonl could not .*No space'):
      folder.keep_metrics(0)
  assert _contents(tmp_path) == before


def test_full_disk_keeps_earlier_checkpoints(monkeypatch, tmp_path):
  import orbax.checkpoint as ocp

  checkpoints = runner.module('checkpoint').Checkpoints(tmp_path / 'saved')
  state = {'a': np.arange(4.0)}
  checkpoints.save(1, state, {'seconds': 1.0})

  def fail(*arguments, **options):
    raise _FULL

  with monkeypatch.context() as patch:
    patch.setattr(ocp.CheckpointManager, 'save', fail)
    with pytest.raises(OSError, match=r'checkpoint 2 .*No space left.*earlier'):
      checkpoints.save(2, {'a': np.ones(4)}, {})
  assert checkpoints.latest() == 1
  restored, progress = checkpoints.restore(1, state)
  np.testing.assert_array_equal(restored['a'], state['a'])
  assert progress == {'seconds': 1.0}
  checkpoints.close()


def test_full_disk_at_the_condensed_set(monkeypatch, tmp_path):
  artefact = runner.module('experiment').artefact

  def fail(*arguments):
    raise _FULL

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
  assert not list(tmp_path.iterdir())


def test_loss_that_explodes(tmp_path):
  workdir = tmp_path / 'run'
  with pytest.raises(ValueError, match=r'not finite at outer iteration .*rate'):
    runner.run(workdir, **_SHORT, images__learning_rate=3e38)
  assert not (workdir / 'condensed.npz').exists()
  assert not list((workdir / 'checkpoints').glob('[0-9]*'))


# The command line.


@pytest.mark.parametrize(
  ('words', 'message'),
  [
    (['--config.foo=1'], "config field 'foo': 'foo' must be one of .*'ipc'"),
    (['--config.ipc=0'], 'ipc 0: must be at least 1'),
    (['--config={}:nope'], "data set 'nope': must be one of .*'digits'"),
  ],
)
def test_command_line_says_one_line(tmp_path, words, message):
  command = [f'--config={runner.CONFIG}:digits,smoke']
  if words[0].startswith('--config='):
    command, words = [words[0].format(runner.CONFIG)], []
  done = subprocess.run(
    [sys.executable, runner.RUN, *command, *words, f'--workdir={tmp_path}/w'],
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  (line,) = done.stderr.splitlines()
  assert line.startswith('error: ')
  assert re.search(message, line)
  assert not (tmp_path / 'w').exists()
