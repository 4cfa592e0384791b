"""Damage that the fuzz test found, kind by kind."""

import json

import numpy as np
import pytest

from dcjax import artefact, specs
from dcjax.runs import _checkpoint, settings


def _one_line(caught, *names):
  text = str(caught.value)
  assert '\n' not in text and len(text) < 2500
  assert all(name in text for name in names)


def test_a_foreign_set_with_a_wrong_checksum_is_named(tmp_path):
  path = tmp_path / 'own.npz'
  images = np.full((4, 8, 8, 1), 7, np.uint8)
  np.savez(path, images=images, labels=np.arange(4) % 2)
  content = path.read_bytes()
  place = content.index(images.tobytes())
  path.write_bytes(content[:place] + b'\0' + content[place + 1 :])
  with pytest.raises(ValueError, match='CRC') as caught:
    artefact.load_any(path, mean=(0,), std=(1,), class_names=('a', 'b'))
  _one_line(caught, 'own.npz')


@pytest.mark.parametrize(
  'changes',
  [
    {'images': np.full((4, 8, 8, 1), np.nan, np.float32)},
    {'labels': np.arange(4) * 10**9},
  ],
  ids='ab',
)
def test_a_foreign_set_that_is_none_is_named(tmp_path, changes):
  path = tmp_path / 'own.npz'
  images = np.zeros((4, 8, 8, 1), np.float32)
  arrays = {'images': images, 'labels': np.arange(4) % 2}
  np.savez(path, **arrays | changes)
  with pytest.raises(ValueError, match='must hold') as caught:
    artefact.load_any(path, mean=(0,), std=(1,), class_names=('a', 'b'))
  _one_line(caught, 'own.npz')


def _saved(root):
  kept = _checkpoint.Checkpoints(root)
  kept.save(1, {'w': np.ones(3, np.float32)}, {'outer': 1})
  kept.close()


def test_progress_of_a_checkpoint_belongs_to_its_digest(tmp_path):
  _saved(tmp_path)
  file = tmp_path / '1/progress/metadata'
  file.write_text(json.dumps(json.loads(file.read_text()) | {'outer': 2}))
  kept = _checkpoint.Checkpoints(tmp_path)
  with pytest.raises(_checkpoint.CheckpointError, match='digest') as caught:
    kept.restore(1, {'w': np.ones(3, np.float32)})
  kept.close()
  _one_line(caught, str(tmp_path / '1'))


def test_damaged_facts_of_a_checkpoint_are_named(tmp_path):
  _saved(tmp_path)
  file = tmp_path / '1/_CHECKPOINT_METADATA'
  facts = json.loads(file.read_text())
  file.write_text(json.dumps(facts | {'init_timestamp_nsecs': 'x'}))
  with pytest.raises(_checkpoint.CheckpointError) as caught:
    _checkpoint.Checkpoints(tmp_path)
  _one_line(caught, str(tmp_path), 'delete')


@pytest.mark.parametrize(
  ('field', 'value'),
  [
    ('seed', '9' * 5000),
    ('seed', 10**5000),
    ('data_dir', 'x' * 10**5),
    ('evaluation.at', '(' + '9' * 1900 + ',)'),
    ('evaluation.at', (10**5000,)),
    ('evaluation.baselines', '-' * 3000 + '1'),
    ('seed', np.ones((2, 2))),
  ],
  ids=range(7),
)
def test_values_without_end_are_named_in_a_line(field, value):
  config = settings.make('dm', 'digits,smoke')
  with pytest.raises(ValueError, match='must be') as caught:
    settings.set_fields(config, {field: value})
  _one_line(caught, field)


@pytest.mark.parametrize(
  'text', ['-' * 3000 + '1', '(' * 150, '[' * 3000], ids='abc'
)
def test_what_is_nested_too_deeply_is_text(text):
  assert specs.literal(text) == text


@pytest.mark.parametrize('word', ['', '=', 'x=1', ':x'])
def test_a_word_without_a_name_is_refused(word):
  with pytest.raises(ValueError, match=r'^data ') as caught:
    specs.parse('data', word)
  _one_line(caught, 'data')
