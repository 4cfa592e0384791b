"""Readers of the image sets' published files."""

import io
import math
import pathlib
import tarfile
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from dcjax import files
from dcjax.data import _bounded, _files, _pickles

# More than any of the files has, unpacked: MNIST 47 MB, CIFAR-100 155 MB.
_MOST_BYTES = 2**28
_MOST_USPS = 2**16
_MAT_NUMBERS = ('double', 'single', 'int', 'uint')


class Arrays(NamedTuple):
  """A set as published.

  Attributes:
    images: `[M, H, W]` or `[M, H, W, D]` uint8.
    labels: `[M]` integers.
    test_images: as `images`.
    test_labels: as `labels`.
  """

  images: np.ndarray
  labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray


class PublishedSet(NamedTuple):
  """How to get one set.

  Attributes:
    read: `data_dir -> Arrays`; FileNotFoundError if files are missing.
    files: the published files, for messages.
    tfds_name: name in TensorFlow Datasets, or None.
  """

  read: Callable[[pathlib.Path], Arrays]
  files: str
  tfds_name: str | None


def read_idx(path: pathlib.Path) -> np.ndarray:
  """Returns the uint8 array of an MNIST-style idx file, raw or gzip.

  Raises:
    ValueError: not an idx file of bytes, or truncated.
  """
  with _files.reading(path, 'idx'):
    content = _files.read_bytes(path, _MOST_BYTES)
    if len(content) < 4 or content[:3] != b'\0\0\x08' or not content[3]:
      raise ValueError('it does not start like an idx file of bytes')
    header = 4 + 4 * content[3]
    shape = [int(n) for n in np.frombuffer(content[4:header], '>u4')]
    size = header + math.prod(shape)
    if len(content) != size:
      raise ValueError(
        f'it holds {len(content)} bytes where its header promises {size}'
      )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _idx_reader(*folders: str) -> Callable[[pathlib.Path], Arrays]:
  def read(data_dir: pathlib.Path) -> Arrays:
    arrays = []
    for part in ('train', 't10k'):
      for kind in ('images-idx3', 'labels-idx1'):
        name = f'{part}-{kind}-ubyte'
        dotted = name.replace('-idx', '.idx')
        names = [name, f'{name}.gz', dotted, f'{dotted}.gz']
        arrays.append(read_idx(_files.find(data_dir, folders, names)))
    return Arrays(*arrays)

  return read


