"""Data sets larger than memory: windows, resumed, shared out, and broken."""

import shutil
import threading
import time

import numpy as np
import pytest
import runner
from PIL import Image

from dcjax import data
from dcjax.runs import _pipelines

pytest.importorskip('grain')
_COUNTS = (5, 7, 3)


def _write(folder, counts=_COUNTS):
  """Image i of class c has the value 50 c + i everywhere."""
  for c, count in enumerate(counts):
    for i in range(count):
      path = folder / f'class{c}' / f'{i}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(np.full((6, 8, 3), 50 * c + i, np.uint8)).save(path)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp('images')
  _write(root / 'train')
  _write(root / 'test', (1, 1, 1))
  return root


@pytest.fixture
def dataset(folder):
  made = data.load('image_folder', folder, size=4, window=4)
  yield made
  made.stream.close()


def _values(images):
  """The value of each image, all of whose pixels are alike."""
  assert np.ptp(images, axis=(1, 2, 3)).max() == 0
  return images[:, 0, 0, 0].tolist()


def test_images_are_the_first_window_of_a_larger_set(folder, dataset):
  assert dataset.counts.tolist() == [4, 4, 3]
  assert dataset.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 3
  assert dataset.stream.counts.tolist() == list(_COUNTS)
  assert len(dataset.test_images) == 3
  values = _values(dataset.images)
  assert [v // 50 for v in values] == dataset.labels.tolist()
  assert len(set(values)) == len(values)
  np.testing.assert_array_equal(dataset.stream.window(0), dataset.images)
  whole = data.load('image_folder', folder, size=4)
  assert whole.stream is None
  assert set(values) < set(_values(whole.images))


def test_a_change_beyond_the_first_window_is_other_data(tmp_path):
  options = {'data_dir': str(tmp_path / 'here'), 'start': 'random', 'factor': 1}

  def stage():
    built = runner.built('image_folder:size=4:window=1,smoke', **options)
    return _pipelines.data_stage(built).settings

  _write(tmp_path / 'here' / 'train')
  _write(tmp_path / 'here' / 'test', (1, 1, 1))
  before = stage()
  shutil.move(tmp_path / 'here', tmp_path / 'there')
  options['data_dir'] = str(tmp_path / 'there')
  assert stage() == before
  image = tmp_path / 'there' / 'train' / 'class0' / '4.png'
  Image.fromarray(np.full((6, 8, 3), 9, np.uint8)).save(image)
  after = stage()
  assert after['digest'] == before['digest']  # of the first window
  assert after['files'] != before['files']


def test_each_pass_shows_every_image_once_in_its_own_order(dataset):
  windows = [_values(dataset.stream.window(k)) for k in range(10)]
  seen = np.concatenate([np.array(w)[4:8] for w in windows])[:35] - 50
  passes = seen.reshape(5, 7)
  assert np.sort(passes).tolist() == [list(range(7))] * 5
  assert len({tuple(p) for p in passes.tolist()}) > 1
  assert dataset.stream.windows_per_pass == 2


def test_a_restart_at_any_window_gives_the_same_bytes(folder, dataset):
  windows = [dataset.stream.window(k) for k in range(4)]
  again = data.load('image_folder', folder, size=4, window=4).stream
  for k in (3, 1, 2):
    np.testing.assert_array_equal(again.window(k), windows[k])
  again.close()
  np.testing.assert_array_equal(again.window(3), windows[3])
  again.close()
  other = data.load('image_folder', folder, size=4, window=4, seed=1).stream
  assert not np.array_equal(other.numbers(0), dataset.stream.numbers(0))


def test_a_host_reads_only_its_own_classes(dataset, monkeypatch):
  whole = dataset.stream.window(2)
  opened = []
  read = dataset.stream._read
  monkeypatch.setattr(
    dataset.stream, '_read', lambda i: opened.append(i) or read(i)
  )
  part = dataset.stream.window(2, range(1, 3))
  dataset.stream.close()
  np.testing.assert_array_equal(part, whole[4:])
  assert min(opened) >= _COUNTS[0]


def _wait_for(condition):
  deadline = time.monotonic() + 30
  while not condition() and time.monotonic() < deadline:
    time.sleep(0.01)
  assert condition()


def test_the_next_window_is_decoded_while_one_is_used(dataset, monkeypatch):
  stream, opened = dataset.stream, []
  read = stream._read
  monkeypatch.setattr(stream, '_read', lambda i: opened.append(i) or read(i))
  stream.prefetch(1)
  _wait_for(lambda: len(opened) == 11)
  stream.window(1)
  _wait_for(lambda: len(opened) == 22)
  assert sorted(opened[:11]) == sorted(stream.numbers(1))
  assert sorted(opened[11:]) == sorted(stream.numbers(2))
  stream.window(2)
  stream.close()
  _wait_for(lambda: not any('grain' in t.name for t in threading.enumerate()))


def test_a_broken_file_is_named_and_the_stream_goes_on(tmp_path):
  _write(tmp_path / 'train', (8, 8))
  _write(tmp_path / 'test', (1, 1))
  stream = data.load('image_folder', tmp_path, window=2).stream
  number = int(stream.numbers(2)[0])
  path = tmp_path / 'train' / 'class0' / f'{number}.png'
  good = path.read_bytes()
  for content, message in (
    (good[:40], rf'{number}\.png is not readable as image'),
    (None, 'is 3x3 and .* 6x8; give size'),
  ):
    if content is None:
      Image.fromarray(np.zeros((3, 3, 3), np.uint8)).save(path)
    else:
      path.write_bytes(content)
    stream.window(1)
    with pytest.raises(ValueError, match=message):
      stream.window(2)
  path.write_bytes(good)
  assert _values(stream.window(2))[0] == number
  stream.close()


def test_a_held_out_part_does_not_depend_on_the_window(tmp_path):
  _write(tmp_path, (10, 10))
  whole = data.load('image_folder', tmp_path)
  windowed = data.load('image_folder', tmp_path, window=3)
  np.testing.assert_array_equal(windowed.test_images, whole.test_images)
  assert windowed.stream.counts.tolist() == [8, 8]
  seen = {v for k in range(3) for v in _values(windowed.stream.window(k))}
  windowed.stream.close()
  assert seen == set(_values(whole.images))


def test_memory_is_told(folder, dataset):
  memory = data.image_memory(dataset)
  image = 4 * 4 * 3
  assert memory == (11 * image, 22 * image, 15 * image, 3 * image)
  assert 'window of 4 per class' in data.describe_memory(dataset)
  whole = data.load('image_folder', folder, size=4)
  assert data.image_memory(whole) == (15 * image, 0, 15 * image, 3 * image)
  assert data.describe_memory(whole).startswith('images: 0.0 MiB for training')


def test_bad_windows_are_refused(folder, dataset, monkeypatch):
  for window in (0, -1, 2.5):
    with pytest.raises(ValueError, match=r'window is .*positive number'):
      data.load('image_folder', folder, size=4, window=window)
  with pytest.raises(ValueError, match='seed -1: must be at least 0'):
    data.load('image_folder', folder, size=4, window=2, seed=-1)
  with pytest.raises(ValueError, match='window -1: must be at least 0'):
    dataset.stream.window(-1)
  with pytest.raises(ValueError, match=r'classes \[3\]: must be .* 0\.\.2'):
    dataset.stream.window(0, [3])
  with pytest.raises(ValueError, match="zca 'mtt': needs all training images"):
    dataset.whitened()
  monkeypatch.setitem(__import__('sys').modules, 'grain', None)
  with pytest.raises(ImportError, match=r'dcjax\[stream\]'):
    dataset.stream.window(1)
