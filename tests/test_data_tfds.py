"""TFDS sets: an own prepared one, TFDS's test doubles, and what is missing."""

import shutil

import published
import pytest

from dcjax import data
from dcjax.data import _tfds


@pytest.fixture(scope='module')
def tfds():
  return pytest.importorskip('tensorflow_datasets')


@pytest.fixture(scope='module')
def shapes_dir(tfds, tmp_path_factory):
  """A prepared set of pictures of two sizes, classes 'square' and 'wide'."""
  pytest.importorskip('array_record')
  return published.write_tfds(tmp_path_factory.mktemp('tfds'))


def test_own_tfds_set_is_resized_and_skips_secret_labels(shapes_dir):
  dataset = data.load('tfds:dcjax_shapes', shapes_dir, size=4)
  assert dataset.class_names == ('square', 'wide')
  assert dataset.images.shape == (12, 4, 4, 3)
  assert dataset.test_images.shape == (6, 4, 4, 3)
  assert (dataset.images.mean((1, 2, 3)) >= 100).tolist() == (
    dataset.labels == 1
  ).tolist()


def test_tfds_splits_are_chosen(shapes_dir):
  dataset = data.load(
    'tfds:dcjax_shapes',
    shapes_dir,
    size=4,
    train_split='train[:50%]',
    test_split='train[50%:]',
  )
  assert len(dataset.images) == len(dataset.test_images) == 6


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({}, r'give size'),
    ({'size': 4, 'image_key': 'image'}, r"image_key is 'image' .*'photo'"),
    ({'size': 4, 'label_key': 'weight'}, "label_key 'weight' gives float"),
    ({'size': 4, 'train_split': 'extra'}, "no split 'extra'; .*'train'"),
  ],
)
def test_bad_tfds_options_are_refused(shapes_dir, options, message):
  with pytest.raises(ValueError, match=message):
    data.load('tfds:dcjax_shapes', shapes_dir, **options)


def test_damaged_records_are_said_in_one_sentence(shapes_dir, tmp_path):
  damaged = tmp_path / 'tfds'
  shutil.copytree(shapes_dir, damaged)
  (file,) = damaged.rglob('*-train.array_record*')
  content = bytearray(file.read_bytes())
  start = content.index(b'PNG') + 8  # in the header of the first picture
  content[start : start + 40] = bytes(40)
  file.write_bytes(content)
  message = f"{damaged}.*TFDS set 'dcjax_shapes'.* is not readable"
  with pytest.raises(ValueError, match=message) as caught:
    data.load('tfds:dcjax_shapes', damaged, size=4)
  assert '\n' not in str(caught.value)


def test_a_damaged_description_is_said_in_one_sentence(shapes_dir, tmp_path):
  damaged = tmp_path / 'tfds'
  shutil.copytree(shapes_dir, damaged)
  (file,) = damaged.rglob('dataset_info.json')
  for content in (file.read_bytes()[:-20], b'\xff', b'[]'):
    file.write_bytes(content)
    message = f"TFDS set 'dcjax_shapes' in {damaged}: .* damaged .*; run python"
    with pytest.raises(ValueError, match=message) as caught:
      data.load('tfds:dcjax_shapes', damaged, size=4)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['mnist', 'svhn', 'tfds:cifar10'])
def test_stock_tfds_sets_are_read(tfds, tmp_path, name):
  with tfds.testing.mock_data(num_examples=200):
    dataset = data.load(name, tmp_path)
  bare = name.removeprefix('tfds:')
  assert len(dataset.images) == len(dataset.test_images) == 200
  assert dataset.class_names == data.CLASS_NAMES[bare]
  assert (dataset.mean, dataset.std) == data.NORMALIZATIONS[bare]


def test_unprepared_and_unknown_tfds_sets_are_refused(tfds, tmp_path):
  with pytest.raises(FileNotFoundError, match='prepare kmnist --data_dir'):
    data.load('tfds:kmnist', tmp_path)
  with pytest.raises(ValueError, match=r"'mnits'.*'mnist'"):
    data.load('tfds:mnits', tmp_path)
  with pytest.raises(ValueError, match='without a namespace'):
    data.load('tfds:huggingface:mnist', tmp_path)


def test_missing_tfds_is_said(monkeypatch, tmp_path):
  monkeypatch.setattr(_tfds, 'installed', lambda: False)
  with pytest.raises(ImportError, match=r'dcjax\[tfds\]'):
    data.load('tfds:mnist', tmp_path)
  with pytest.raises(FileNotFoundError, match='prepare mnist'):
    data.load('mnist', tmp_path)
