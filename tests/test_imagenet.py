"""ImageNet subsets: both sources, IDC's settings, and a rehearsal of a run."""

import jax
import numpy as np
import pytest
import runner
from PIL import Image

import dcjax
from dcjax import data, evaluation, runs, specs, trees
from dcjax.data import _sources
from dcjax.runs import _build, _given

_LIKE_100 = 'image_folder:size=16:window=10,like=imagenet100,network=convnet'


def _write(folder, names, count):
  rng = np.random.default_rng(0)
  for part, number in (('train', count), ('val', 2)):
    for c, name in enumerate(names):
      for i in range(number):
        path = folder / part / name / f'{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 200, (20, 24, 3)) + 20 * c
        Image.fromarray(pixels.astype(np.uint8)).save(path)
  return str(folder)


def test_settings_of_imagenet10_are_the_published_ones():
  config = runner.resolved('imagenet10').config
  spec = specs.parse('network', config.network)
  assert (spec['name'], spec['depth']) == ('resnet', 10)
  assert spec['average_pooling'] is True
  assert config.formation == 'uniform'
  assert (config.factor, config.start) == (3, 'mix')
  assert (config.outer, config.method.inner_steps) == (500, 100)
  assert config.method.distance == 'l1'
  assert config.method.learning_rate == 3e-3
  section = config.method
  assert (section.network_batches, section.network_batch_size) == (8, 64)
  assert (section.early_epochs, section.pool_networks) == (10, 0)
  for field in ('mix', 'train_mix'):
    assert config.augment[field] == 'cutmix:probability=1.0'
  assert config.evaluation.epochs == 1000  # 90 decoded images of each class
  assert config.evaluation.protocol == 'idc'
  other = runner.resolved('imagenet10:size=112,factor=2,network=convnet').config
  assert other.factor == 2
  assert other.network.startswith('convnet:')
  assert other.data == 'imagenet10:size=112'


def test_settings_of_imagenet100_are_the_published_ones():
  config = runner.resolved('imagenet100,ipc=20').config
  assert (config.formation, config.factor) == ('bound:cap=128', 3)
  section = config.method
  assert section.learning_rate == 1e-3
  assert (section.network_batches, section.network_batch_size) == (4, 128)
  assert section.network_learning_rate == 0.1
  assert section.network_weight_decay == 1e-4
  assert (section.early_epochs, section.pool_networks) == (0, 10)
  assert config.evaluation.epochs == 600
  protocol = evaluation.PROTOCOLS[config.evaluation.protocol](600)
  assert protocol.epochs == 600
  assert (protocol.learning_rate, protocol.weight_decay) == (0.1, 1e-4)
  assert protocol.batch_size == 128
  with pytest.raises(ValueError, match="like 'moon': must be one of"):
    runner.resolved('image_folder,like=moon')


