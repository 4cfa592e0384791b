"""Readers of the image sets' published files."""

import io
import pathlib
import pickle
import tarfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dcjax.data import _files


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
    content = _files.read_bytes(path)
    if len(content) < 4 or content[:3] != b'\0\0\x08' or not content[3]:
      raise ValueError('it does not start like an idx file of bytes')
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], '>u4').astype(int)
    if len(content) != header + shape.prod():
      raise ValueError(
        f'it holds {len(content)} bytes where its header promises '
        f'{header + shape.prod()}'
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


class _ArrayUnpickler(pickle.Unpickler):
  """Unpickles containers and NumPy arrays, and refuses everything else.

  A pickle may call any importable function; these are the few that plain
  arrays need, under the module names of old and new NumPy.
  """

  _ALLOWED: dict[tuple[str, str], Any] = {  # noqa: RUF012
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
  }

  def find_class(self, module: str, name: str) -> Any:
    """Returns an allowed global; see the base class."""
    if (module, name) in self._ALLOWED:
      return self._ALLOWED[module, name]
    if (module, name) == ('_codecs', 'encode'):
      return _latin1_bytes
    if module in ('numpy.core.multiarray', 'numpy._core.multiarray') and (
      name == '_reconstruct'
    ):
      return np.empty(0).__reduce__()[0]
    if module in ('numpy.core.numeric', 'numpy._core.numeric') and (
      name == '_frombuffer'
    ):
      return np.empty(0).__reduce_ex__(5)[0]
    raise pickle.UnpicklingError(
      f'it asks for {module}.{name}, which plain arrays do not need'
    )


def _latin1_bytes(text: str, encoding: str) -> bytes:
  """How Python 3 writes bytes in pickles of protocol 2."""
  if encoding != 'latin1':
    raise pickle.UnpicklingError(f'it asks for the encoding {encoding!r}')
  return text.encode('latin1')


def _read_cifar_batch(
  stream: io.BufferedIOBase, name: str, label_key: str
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (images `[M, 32, 32, 3]` uint8, labels `[M]`) of one pickle."""
  with _files.reading(name, 'CIFAR batch'):
    batch = _ArrayUnpickler(stream, encoding='bytes').load()
    batch = {k if isinstance(k, str) else k.decode(): batch[k] for k in batch}
    missing = {'data', label_key} - set(batch)
    if missing:
      raise ValueError(f'it lacks the keys {sorted(missing)}')
    data, labels = np.asarray(batch['data']), np.asarray(batch[label_key])
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
      raise ValueError(
        f'its data are {data.dtype} {data.shape} with {len(labels)} labels'
      )
  return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


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
      with open(path, 'rb') as stream:
        parts.append(_read_cifar_batch(stream, str(path), label_key))
    return parts

  def read_archive(path: pathlib.Path) -> list:
    parts = []
    with _files.reading(path, 'tar'), tarfile.open(path) as tar:
      for batch in batches:
        stream = tar.extractfile(f'{unpacked}/{batch}')
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
    content = scipy.io.loadmat(path, variable_names=['X', 'y'])
    images, labels = content['X'], content['y'].reshape(-1).astype(np.int32)
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3):
      raise ValueError(f'its X is {images.dtype} {images.shape}')
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
      arrays.append(_usps_images(file[part]['data'][:]))
      arrays.append(file[part]['target'][:])
  return Arrays(*arrays)


def _read_usps_libsvm(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  from sklearn import datasets

  with _files.reading(path, 'USPS libsvm'):
    values, labels = datasets.load_svmlight_file(str(path), n_features=256)
    # Published in [-1, 1], with the digit d as class d + 1.
    images = _usps_images((values.toarray() + 1) / 2)
  return images, labels.astype(np.int32) - 1


def _usps_images(values: np.ndarray) -> np.ndarray:
  """Returns `[M, 16, 16]` uint8 of `[M, 256]` in [0, 1]."""
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
