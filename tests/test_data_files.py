"""Published files and npz: small generated ones, good and bad."""

import bz2
import gzip
import pickle
import tarfile
import zlib

import numpy as np
import pytest
from published import (
  cifar_batch,
  cycle,
  random_images,
  write_cifar,
  write_idx_set,
  write_svhn,
)

from dcjax import data
from dcjax.data import _raw

# Published files.


@pytest.mark.parametrize('compress', [False, True])
@pytest.mark.parametrize('name', ['mnist', 'fashion_mnist'])
@pytest.mark.parametrize('nested', [False, True])
def test_idx_files_are_read(tmp_path, name, compress, nested):
  arrays = write_idx_set(tmp_path / name if nested else tmp_path, compress)
  dataset = data.load(name, tmp_path)
  np.testing.assert_array_equal(dataset.images[..., 0], arrays['train'])
  np.testing.assert_array_equal(dataset.test_images[..., 0], arrays['t10k'])
  np.testing.assert_array_equal(dataset.labels, cycle(20))
  assert (dataset.mean, dataset.std) == data.NORMALIZATIONS[name]


@pytest.mark.parametrize(
  'damage',
  [
    lambda content: content[:-3],
    lambda content: content[:9],
    lambda content: b'',
    lambda content: b'<html>' + content,
    lambda content: gzip.compress(content)[:-20],
  ],
)
def test_damaged_idx_file_is_named(tmp_path, damage):
  write_idx_set(tmp_path)
  path = tmp_path / 't10k-images-idx3-ubyte'
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=r't10k-images-idx3-ubyte is not .*idx'):
    data.load('mnist', tmp_path)


def test_missing_files_name_place_and_both_remedies(tmp_path):
  with pytest.raises(FileNotFoundError) as caught:
    data.load('mnist', tmp_path)
  message = str(caught.value)
  assert 'train-images-idx3-ubyte.gz' in message
  assert str(tmp_path / 'mnist') in message
  assert f'python -m dcjax.data prepare mnist --data_dir {tmp_path}' in message
  assert 'dcjax[prepare]' in message


_CIFAR_FOLDERS = {
  'cifar10': 'cifar-10-batches-py',
  'cifar100': 'cifar-100-python',
}


@pytest.mark.parametrize('protocol', [2, 5])
@pytest.mark.parametrize('place', ['direct', 'published', 'archive'])
@pytest.mark.parametrize('name', ['cifar10', 'cifar100'])
def test_cifar_is_read(tmp_path, name, place, protocol):
  folder = _CIFAR_FOLDERS[name]
  if place == 'direct':
    values = write_cifar(tmp_path, name, protocol)
  elif place == 'published':
    values = write_cifar(tmp_path / name / folder, name, protocol)
  else:
    values = write_cifar(tmp_path / 'made', name, protocol)
    archive = tmp_path / f'{folder.replace("batches-py", "python")}.tar.gz'
    with tarfile.open(archive, 'w:gz') as tar:
      tar.add(tmp_path / 'made', folder)
  dataset = data.load(name, tmp_path)
  assert dataset.image_shape == (32, 32, 3)
  planes = np.concatenate(values[:-1]).reshape(-1, 3, 32, 32)
  np.testing.assert_array_equal(dataset.images[:, 5, 7, 2], planes[:, 2, 5, 7])
  np.testing.assert_array_equal(
    dataset.test_images[0, ..., 0].ravel(), values[-1][0, :1024]
  )
  assert dataset.class_names == data.CLASS_NAMES[name]
  assert len(dataset.labels) == (50 if name == 'cifar10' else 100)


def test_another_normalisation_is_chosen_by_name(tmp_path):
  write_cifar(tmp_path, 'cifar100')
  dataset = data.load('cifar100', tmp_path, stats='cifar100_dc')
  assert dataset.mean == (0.5071, 0.4866, 0.4409)
  dataset = data.load('cifar100', tmp_path, stats='data')
  np.testing.assert_allclose(dataset.mean, 0.5, atol=0.01)


class _Payload:
  def __reduce__(self):
    return print, ('a pickle ran code',)


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\x80\x02}q\x00(U\x06labels',
    pickle.dumps({b'data': np.zeros((10, 3072), np.uint8)}),
    pickle.dumps(cifar_batch(np.arange(9), b'labels', 0))[:-900],
    pickle.dumps({**cifar_batch(np.arange(9), b'labels', 0), b'labels': [1]}),
    pickle.dumps(_Payload()),
    pickle.dumps([np.float64(1.0)]),
    pickle.dumps(3),
  ],
)
def test_bad_cifar_batch_is_named_and_runs_no_code(tmp_path, capsys, content):
  write_cifar(tmp_path, 'cifar10')
  (tmp_path / 'data_batch_3').write_bytes(content)
  with pytest.raises(ValueError, match=r'data_batch_3 is not .*CIFAR batch'):
    data.load('cifar10', tmp_path)
  assert 'ran code' not in capsys.readouterr().out