def _read_cifar_batch(
  stream: BinaryIO, name: str, label_key: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (images `[M, 32, 32, 3]` uint8, labels `[M]`) of one pickle."""
  with _files.reading(name, 'CIFAR batch'):
    content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
      raise ValueError(f'it has more than {_MOST_BYTES} bytes')
    batch = _pickles.loads(content)
    if not isinstance(batch, dict):
      raise ValueError(f'it holds a {type(batch).__name__}, not a dict')
    batch = {k.decode() if isinstance(k, bytes) else k: batch[k] for k in batch}
    missing = {'data', label_key} - set(batch)
    if missing:
      raise ValueError(f'it lacks the keys {sorted(missing)}')
    data, labels = batch['data'], _integers(batch[label_key])
    if not isinstance(data, np.ndarray):
      raise ValueError(f'its data are a {type(data).__name__}, not an array')
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
      raise ValueError(
        f'its data are {data.dtype} {data.shape} with {len(labels)} labels'
      )
  return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def _integers(labels: Any) -> np.ndarray:
  """Returns `[M]` int64 of a flat list or array of whole numbers."""
  if isinstance(labels, list):
    if not all(type(n) is int and 0 <= n < 2**31 for n in labels):
      raise ValueError('its labels are no list of class numbers')
    return np.array(labels, np.int64)
  if not isinstance(labels, np.ndarray) or labels.dtype.kind not in 'iu':
    raise ValueError(f'its labels are a {type(labels).__name__}')
  return labels.reshape(-1).astype(np.int64)


def _cifar_reader(
  folders: tuple[str, ...],
  unpacked: str,
  archive: str,
  batches: list[str],
  label_key: str,
) -> Callable[[pathlib.Path], Arrays]:
  """Reads unpacked batches if there, else the archive; last batch: test."""

  def read_unpacked(data_dir: pathlib.Path) -> list:
    places = [f'{f}/{unpacked}' if f else unpacked for f in folders]
    paths = [_files.find(data_dir, (*places, *folders), [b]) for b in batches]
    parts = []
    for path in paths:
      with files.opened(path) as stream:
        parts.append(_read_cifar_batch(stream, str(path), label_key))
    return parts

  def read_archive(path: pathlib.Path) -> list:
    parts = []
    with _files.reading(path, 'tar'):
      content = io.BytesIO(_files.read_bytes(path, _MOST_BYTES))
      with tarfile.open(fileobj=content, mode='r:') as tar:
        for batch in batches:
          stream = tar.extractfile(f'{unpacked}/{batch}')
          if stream is None:
            raise ValueError(f'its {batch} is no file')
          parts.append(_read_cifar_batch(stream, batch, label_key))
    return parts

  def read(data_dir: pathlib.Path) -> Arrays:
    try:
      parts = read_unpacked(data_dir)
    except FileNotFoundError as error:
      try:
        parts = read_archive(_files.find(data_dir, folders, [archive]))
      except FileNotFoundError as second:
        raise FileNotFoundError(f'{error}, and {second}') from None
    images, labels = zip(*parts, strict=True)
    return Arrays(
      np.concatenate(images[:-1]),
      np.concatenate(labels[:-1]),
      np.ascontiguousarray(images[-1]),
      labels[-1],
    )

  return read


def _read_svhn(data_dir: pathlib.Path) -> Arrays:
  arrays = []
  for part in ('train', 'test'):
    name = f'{part}_32x32.mat'
    path = _files.find(data_dir, ('svhn', 'SVHN', ''), [name])
    arrays.extend(_read_svhn_part(path))
  return Arrays(*arrays)


def _read_svhn_part(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  import scipy.io

  with _files.reading(path, 'SVHN mat'):
    stream = io.BytesIO(_bounded.unpacked_mat(path, _MOST_BYTES))
    listed = scipy.io.whosmat(stream)
    found = {name: (shape, kind) for name, shape, kind in listed}
    if len(found) < len(listed):
      raise ValueError('it names a variable twice')
    shape, kind = found.get('X', ((), 'missing'))
    if kind != 'uint8' or shape[:3] != (32, 32, 3) or len(shape) != 4:
      raise ValueError(f'its X is {kind} {shape}')
    answers, kind = found.get('y', ((), 'missing'))
    # Cells in cells in cells would crash their reader.
    if not kind.startswith(_MAT_NUMBERS) or math.prod(answers) != shape[3]:
      raise ValueError(f'its y, {kind}, does not label {shape[3]} images')
    content = scipy.io.loadmat(stream, variable_names=['X', 'y'])
    images, labels = content['X'], content['y'].reshape(-1)
    if images.dtype != np.uint8:
      raise ValueError(f'its X is stored as {images.dtype}')
    if labels.dtype.kind not in 'iuf' or not np.isin(labels, range(11)).all():
      raise ValueError('its labels are not all in 0..10')
    labels = labels.astype(np.int32)
  labels[labels == 10] = 0  # The digit 0 is published as class 10.
  return np.ascontiguousarray(images.transpose(3, 0, 1, 2)), labels


def _read_usps(data_dir: pathlib.Path) -> Arrays:
  folders = ('usps', 'USPS', '')
  try:
    return _read_usps_h5(_files.find(data_dir, folders, ['usps.h5']))
  except FileNotFoundError as error:
    try:
      train = _files.find(data_dir, folders, ['usps.bz2', 'usps'])
      test = _files.find(data_dir, folders, ['usps.t.bz2', 'usps.t'])
    except FileNotFoundError as second:
      raise FileNotFoundError(f'{error}, and {second}') from None
  return Arrays(*_read_usps_libsvm(train), *_read_usps_libsvm(test))


def _read_usps_h5(path: pathlib.Path) -> Arrays:
  try:
    import h5py
  except ImportError as error:
    raise ImportError(
      f"reading {path} needs h5py: pip install 'dcjax[usps]'."
    ) from error
  arrays = []
  with _files.reading(path, 'USPS HDF5'), h5py.File(path, 'r') as file:
    for part in ('train', 'test'):
      values, target = (
        _bounded.h5_array(file, f'{part}/{name}', _MOST_BYTES)
        for name in ('data', 'target')
      )
      if values.shape != (*target.shape, 256) or len(values) > _MOST_USPS:
        raise ValueError(f'its {part} is {values.shape} with {target.shape}')
      arrays += [_usps_images(values), target]
  return Arrays(*arrays)


def _read_usps_libsvm(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  from sklearn import datasets

  with _files.reading(path, 'USPS libsvm'):
    stream = io.BytesIO(_files.read_bytes(path, _MOST_BYTES))
    values, labels = datasets.load_svmlight_file(stream, n_features=256)
    if len(labels) > _MOST_USPS:
      raise ValueError(f'it has {len(labels)} lines')
    # Published in [-1, 1], with the digit d as class d + 1.
    images = _usps_images((values.toarray() + 1) / 2)
    if not np.isin(labels, range(1, 11)).all():
      raise ValueError('its labels are not all in 1..10')
  return images, labels.astype(np.int32) - 1


def _usps_images(values: np.ndarray) -> np.ndarray:
  """Returns `[M, 16, 16]` uint8 of `[M, 256]` in [0, 1]."""
  if not values.size:
    raise ValueError('it holds no values')
  if not (values.min() >= -1e-3 and values.max() <= 1 + 1e-3):
    raise ValueError(f'it holds values {values.min()}..{values.max()}')
  pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
  return pixels.reshape(-1, 16, 16)


PUBLISHED_SETS: dict[str, PublishedSet] = {
  'cifar10': PublishedSet(
    _cifar_reader(
      ('cifar10', ''),
      'cifar-10-batches-py',
      'cifar-10-python.tar.gz',
      [*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'],
      'labels',
    ),
    'cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html',
    'cifar10',
  ),
  'cifar100': PublishedSet(
    _cifar_reader(
      ('cifar100', ''),
      'cifar-100-python',
      'cifar-100-python.tar.gz',
      ['train', 'test'],
      'fine_labels',
    ),
    'cifar-100-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html',
    'cifar100',
  ),
  'fashion_mnist': PublishedSet(
    _idx_reader('fashion_mnist', 'FashionMNIST/raw', ''),
    'the four idx files of https://github.com/zalandoresearch/fashion-mnist',
    'fashion_mnist',
  ),
  'mnist': PublishedSet(
    _idx_reader('mnist', 'MNIST/raw', ''),
    'the four idx files train- and t10k-, images and labels, of MNIST',
    'mnist',
  ),
  'svhn': PublishedSet(
    _read_svhn,
    'train_32x32.mat and test_32x32.mat from '
    'http://ufldl.stanford.edu/housenumbers',
    'svhn_cropped',
  ),
  'usps': PublishedSet(
    _read_usps,
    'usps.bz2 and usps.t.bz2 of the LIBSVM multiclass data sets, or usps.h5',
    None,
  ),
}
