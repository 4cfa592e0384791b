"""Class-incremental learning as a command: from data to report."""

import json

import numpy as np
import pytest
import runner

from dcjax import artefact, data, runs


def _run(folder, **changes):
  arguments = 'digits,network=mlp,smoke'
  return runner.run(folder, arguments, 'continual', **changes)


def test_a_stop_the_rest_and_that_nothing_is_repeated(tmp_path):
  changes = {'steps': 2, 'sets__names': ('dm', 'random')}
  # The folder at work is that of a memory: the whole command must hear it.
  thread = runner.stop_once_there(tmp_path / 'memories/step0/dm/config.json')
  with pytest.raises(runs.Interrupted, match='the same command goes on'):
    _run(tmp_path, **changes)
  thread.join()
  assert not (tmp_path / 'report.md').exists()

  matrices = _run(tmp_path, **changes)
  assert set(matrices) == {
    'scratch, dm',
    'scratch, random',
    'continued, dm',
    'continued, random',
  }
  assert np.shape(matrices['scratch, dm']) == (2, 2, 2)
  memory = artefact.load(tmp_path / 'memories/step1/dm/condensed.npz')
  assert memory.class_names == tuple('56789')
  text = (tmp_path / 'report.md').read_text()
  assert 'forgetting' in text
  assert '5 classes' in text
  assert text.count('| 1,280 |') == 2  # numbers that dm and random store
  assert (tmp_path / 'report.html').is_file()
  assert (tmp_path / 'plot.svg').read_bytes()[:4] == b'<svg'

  # Without its last step, it goes on from the networks that are saved.
  record = json.loads((tmp_path / 'stages.json').read_text())
  lost = next(
    n for n in record if n.startswith('networks/continued, dm, step 1')
  )
  kept = {name: entry for name, entry in record.items() if name != lost}
  (tmp_path / 'stages.json').write_text(json.dumps(kept))
  again = _run(tmp_path, **changes)
  assert list(again) == list(matrices)
  for name, matrix in matrices.items():
    np.testing.assert_array_equal(again[name], matrix)
  found = json.loads((tmp_path / 'stages.json').read_text())
  assert found[lost]['key'] == record[lost]['key']
  assert kept.items() <= found.items()  # with the seconds of then


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'order': (0, 0, *range(2, 10))}, r'repeats \[0\]'),
    ({'order': tuple(range(9))}, r'misses \[9\]'),
    ({'steps': 3}, 'steps 3'),
    ({'ipc': 1000}, 'must not be larger than the data'),
    ({'sets__names': ('kmeans',)}, "sets.names 'kmeans': must be one of"),
    ({'sets__names': ()}, 'at least one'),
    ({'modes': ('both',)}, "modes 'both'"),
  ],
)
def test_bad_settings_leave_no_folder(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    _run(tmp_path / 'run', **changes)
  assert not (tmp_path / 'run').exists()


def test_the_published_order_of_cifar100():
  order = runner.resolved('cifar100', 'continual').config.order
  assert sorted(order) == list(range(100))
  assert set(order[:4]) <= {26, 86, 2, 55, 75, 93, 16, 73, 54, 95}


def test_data_of_one_shape():
  digits = data.at_most(data.load('digits'), 3, 7)
  assert digits.counts.tolist() == [3] * 10
  assert len(digits.test_labels) == 7
  colour = data.in_shape(digits, 16, 3)
  assert colour.image_shape == (16, 16, 3)
  assert len(colour.mean) == 3
  grey = data.in_shape(colour, 8, 1)
  assert grey.image_shape == (8, 8, 1)
  with pytest.raises(ValueError, match='channels 2'):
    data.in_shape(digits, 8, 2)