def test_truncated_cifar_archive_is_named(tmp_path):
  write_cifar(tmp_path / 'made', 'cifar10')
  archive = tmp_path / 'cifar-10-python.tar.gz'
  with tarfile.open(archive, 'w:gz') as tar:
    tar.add(tmp_path / 'made', 'cifar-10-batches-py')
  archive.write_bytes(archive.read_bytes()[:100_000])
  with pytest.raises(ValueError, match=r'cifar-10-python\.tar\.gz'):
    data.load('cifar10', tmp_path)


def test_incomplete_cifar_folder_names_the_missing_batch(tmp_path):
  write_cifar(tmp_path, 'cifar10')
  (tmp_path / 'data_batch_4').unlink()
  with pytest.raises(FileNotFoundError, match=r'data_batch_4 .*python\.tar'):
    data.load('cifar10', tmp_path)


def test_svhn_is_read_with_class_ten_as_zero(tmp_path):
  images = write_svhn(tmp_path)
  dataset = data.load('svhn', tmp_path)
  np.testing.assert_array_equal(dataset.images, images)
  np.testing.assert_array_equal(dataset.labels, (1 + cycle(20)) % 10)


@pytest.mark.parametrize('damage', ['truncated', 'garbage', 'keys', 'shape'])
def test_bad_svhn_file_is_named(tmp_path, damage):
  from scipy import io

  write_svhn(tmp_path)
  path = tmp_path / 'test_32x32.mat'
  if damage == 'truncated':
    path.write_bytes(path.read_bytes()[:5000])
  elif damage == 'garbage':
    path.write_bytes(b'not a mat file' * 100)
  elif damage == 'keys':
    io.savemat(path, {'Z': np.zeros(3)})
  else:
    io.savemat(path, {'X': np.zeros((4, 4, 3, 2), np.uint8), 'y': np.ones(2)})
  with pytest.raises(ValueError, match=r'test_32x32\.mat is not .*SVHN'):
    data.load('svhn', tmp_path)


def _write_usps_h5(path, values):
  h5py = pytest.importorskip('h5py')
  with h5py.File(path, 'w') as file:
    for part in ('train', 'test'):
      group = file.create_group(part)
      group['data'] = values
      group['target'] = cycle(len(values))


def test_usps_is_read_from_hdf5(tmp_path):
  pixels = random_images(20, 16, 16)
  _write_usps_h5(
    tmp_path / 'usps.h5', (pixels / 255).reshape(20, 256).astype(np.float32)
  )
  dataset = data.load('usps', tmp_path)
  np.testing.assert_array_equal(dataset.images[..., 0], pixels)
  assert dataset.counts.tolist() == [2] * 10


def test_bad_usps_hdf5_is_named(tmp_path):
  path = tmp_path / 'usps.h5'
  _write_usps_h5(path, np.full((10, 256), 3.0))
  with pytest.raises(ValueError, match=r'usps\.h5 is not .*values 3'):
    data.load('usps', tmp_path)
  path.write_bytes(path.read_bytes()[:1000])
  with pytest.raises(ValueError, match=r'usps\.h5 is not .*HDF5'):
    data.load('usps', tmp_path)


# Files that take far more memory than they have bytes, or lead elsewhere.


def _mat(path):
  from scipy import io

  images = np.zeros((32, 32, 3, 500), np.uint8)
  content = {'X': images, 'y': np.ones((500, 1), np.uint8)}
  io.savemat(path / 'test_32x32.mat', content, do_compression=True)


def _cells(path):
  from scipy import io

  content = {'X': np.zeros((32, 32, 3, 1), np.uint8)}
  content['y'] = np.array([[np.array([[1]])]], object)
  io.savemat(path / 'test_32x32.mat', content)


def _h5(change):
  def write(path):
    h5py = pytest.importorskip('h5py')
    (path / 'usps.h5').unlink()
    with h5py.File(path / 'usps.h5', 'w') as file:
      change(file, h5py)

  return write


def _h5_chunk(file, h5py):
  options = dict(chunks=(10, 256), compression='gzip', dtype='u1')
  made = file.create_dataset('train/data', (10, 256), **options)
  made.id.write_direct_chunk((0, 0), zlib.compress(bytes(2**20)))


def _h5_outside(file, h5py):
  outside = [('/etc/passwd', 0, 10)]
  file.create_dataset('train/data', (10, 1), 'u1', external=outside)


def _h5_link(file, h5py):
  file['train'] = h5py.ExternalLink('/etc/passwd', '/')


def _h5_many(file, h5py):
  file.create_dataset('train/data', (2**40, 256), 'f8', chunks=(1, 256))


def _h5_texts(file, h5py):
  file.create_dataset('train/data', (10, 256), 'S9')


