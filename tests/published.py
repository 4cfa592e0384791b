"""Writes small data sets in the formats in which they are published."""

import gzip
import pickle
import wave

import numpy as np


def random_images(count, *shape, seed=0):
  """Returns uint8 noise `[count, *shape]`."""
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def cycle(count, classes=10):
  """Returns labels 0, 1, ... that start again after `classes`."""
  return np.arange(count, dtype=np.int32) % classes


def _idx(array):
  header = bytes([0, 0, 8, array.ndim])
  return header + np.array(array.shape, '>u4').tobytes() + array.tobytes()


def write_idx_set(folder, compress=False, count=20):
  """Writes MNIST's four files; returns the images of each part."""
  folder.mkdir(parents=True, exist_ok=True)
  arrays = {}
  for part in ('train', 't10k'):
    arrays[part] = random_images(count, 28, 28, seed=len(part))
    labels = cycle(count).astype(np.uint8)
    for kind, array in (('images-idx3', arrays[part]), ('labels-idx1', labels)):
      path = folder / f'{part}-{kind}-ubyte{".gz" if compress else ""}'
      content = _idx(array)
      path.write_bytes(gzip.compress(content) if compress else content)
  return arrays


def cifar_batch(labels, key, seed):
  """Returns the content of one of CIFAR's pickled files."""
  values = random_images(len(labels), 3072, seed=seed)
  return {b'data': values, key: labels.tolist(), b'batch_label': b'x'}


def write_cifar(folder, name, protocol=2, per_class=1):
  """Writes all files of `cifar10` or `cifar100`; returns their pixels."""
  folder.mkdir(parents=True, exist_ok=True)
  if name == 'cifar10':
    files = [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch']
    key, classes = b'labels', 10
  else:
    files, key, classes = ['train', 'test'], b'fine_labels', 100
  values = []
  for seed, file in enumerate(files):
    batch = cifar_batch(cycle(per_class * classes, classes), key, seed)
    values.append(batch[b'data'])
    (folder / file).write_bytes(pickle.dumps(batch, protocol))
  return values


def write_svhn(folder, count=20):
  """Writes SVHN's two files of the same images; returns the images."""
  from scipy import io

  folder.mkdir(parents=True, exist_ok=True)
  images = random_images(count, 32, 32, 3)
  labels = (1 + cycle(count))[:, None].astype(np.uint8)
  for part in ('train', 'test'):
    content = {'X': images.transpose(1, 2, 3, 0), 'y': labels}
    # Published ones are packed; both are read.
    packed = part == 'train'
    io.savemat(folder / f'{part}_32x32.mat', content, do_compression=packed)
  return images


def tone(rate, seconds, frequency=300):
  """Returns samples of a sine of amplitude a half."""
  n = np.arange(int(rate * seconds))
  return 0.5 * np.sin(2 * np.pi * frequency * n / rate)


def write_wav(path, samples, rate=16000):
  """Writes samples in -1..1 as a mono file of 16 bits."""
  path.parent.mkdir(parents=True, exist_ok=True)
  with wave.open(str(path), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(rate)
    file.writeframes((samples * 32767).astype('<i2').tobytes())


def write_words(root, words, count=10):
  """Writes a folder of short tones for each word."""
  for c, word in enumerate(words):
    for i in range(count):
      samples = tone(16000, 0.2, 300 * (c + 1) + 10 * i)
      write_wav(root / word / f'{i:02d}.wav', samples)


def write_tfds(folder):
  """Writes a TFDS set of pictures of two sizes, 'square' and 'wide'."""
  import tensorflow_datasets as tfds
  from PIL import Image

  # Unregistered: a process may write the set more than once.
  with tfds.core.registered.skip_registration():

    class DcjaxShapes(tfds.core.GeneratorBasedBuilder):
      VERSION = tfds.core.Version('1.0.0')

      def _info(self):
        features = tfds.features.FeaturesDict(
          {
            'photo': tfds.features.Image(shape=(None, None, 3)),
            'kind': tfds.features.ClassLabel(names=['square', 'wide']),
            'weight': tfds.features.Scalar(np.float32),
          }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

      def _split_generators(self, manager):
        counts = {'train': 12, 'test': 4, 'validation': 6}
        return {s: self._generate_examples(n, s) for s, n in counts.items()}

      def _generate_examples(self, count, split):
        for i in range(count):
          kind = i % 2
          pixels = np.full((8, 8 + 4 * kind, 3), 100 * kind + i, np.uint8)
          # Secret test labels, which TFDS writes as -1.
          label = -1 if split == 'test' else kind
          picture = Image.fromarray(pixels)
          yield i, {'photo': picture, 'kind': label, 'weight': 0.5}

  builder = DcjaxShapes(data_dir=str(folder), file_format='array_record')
  builder.download_and_prepare()
  return folder