def test_imagenet10_is_built_with_its_network(tmp_path):
  folder = _write(tmp_path, data.IMAGENET_10, 9)
  built = runner.built(
    'imagenet10:size=16,smoke',
    data_dir=folder,
    method__early_epochs=10,
    network='resnetap10:width_multiplier=0.0625',
  )
  assert built.network.name == 'resnetap10'
  assert built.dataset.class_names == data.IMAGENET_10
  assert _given.early_batches(built) == 10 * (90 // 8)
  treat = _build.evaluation_augment(built)
  images = built.dataset.images[:2].astype(np.float32) / 255
  assert treat(jax.random.key(0), images).shape == images.shape


def test_a_rehearsal_runs_from_folder_to_report(tmp_path):
  pytest.importorskip('grain')
  folder = _write(tmp_path / 'data', ('ant', 'bee', 'cat'), 14)
  changes = dict(
    data_dir=folder,
    method__pool_networks=2,
    method__pool_epochs=1,
    method__early_epochs=1,
    evaluation__baselines=(),
    evaluation__at=(),
    evaluation__seeds=1,
  )
  results = runner.run(
    tmp_path / 'run',
    f'{_LIKE_100},smoke',
    given={'store': tmp_path / 'store'},
    **changes,
  )
  (pool,) = (tmp_path / 'store').glob('pool-*.npz')
  weights = next(iter(trees.load(pool).values()))
  assert len(weights) == 2 and not np.array_equal(*weights)
  assert results['evaluations']['condensed']['images'] == 27
  stored = dcjax.load(tmp_path / 'run' / 'condensed.npz')
  assert stored.protocol['augmentation'] == 'imagenet'
  assert stored.protocol['cutmix_probability'] == 1
  assert stored.protocol['learning_rate'] == 0.1
  assert stored.params['images'].shape == (3, 1, 16, 16, 3)


def test_edc_rehearses_imagenet_1k_window_by_window(tmp_path, monkeypatch):
  pytest.importorskip('grain')
  folder = _write(tmp_path / 'data', ('ant', 'bee', 'cat'), 9)
  seen, window = set(), data.Windows.window

  def recorded(self, number):
    images = window(self, number)
    seen.update(np.asarray(images)[:, 0, 0, 0].tolist())
    return images

  monkeypatch.setattr(data.Windows, 'window', recorded)
  one = ('convnet:width=3:depth=1:norm=batch',)
  stored = runs.condensed(
    runner.config(
      'image_folder:size=16:window=4,like=imagenet1k,smoke',
      'edc',
      network='convnet:width=4:depth=1:norm=batch',
      data_dir=folder,
      observers__matching=one,
      observers__labelling=one,
    ),
    tmp_path / 'run',
  )
  whole = data.load('image_folder', folder, size=16)
  assert seen >= set(whole.images[:, 0, 0, 0].tolist())
  assert stored.params['images'].shape[0] == 3
  assert stored.params['images'].shape[2:] == (16, 16, 3)
  assert stored.label_regime == 'stored soft labels per crop'


def test_imagenet_evaluation_needs_square_colour_images(tmp_path):
  path = runner.write_npz(tmp_path / 'own.npz')
  changes = {'data_dir': str(path), 'augment__evaluate': 'imagenet'}
  with pytest.raises(ValueError, match='8x8x1; must be square and of 3'):
    runner.built('npz,smoke,factor=1', **changes)


# TFDS.


@pytest.fixture(scope='module')
def synsets_dir(tmp_path_factory):
  """A prepared set with ImageNet-10's classes among others, sorted by name."""
  tfds = pytest.importorskip('tensorflow_datasets')
  pytest.importorskip('array_record')
  names = sorted((*data.IMAGENET_10, 'n00000001', 'n99999999'))

  class DcjaxSynsets(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      features = tfds.features.FeaturesDict(
        {
          'image': tfds.features.Image(shape=(None, None, 3)),
          'label': tfds.features.ClassLabel(names=names),
        }
      )
      return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
      return {'train': self._examples(5), 'validation': self._examples(1)}

    def _examples(self, count):
      for c, name in enumerate(names):
        for i in range(count):
          pixels = np.full((8, 10 + c, 3), 20 * c + i, np.uint8)
          image = Image.fromarray(pixels)
          yield f'{name}_{i}', {'image': image, 'label': name}

    def _generate_examples(self):
      return ()

  folder = tmp_path_factory.mktemp('tfds')
  builder = DcjaxSynsets(data_dir=str(folder), file_format='array_record')
  builder.download_and_prepare()
  return folder, names


@pytest.fixture
def tfds_dir(synsets_dir, monkeypatch):
  monkeypatch.setattr(_sources, 'IMAGENET_TFDS', 'dcjax_synsets')
  return synsets_dir


def test_imagenet_comes_from_tfds_in_the_references_order(tfds_dir):
  folder, names = tfds_dir
  dataset = data.load('imagenet10', folder, size=4)
  assert dataset.name == 'imagenet10'
  assert dataset.class_names == data.IMAGENET_10
  assert dataset.counts.tolist() == [5] * 10
  assert (dataset.mean, dataset.std) == data.NORMALIZATIONS['imagenet']
  for c, synset in enumerate(data.IMAGENET_10):
    values = np.unique(dataset.class_images(c))
    assert values.tolist() == [20 * names.index(synset) + i for i in range(5)]
  tested = dataset.test_images[dataset.test_labels == 3]
  assert tested.mean() == 20 * names.index(data.IMAGENET_10[3])


def test_only_wanted_records_are_decoded(tfds_dir, monkeypatch):
  pytest.importorskip('grain')
  folder, names = tfds_dir
  from dcjax.data import _tfds_records

  decoded = []
  resize = _tfds_records.Reader.image

  def counting(self, example):
    decoded.append(int(example['label']))
    return resize(self, example)

  monkeypatch.setattr(_tfds_records.Reader, 'image', counting)
  dataset = data.load('imagenet10', folder, size=4, window=2, grayscale=True)
  assert dataset.images.shape == (20, 4, 4, 1)
  assert len(decoded) == 1 + 20 + 10  # the first one tells the shape
  assert not {names[label] for label in decoded} - set(data.IMAGENET_10)
  windows = [dataset.stream.window(k) for k in (0, 1)]
  dataset.stream.close()
  np.testing.assert_array_equal(windows[0], dataset.images)
  seen = np.stack(windows).reshape(2, 10, 2, -1)[:, 0, :, 0]
  first = 20 * names.index(data.IMAGENET_10[0])
  assert len(set(seen.ravel())) == 4
  assert set(seen.ravel() - first) < set(range(5))


def test_labels_of_large_sets_are_remembered(tfds_dir, monkeypatch, tmp_path):
  from dcjax.data import _tfds_labels

  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.setattr(_tfds_labels, '_REMEMBERED_FROM', 20)
  first = data.load('imagenet10', tfds_dir[0], size=4)
  (file,) = (tmp_path / 'dcjax' / 'labels').iterdir()
  read = _tfds_labels._read
  lengths = []

  def counting(source, *keys):
    lengths.append(len(source))
    return read(source, *keys)

  monkeypatch.setattr(_tfds_labels, '_read', counting)
  again = data.load('imagenet10', tfds_dir[0], size=4)
  assert lengths == [12]  # the test part is small
  np.testing.assert_array_equal(again.images, first.images)
  file.write_bytes(b'rubbish')
  data.load('imagenet10', tfds_dir[0], size=4)
  assert lengths == [12, 60, 12]


def test_missing_imagenet_names_both_ways(tmp_path):
  pytest.importorskip('tensorflow_datasets')
  message = r'train/<synset>.* TFDS set imagenet2012 .*prepare imagenet100 '
  for folder in (tmp_path, None):
    with pytest.raises(FileNotFoundError, match=message):
      data.load('imagenet100', folder)


@pytest.mark.parametrize('classes', [['n1'], [], ['n00000001'] * 2])
def test_unknown_tfds_classes_are_refused(tfds_dir, classes):
  with pytest.raises(ValueError, match=r"at least one, none twice: \['n0"):
    data.load('tfds:dcjax_synsets', tfds_dir[0], size=4, classes=classes)