def _archive(path):
  for file in path.glob('data_batch_*'):
    file.unlink()
  with gzip.open(path / 'cifar-10-python.tar.gz', 'wb') as stream:
    stream.write(bytes(2**21))


def _lines(path):
  (path / 'usps.h5').unlink()
  for name in ('usps.bz2', 'usps.t.bz2'):
    (path / name).write_bytes(bz2.compress(b'1\n' * 70_000))


@pytest.mark.parametrize(
  ('name', 'write', 'said'),
  [
    ('svhn', _mat, 'more than .* bytes, unpacked'),
    ('svhn', _cells, 'its y, cell, does not label'),
    ('usps', _h5(_h5_chunk), 'a chunk of its train/data has more than 2560'),
    ('usps', _h5(_h5_outside), 'no array that it holds itself'),
    ('usps', _h5(_h5_link), 'its train is missing, or a link'),
    ('usps', _h5(_h5_many), r'has more than \d+ bytes'),
    ('usps', _h5(_h5_texts), r'holds \|S9, no numbers'),
    ('usps', _lines, 'it has 70000 lines'),
    ('cifar10', _archive, 'more than .* bytes'),
  ],
  ids=range(9),
)
def test_sizes_are_known_before_memory_is_taken(
  tmp_path, monkeypatch, name, write, said
):
  monkeypatch.setattr(_raw, '_MOST_BYTES', 2**20)
  write_svhn(tmp_path)
  _write_usps_h5(tmp_path / 'usps.h5', np.zeros((10, 256)))
  write_cifar(tmp_path, 'cifar10')
  write(tmp_path)
  with pytest.raises(ValueError, match=f'is not readable as .*{said}'):
    data.load(name, tmp_path)


def _write_usps_libsvm(path, pixels):
  lines = []
  for label, image in zip(cycle(len(pixels)), pixels, strict=True):
    values = image.ravel() / 255 * 2 - 1
    entries = ' '.join(f'{i + 1}:{v:.6f}' for i, v in enumerate(values))
    lines.append(f'{label + 1} {entries}')
  path.write_bytes(bz2.compress('\n'.join(lines).encode()))


def test_usps_is_read_from_libsvm(tmp_path):
  pixels = random_images(10, 16, 16)
  _write_usps_libsvm(tmp_path / 'usps.bz2', pixels)
  _write_usps_libsvm(tmp_path / 'usps.t.bz2', pixels[::-1])
  dataset = data.load('usps', tmp_path)
  np.testing.assert_array_equal(dataset.images[..., 0], pixels)
  np.testing.assert_array_equal(dataset.test_images[..., 0], pixels[::-1])
  np.testing.assert_array_equal(dataset.labels, cycle(10))
  path = tmp_path / 'usps.t.bz2'
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match=r'usps\.t\.bz2 is not .*libsvm'):
    data.load('usps', tmp_path)


def test_usps_without_files_names_both_forms(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'usps\.h5 .*usps\.bz2'):
    data.load('usps', tmp_path)


_GOOD = {
  'images': random_images(20, 4, 4, 3),
  'labels': cycle(20, 4),
  'test_images': random_images(4, 4, 4, 3),
  'test_labels': cycle(4, 4),
}


# npz.


def test_npz_is_read_by_either_naming(tmp_path):
  np.savez(tmp_path / 'own.npz', **_GOOD, class_names=list('wxyz'))
  dataset = data.load('npz', tmp_path)
  assert dataset.name == 'own'
  assert dataset.class_names == tuple('wxyz')
  np.testing.assert_array_equal(dataset.images, _GOOD['images'])
  np.savez(
    tmp_path / 'keras.npz',
    x_train=_GOOD['images'],
    y_train=_GOOD['labels'][:, None],
  )
  dataset = data.load('npz', tmp_path / 'keras.npz', test_fraction=0.4)
  assert (len(dataset.images), len(dataset.test_images)) == (12, 8)
  with pytest.raises(ValueError, match=r'keras\.npz.*own\.npz'):
    data.load('npz', tmp_path)


def test_bad_npz_is_named(tmp_path):
  path = tmp_path / 'bad.npz'
  np.savez(path, images=_GOOD['images'])
  with pytest.raises(ValueError, match=r"bad\.npz lacks \['labels'\]"):
    data.load('npz', path)
  np.savez(path, images=_GOOD['images'], labels=np.array([{}] * 20))
  with pytest.raises(ValueError, match=r'bad\.npz is no .*pickled objects'):
    data.load('npz', path)
  path.write_bytes(path.read_bytes()[:300])
  with pytest.raises(ValueError, match=r'bad\.npz is no .*npz'):
    data.load('npz', path)
  path.unlink()
  with pytest.raises(FileNotFoundError, match=r'no \.npz file'):
    data.load('npz', tmp_path)
