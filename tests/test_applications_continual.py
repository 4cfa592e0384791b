"""Class-incremental learning as a command: from data to report."""

import json

import numpy as np
import pytest
import runner

continual = runner.module('continual')
small_sets = runner.module('small_sets')
workdir = runner.module('workdir')


def _config(**changes):
  return runner.config(
    'digits,network=mlp,smoke', 'applications.continual', **changes
  )


def test_a_run_its_report_and_that_nothing_is_repeated(tmp_path, monkeypatch):
  config = _config(steps=2, memories=('dm', 'random'), seeds=2)
  made, make = [], small_sets.make

  class Stopped(Exception):
    pass

  def stopping(dataset, name, *rest):
    if len(made) == 3:
      raise Stopped
    made.append((name, dataset.class_names))
    return make(dataset, name, *rest)

  with monkeypatch.context() as patch:
    patch.setattr(small_sets, 'make', stopping)
    with pytest.raises(Stopped):
      continual.run(config, tmp_path)
  assert made[0] == ('dm', tuple('01234'))
  assert made[1] == ('dm', tuple('56789'))
  first = (tmp_path / 'memories/step0/dm/condensed.npz').read_bytes()

  matrices = continual.run(config, tmp_path)
  assert (tmp_path / 'memories/step0/dm/condensed.npz').read_bytes() == first
  assert set(matrices) == {
    'scratch, dm',
    'scratch, random',
    'continued, dm',
    'continued, random',
  }
  assert np.shape(matrices['scratch, dm']) == (2, 2, 2)
  text = (tmp_path / 'report.md').read_text()
  assert 'forgetting' in text
  assert '5 classes' in text
  assert text.count('| 1,280 |') == 2  # numbers that dm and random store
  assert (tmp_path / 'report.html').is_file()
  assert (tmp_path / 'curves.png').read_bytes()[:4] == b'\x89PNG'

  # Without its last step, it goes on from the networks that are saved.
  record = json.loads((tmp_path / 'measured.json').read_text())
  cell = 'continued, dm, step 1'
  kept = record['cells'].pop(cell)
  (tmp_path / 'measured.json').write_text(json.dumps(record))
  again = continual.run(config, tmp_path)
  np.testing.assert_array_equal(
    again['continued, dm'], matrices['continued, dm']
  )
  record = json.loads((tmp_path / 'measured.json').read_text())
  assert record['cells'][cell]['accuracy'] == kept['accuracy']


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'order': (0, 0, *range(2, 10))}, r'repeats \[0\]'),
    ({'order': tuple(range(9))}, r'misses \[9\]'),
    ({'steps': 3}, 'steps 3'),
    ({'ipc': 1000}, 'must not be larger than the data'),
    ({'memories': ('kmeans',)}, "set 'kmeans'"),
    ({'memories': ()}, 'at least one'),
    ({'modes': ('both',)}, "modes 'both'"),
  ],
)
def test_bad_settings_leave_no_folder(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    continual.run(_config(**changes), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_the_published_order_of_cifar100():
  config = runner.config('cifar100', 'applications.continual')
  assert sorted(config.order) == list(range(100))
  assert set(config.order[:4]) <= {26, 86, 2, 55, 75, 93, 16, 73, 54, 95}


def test_data_of_one_shape():
  digits = small_sets.at_most(
    runner.module('builder').load_dataset(_config()), 3, 7
  )
  assert digits.counts.tolist() == [3] * 10
  assert len(digits.test_labels) == 7
  colour = small_sets.in_shape(digits, 16, 3)
  assert colour.image_shape == (16, 16, 3)
  assert len(colour.mean) == 3
  grey = small_sets.in_shape(colour, 8, 1)
  assert grey.image_shape == (8, 8, 1)
  with pytest.raises(ValueError, match='channels 2'):
    small_sets.in_shape(digits, 8, 2)
