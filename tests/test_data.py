"""Data sets from arrays, constants, `load` and the command line."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets

from dcjax import data
from dcjax.data import __main__ as cli, _raw


def _random_images(count, *shape, seed=0):
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def _cycle(count, classes=10):
  return np.arange(count, dtype=np.int32) % classes


# Dataset and from_arrays.


def test_dataset_reports_its_shape_and_classes():
  images = _random_images(7, 4, 5, 3)
  labels = np.array([2, 0, 2, 1, 0, 2, 2])
  dataset = data.from_arrays(
    images, labels, images[:2], labels[:2], class_names=['a', 'b', 'c']
  )
  assert dataset.num_classes == 3
  assert dataset.image_shape == (4, 5, 3)
  assert dataset.counts.tolist() == [2, 1, 4]
  assert dataset.labels.dtype == np.int32
  assert dataset.scale == 255.0
  np.testing.assert_array_equal(dataset.class_images(1), images[3:4])
  with pytest.raises(ValueError, match=r'class 3 .*0\.\.2'):
    dataset.class_images(3)


def test_class_index_lists_unbalanced_classes_in_stored_order():
  labels = np.array([2, 0, 2, 1, 0, 2, 2])
  images = _random_images(7, 2, 2)
  dataset = data.from_arrays(images, labels, images, labels)
  order, offsets, counts = dataset.class_index()
  assert order.tolist() == [1, 4, 3, 0, 2, 5, 6]
  assert offsets.tolist() == [0, 2, 3]
  assert counts.tolist() == [2, 1, 4]


def test_statistics_are_those_of_the_scaled_training_images():
  images, labels = _random_images(2500, 3, 3, 2), _cycle(2500)
  dataset = data.from_arrays(images, labels, images[:10] // 2, labels[:10])
  scaled = images / 255
  np.testing.assert_allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-9)
  np.testing.assert_allclose(dataset.std, scaled.std((0, 1, 2)), rtol=1e-9)


def test_float_images_stay_float_and_gain_a_channel():
  images = np.linspace(0, 1, 40).reshape(10, 2, 2)
  dataset = data.from_arrays(images, _cycle(10, 2))
  assert dataset.images.dtype == np.float32
  assert dataset.images.shape[1:] == (2, 2, 1)
  assert dataset.scale == 1.0


def test_held_out_part_is_stratified_seeded_and_disjoint():
  labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
  train, test = data.stratified_split(labels, 0.2, seed=1)
  assert sorted([*train, *test]) == list(range(63))
  assert np.bincount(labels[test], minlength=4).tolist() == [10, 2, 1, 0]
  again = data.stratified_split(labels, 0.2, seed=1)[1]
  other = data.stratified_split(labels, 0.2, seed=2)[1]
  np.testing.assert_array_equal(test, again)
  assert test.tolist() != other.tolist()


_GOOD = {
  'images': _random_images(20, 4, 4, 3),
  'labels': _cycle(20, 4),
  'test_images': _random_images(4, 4, 4, 3),
  'test_labels': _cycle(4, 4),
}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'images': np.zeros((20, 4), np.uint8)}, r'images have shape \(20, 4\)'),
    ({'images': np.zeros((20, 0, 4, 3), np.uint8)}, 'no axis of length 0'),
    ({'images': np.zeros((20, 4, 4, 3), np.int64)}, 'images have dtype int64'),
    ({'images': np.full((20, 4, 4, 3), np.nan)}, 'images hold NaN'),
    ({'test_images': np.full((4, 4, 4, 3), np.inf)}, 'test_images hold NaN'),
    ({'images': np.full((20, 4, 4, 3), 2.0)}, r'images hold 2\.\.2; allowed'),
    ({'test_images': np.zeros((4, 4, 4, 3))}, r'float32 .*uint8, as in images'),
    ({'test_images': np.zeros((4, 4, 5, 3), np.uint8)}, r'\(4, 5, 3\)'),
    ({'labels': _cycle(20, 4) * 1.0}, 'labels have dtype float64'),
    (
      {'labels': np.ma.array(_cycle(20, 4), mask=_cycle(20, 4) == 3)},
      'labels have 5 masked entries',
    ),
    ({'labels': np.eye(20, dtype=int)}, r'labels have shape \(20, 20\)'),
    ({'labels': _cycle(20, 4) - 1}, r'labels hold -1\.\.2'),
    ({'labels': _cycle(20, 4) * 2}, 'class 1 .*, 3 .*, 5 '),
    ({'labels': _cycle(20, 4) + 2**30}, 'labels go up to'),
    ({'labels': _cycle(19, 4)}, 'hold 20 and labels 19'),
    ({'test_labels': _cycle(3, 4)}, 'test_images hold 4 and test_labels 3'),
    ({'test_labels': None}, 'both be given'),
    ({'class_names': list('abc')}, r'labels hold 0\.\.3; allowed are 0\.\.2'),
    ({'class_names': list('abcde')}, r'no training image in class 4 \(e\)'),
    ({'mean': (0.1,)}, 'mean is .* one number per channel, 3'),
    ({'std': (0.1, 0.0, 0.2)}, 'std is .* above 0'),
    ({'std': (0.1, np.nan, 0.2)}, 'std is .* finite'),
    ({'value_range': (1.0, 0.0)}, r'value_range is \(1.0, 0.0\)'),
    (
      {'test_images': None, 'test_labels': None, 'test_fraction': 1.5},
      'test_fraction is 1.5',
    ),
  ],
)
def test_bad_arrays_are_refused_with_the_field_named(change, message):
  with pytest.raises(ValueError, match=message):
    data.from_arrays(**{**_GOOD, **change})


def test_single_images_cannot_be_held_out():
  with pytest.raises(ValueError, match='give test_images'):
    data.from_arrays(_random_images(3, 2, 2), np.arange(3))


def test_lower_bound_does_not_bind_test_spectrograms():
  images = np.linspace(-3, 3, 16).reshape(4, 2, 2)
  dataset = data.from_arrays(
    images, _cycle(4, 2), images - 1, _cycle(4, 2), value_range=(-3.0, None)
  )
  assert dataset.test_images.min() == -4
  with pytest.raises(ValueError, match='images hold'):
    data.from_arrays(
      images, _cycle(4, 2), images, _cycle(4, 2), value_range=(-2.0, None)
    )


# Constants.


def test_constants_have_their_published_lengths():
  assert {n: len(c) for n, c in data.CLASS_NAMES.items()} == {
    **dict.fromkeys(data.CLASS_NAMES, 10),
    'cifar100': 100,
  }
  assert list(data.CLASS_NAMES['cifar100']) == sorted(
    set(data.CLASS_NAMES['cifar100'])
  )
  assert len(set(data.IMAGENET_100)) == 100
  assert data.IMAGENET_100[:10] == data.IMAGENET_10
  assert data.IMAGENET_10[-1] == 'n01773797'
  assert data.IMAGENET_100[-1] == 'n02090622'
  assert data.NORMALIZATIONS['cifar100'] == data.NORMALIZATIONS['cifar10']


# load.


def test_digits_need_no_files():
  dataset = data.load('digits')
  assert dataset.images.shape == (1433, 8, 8, 1)
  assert len(dataset.test_images) == 364
  assert dataset.images.max() == 255
  computed = data.channel_statistics(dataset.images)
  np.testing.assert_allclose(dataset.mean, computed[0], atol=1e-4)
  np.testing.assert_allclose(dataset.std, computed[1], atol=1e-4)
  stored = datasets.load_digits()
  for c in range(10):
    sixteenths = stored.images[stored.target == c]
    test = dataset.test_images[dataset.test_labels == c, ..., 0]
    np.testing.assert_array_equal(np.rint(test * (16 / 255)), sixteenths[::5])


def test_digits_are_upsampled():
  dataset = data.load('digits', size=12)
  assert dataset.image_shape == (12, 12, 1)
  np.testing.assert_allclose(dataset.mean, 0.3055, atol=0.01)


@pytest.mark.parametrize(
  ('name', 'options', 'message'),
  [
    ('mnits', {}, 'allowed are cifar10, cifar100, digits'),
    ('digits', {'sise': 4}, "no option 'sise': it takes .*'size'"),
    ('digits', {'size': 0}, 'size is 0'),
    ('digits', {'stats': 'cifra'}, 'stats is .*cifar100_dc'),
    ('digits', {'stats': 'cifar10'}, 'one number per channel, 1'),
    ('image_folder', {}, 'data_dir is None'),
    ('wav_folder', {}, 'data_dir is None'),
    ('npz', {}, 'data_dir is None'),
  ],
)
def test_load_refuses_what_it_does_not_know(name, options, message):
  with pytest.raises(ValueError, match=message):
    data.load(name, **options)


@pytest.mark.parametrize('name', ['image_folder', 'wav_folder', 'npz'])
def test_missing_folder_is_named(name, tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere'):
    data.load(name, tmp_path / 'nowhere')


# Command line.


def test_command_line_lists_the_sources(capsys):
  assert cli.main(['list']) == 0
  listed = capsys.readouterr().out
  for name in (*_raw.PUBLISHED_SETS, 'digits', 'image_folder', 'tfds:NAME'):
    assert name in listed


def test_prepare_needs_tensorflow(monkeypatch, capsys):
  real = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util,
    'find_spec',
    lambda name, *a: None if name == 'tensorflow' else real(name, *a),
  )
  assert cli.main(['prepare', 'mnist']) == 1
  assert 'dcjax[prepare]' in capsys.readouterr().err
  assert cli.main(['prepare', 'usps']) == 1
  assert 'TFDS does not have usps' in capsys.readouterr().err


def test_prepare_asks_tfds_for_array_records(monkeypatch, capsys, tmp_path):
  tfds = pytest.importorskip('tensorflow_datasets')
  asked = {}

  class Builder:
    data_path = 'prepared/here'

    def download_and_prepare(self):
      asked['prepared'] = True

  def builder(name, **options):
    asked.update(options, name=name)
    return Builder()

  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
  monkeypatch.setattr(tfds, 'builder', builder)
  assert cli.main(['prepare', 'svhn', '--data_dir', str(tmp_path)]) == 0
  assert asked == {
    'name': 'svhn_cropped',
    'data_dir': str(tmp_path),
    'file_format': 'array_record',
    'prepared': True,
  }
  assert 'prepared/here' in capsys.readouterr().out


def test_import_needs_no_optional_library():
  code = (
    'import sys, dcjax.data; bad = {"tensorflow_datasets", "h5py", "torch", '
    '"matplotlib", "PIL", "sklearn"} & set(sys.modules); assert not bad, bad'
  )
  subprocess.run([sys.executable, '-c', code], check=True)
