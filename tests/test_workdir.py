"""The folder of a run: whose it is, and what may lie in it."""

import json

import jax
import pytest
import runner

_FILES = (
  'checkpoints',
  'condensed.npz',
  'evaluations.json',
  'images.png',
  'metrics.jsonl',
  'report.html',
  'results.json',
)
_EVALUATION = {'last_mean': 0.5, 'last_std': 0.1, 'seconds': 1.0}


def _open(path, arguments='digits,smoke', **changes):
  config = runner.config(arguments, **changes)
  return runner.module('workdir').Workdir(str(path), config, [])


@pytest.fixture
def claimed(tmp_path):
  """A folder that belongs to a run on the digits."""
  folder = _open(tmp_path / 'run')
  folder.claim()
  return folder


@pytest.mark.parametrize('source', ['npz', 'image_folder', 'wav_folder'])
def test_other_data_of_ones_own_are_another_run(tmp_path, monkeypatch, source):
  arguments, workdir = f'{source},smoke', tmp_path / 'run'
  monkeypatch.chdir(tmp_path)
  first = _open(workdir, arguments, data__dir='first')
  first.claim()
  for same in (f'{tmp_path}/first', 'second/../first'):
    _open(workdir, arguments, data__dir=same)
  monkeypatch.setenv('DCJAX_DATA_DIR', 'second')
  message = r"other settings \(data\.dir: '.*first' there, '.*second' here\)"
  for other in ('second', ''):
    with pytest.raises(ValueError, match=message):
      _open(workdir, arguments, data__dir=other)
  # Not even a finished run says so.
  first.write_json('results.json', {})
  with pytest.raises(ValueError, match=message):
    runner.run(workdir, arguments, data__dir='second')


def test_known_sets_may_move(tmp_path):
  workdir = tmp_path / 'run'
  _open(workdir, 'mnist,smoke', data__dir='first').claim()
  _open(workdir, 'mnist,smoke', data__dir='second')


@pytest.mark.parametrize('name', _FILES)
def test_files_of_nobody_are_left_alone(tmp_path, name):
  (tmp_path / name).write_text('{}')
  with pytest.raises(ValueError, match=f'holds {name} but no config.json'):
    runner.run(tmp_path)
  assert [f.name for f in tmp_path.iterdir()] == [name]
  assert (tmp_path / name).read_text() == '{}'


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('results.json', [1]),
    ('results.json', None),
    ('evaluations.json', [1]),
    ('evaluations.json', 3),
    ('evaluations.json', {'random': 0.5}),
    ('evaluations.json', {'random': {'last_mean': 0.5}}),
    ('evaluations.json', {'random': _EVALUATION | {'seconds': 'long'}}),
    ('evaluations.json', {'outer_1': _EVALUATION}),
  ],
)
def test_other_json_is_damage(claimed, name, content):
  claimed.write_json(name, content)
  with pytest.raises(ValueError, match=f'{name}: is damaged') as caught:
    runner.run(claimed.path)
  assert '\n' not in str(caught.value)


def test_whole_evaluations_are_taken(claimed):
  inside = _EVALUATION | {'outer': 1, 'at': 2.0}
  entries = {'random': _EVALUATION, 'outer_1': inside}
  claimed.write_json('evaluations.json', entries)
  assert _open(claimed.path).evaluations() == entries


@pytest.mark.parametrize('line', ['3', '[1]', 'null', '{"loss": 1}', '{"ou'])
def test_metrics_end_at_a_damaged_line(claimed, line):
  good = [{'outer': 1, 'loss': 2.0}, {'outer': 2, 'loss': 1.0}]
  for record in good:
    claimed.append_metrics(record)
  with open(claimed.path / 'metrics.jsonl', 'a') as file:
    file.write(f'{line}\n' + json.dumps({'outer': 4}) + '\n')
  assert claimed.metrics() == good
  claimed.keep_metrics(1)
  assert claimed.metrics() == good[:1]


def test_a_folder_without_results_is_released(claimed):
  claimed.append_metrics({'outer': 1})
  (claimed.path / 'checkpoints').mkdir()
  claimed.release()
  assert not list(claimed.path.iterdir())
  _open(claimed.path, seed=7)


@pytest.mark.parametrize('kept', ['checkpoints/2', 'evaluations.json'])
def test_a_folder_with_results_is_not_released(claimed, kept):
  claimed.append_metrics({'outer': 1})
  (claimed.path / 'checkpoints').mkdir()
  (claimed.path / kept).mkdir()
  before = sorted(claimed.path.rglob('*'))
  claimed.release()
  assert sorted(claimed.path.rglob('*')) == before


def test_the_condensed_set_names_its_data_and_no_paths(tmp_path):
  builder, stages = runner.module('builder'), runner.module('stages')
  path = runner.write_npz(tmp_path / 'own.npz')
  config = runner.config(
    'npz,smoke',
    data__dir=str(path),
    data__options__test_fraction=0.5,
    formation__factor=1,
    init__mode='noise',
  )
  parts = builder.build(config)
  config.inner.pool = str(tmp_path / 'pool.npz')
  params = builder.initial_params(parts, jax.random.key(0))
  provenance = stages.make_artefact(parts, params).provenance
  kept = provenance['config']['data']
  assert (kept['name'], kept['zca']) == ('npz', 'none')
  assert kept['options']['test_fraction'] == 0.5
  assert 'dir' not in kept
  assert provenance['config']['inner']['pool'] == 'pool.npz'
  assert str(tmp_path) not in json.dumps(dict(provenance))
