"""Artefacts: round trip, damaged files, atomic writing, views, data.pt."""

import dataclasses
import errno
import hashlib
import importlib.util
import io
import json
import os
import pathlib
import pickletools
import re
import shutil
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
import yaml
from PIL import Image

from dcjax import artefact as artefacts, data, formations, whitening

CLASSES = ('cat', 'dog')
SPECS = {
  'identity': {'name': 'identity'},
  'uniform': {'name': 'uniform', 'factor': 2},
  'odd': {'name': 'uniform', 'factor': 3, 'padding': 0.25},
  'multiscale': {'name': 'multiscale', 'factor': 2},
  'bound': {'name': 'bound', 'factor': 2, 'cap': 6},
  'time_axis': {'name': 'time_axis', 'factor': 2},
}


def stored_images(shape=(2, 3, 7, 8, 3), seed=0):
  return np.random.default_rng(seed).random(shape, np.float32)


def make(spec='identity', **changes):
  fields = {
    'params': {'images': stored_images()},
    'spec': SPECS[spec] if isinstance(spec, str) else spec,
    'mean': (0.5, 0.4, 0.3),
    'std': (0.2, 0.3, 0.4),
    'class_names': CLASSES,
    'protocol': {'network': 'convnet', 'epochs': 1000},
    'provenance': {'method': 'dm', 'seed': 0, 'config': {'ipc': 3}},
  }
  return artefacts.Artefact(**fields | changes)


def make_tiny(**changes):
  images = {'images': stored_images((2, 1, 2, 2, 1))}
  return make(**{'params': images, 'mean': (0.5,), 'std': (1.0,)} | changes)


def fit_tiny(**options):
  """The whitening of images of `make_tiny`'s size."""
  images = np.random.default_rng(3).random((9, 2, 2, 1), np.float32)
  return whitening.fit(images, **options)


def assert_equal(left, right):
  for field in dataclasses.fields(artefacts.Artefact):
    a, b = getattr(left, field.name), getattr(right, field.name)
    if field.name in ('params', 'labels', 'zca'):
      jax.tree.map(np.testing.assert_array_equal, a, b)
      types = [jax.tree.map(lambda x: x.dtype.name, tree) for tree in (a, b)]
      assert types[0] == types[1]
    else:
      assert a == b, field.name


@pytest.fixture
def path(tmp_path):
  return tmp_path / 'condensed.npz'


@pytest.mark.parametrize('name', SPECS)
def test_round_trip(path, name):
  labels = np.full((2, 3, 2), 0.5) if name == 'identity' else None
  decoder = {'conv': {'kernel': np.arange(4, dtype=np.int32)}}
  artefact = make(
    name,
    params={'images': stored_images(), 'decoder': decoder},
    labels=labels,
    value_range=(-1.5, None),
    label_regime='one soft label per image',
  )
  artefacts.save(path, artefact)
  assert_equal(artefacts.load(path), artefact)
  assert os.listdir(path.parent) == [path.name]


def test_jax_arrays_and_tuples_become_plain_values(path):
  artefact = make(
    params={'images': jax.numpy.asarray(stored_images())},
    spec={'name': 'identity', 'value_range': (0.0, None)},
    provenance={'accuracy': np.float32(0.5), 'ipc': np.int64(3), 'nan': np.nan},
  )
  assert artefact.spec['value_range'] == [0.0, None]
  assert artefact.provenance == {'accuracy': 0.5, 'ipc': 3, 'nan': None}
  artefacts.save(path, artefact)
  assert_equal(artefacts.load(path), artefact)


def test_equal_content_gives_equal_bytes(path, tmp_path):
  artefact = make('uniform')
  artefacts.save(path, artefact)
  other = tmp_path / 'other.npz'
  reordered = dict(reversed(artefact.provenance.items()))
  column_major = {'images': np.asfortranarray(stored_images())}
  artefacts.save(
    other, make('uniform', provenance=reordered, params=column_major)
  )
  assert other.read_bytes() == path.read_bytes()
  artefacts.save(other, artefacts.load(path))
  assert other.read_bytes() == path.read_bytes()


def test_whitening_travels_with_the_images(path, tmp_path):
  zca = fit_tiny()
  artefact = make_tiny(zca=zca)
  artefacts.save(path, artefact)
  loaded = artefacts.load(path)
  assert_equal(loaded, artefact)
  assert type(loaded.zca) is whitening.Zca
  with np.load(path) as file:
    names = {'zca/mean', 'zca/vectors', 'zca/values'}
    assert names < set(file.files)
    assert {file[name].dtype.name for name in names} == {'float32'}
  other = tmp_path / 'other.npz'
  artefacts.save(other, make_tiny(zca=jax.tree.map(jax.numpy.asarray, zca)))
  assert other.read_bytes() == path.read_bytes()


def test_files_of_plain_images_do_not_know_of_whitening(path):
  artefacts.save(path, make())
  content = path.read_bytes()
  assert b'zca' not in content.lower() and b'whiten' not in content
  assert artefacts.load(path).zca is None


def test_damaged_whitening_is_refused(path):
  for change, reason in (
    ({'zca__mean': None}, 'missing'),
    ({'zca__extra': np.zeros(1, np.float32)}, 'extra'),
    ({'zca__values': np.zeros(4, np.float32)}, 'positive'),
    ({'zca__mean': np.full(4, np.nan, np.float32)}, 'NaN'),
  ):
    artefacts.save(path, make_tiny(zca=fit_tiny()))
    rewrite(path, **change)
    with pytest.raises(artefacts.ArtefactError, match=reason):
      artefacts.load(path)
  declared = read_meta(path)['arrays']
  artefacts.save(path, make_tiny(zca=fit_tiny()))
  del declared['zca/mean']
  rewrite(path, {'arrays': declared}, zca__mean=None)
  with pytest.raises(artefacts.ArtefactError, match='mean, vectors, values'):
    artefacts.load(path)


def load_or_error(path, content, expected):
  """Loads damaged content: one exception type, or nothing was damaged."""
  path.write_bytes(content)
  try:
    artefact = artefacts.load(path)
  except artefacts.ArtefactError as error:
    assert str(path) in str(error)
    return True
  assert_equal(artefact, expected)
  return False


def test_every_truncation_is_refused(path):
  artefact = make_tiny()
  artefacts.save(path, artefact)
  content = path.read_bytes()
  cuts = range(len(content))
  assert all(load_or_error(path, content[:cut], artefact) for cut in cuts)


@pytest.mark.parametrize(('whitened', 'step'), [(False, 1), (True, 7)])
def test_bit_flips_are_refused_or_harmless(path, whitened, step):
  artefact = make_tiny(zca=fit_tiny() if whitened else None)
  artefacts.save(path, artefact)
  content = path.read_bytes()
  generator = np.random.default_rng(0)
  refused = 0
  places = range(0, len(content), step)
  for place in places:
    damaged = bytearray(content)
    damaged[place] ^= 1 << int(generator.integers(8))
    refused += load_or_error(path, bytes(damaged), artefact)
  assert refused > 0.8 * len(places)


def rewrite(path, meta=None, keep=(), compress=False, **arrays):
  """Changes entries of a saved artefact with NumPy; None removes one."""
  with np.load(path) as file:
    entries = dict(file)
  text = json.loads(entries['meta'].tobytes()) | (meta or {})
  text = {key: value for key, value in text.items() if value is not ...}
  entries['meta'] = np.frombuffer(json.dumps(text).encode(), np.uint8)
  entries |= {name.replace('__', '/'): array for name, array in arrays.items()}
  entries = {name: a for name, a in entries.items() if a is not None}
  (np.savez_compressed if compress else np.savez)(path, **entries)


@pytest.mark.parametrize(
  ('change', 'reason'),
  [
    ({'meta': {'version': 2}}, 'version 2'),
    ({'meta': {'format': 'other'}}, 'format'),
    ({'meta': {'spec': ...}}, 'lacks spec'),
    ({'meta': {'arrays': []}}, 'arrays'),
    ({'meta': {'std': [0.1, 0.1]}}, 'std'),
    ({'meta': {'std': [0.1, 0.1, 0]}}, 'positive'),
    ({'meta': {'mean': [float('nan'), 0, 0]}}, 'NaN'),
    ({'meta': {'class_names': ['cat']}}, 'class'),
    ({'meta': {'class_names': 7}}, 'class_names'),
    ({'meta': {'value_range': [0, 'x']}}, 'value_range'),
    ({'params__images': None}, 'missing'),
    ({'labels': np.zeros((2, 3, 2), np.float32)}, 'extra'),
    ({'params__images': stored_images((2, 3, 7, 8, 1))}, 'declares'),
    ({'params__images': stored_images().astype(np.float64)}, 'declares'),
    ({'params__images': np.asfortranarray(stored_images())}, 'column'),
    ({'params__images': stored_images() * np.float32('nan')}, 'NaN'),
    ({'compress': True}, 'compressed'),
  ],
)
def test_changed_files_are_refused(path, change, reason):
  artefacts.save(path, make())
  rewrite(path, **change)
  with pytest.raises(artefacts.ArtefactError, match=reason):
    artefacts.load(path)


def test_rewriting_alone_does_no_harm(path):
  artefacts.save(path, make())
  rewrite(path)
  assert_equal(artefacts.load(path), make())


@pytest.mark.parametrize('text', [b'{', b'\xff\xfe', b'[]', b'[' * 100_000])
def test_meta_that_is_not_our_json_is_refused(path, text):
  np.savez(path, meta=np.frombuffer(text, np.uint8))
  with pytest.raises(artefacts.ArtefactError, match=r'condensed\.npz'):
    artefacts.load(path)


@pytest.mark.parametrize('content', [b'', b'PK', b'no zip at all', b'\0' * 99])
def test_files_that_are_no_zip_are_refused(path, content):
  path.write_bytes(content)
  with pytest.raises(artefacts.ArtefactError, match='zip'):
    artefacts.load(path)


class Attack:
  """Creates a file when unpickled."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return os.mkdir, (self.path,)


@pytest.mark.parametrize('entry', ['meta', 'params__images'])
def test_pickled_objects_are_never_read(path, tmp_path, entry):
  artefacts.save(path, make())
  with np.load(path) as file:
    entries = dict(file)
  attack = np.array([Attack(tmp_path / 'owned')], dtype=object)
  np.savez(path, **entries | {entry.replace('__', '/'): attack})
  with pytest.raises(artefacts.ArtefactError, match='objects'):
    artefacts.load(path)
  assert not (tmp_path / 'owned').exists()


def write_header(path, shape, payload=b'\0' * 64, compress=zipfile.ZIP_STORED):
  header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
  header = header.encode() + b'\n'
  magic = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little')
  with zipfile.ZipFile(path, 'w', compress) as archive:
    archive.writestr('meta.npy', magic + header + payload)


@pytest.mark.parametrize(
  'shape', ['(1099511627776,)', '(4, 4611686018427387904)', '(-1,)', '(-8, -8)']
)
def test_declared_shapes_are_checked_before_memory_is_taken(path, shape):
  write_header(path, shape)
  with pytest.raises(artefacts.ArtefactError, match='declares'):
    artefacts.load(path)


def test_compressed_bombs_and_large_files_are_refused(path):
  size = 10**7
  write_header(path, f'({size},)', b'\0' * size, zipfile.ZIP_DEFLATED)
  assert path.stat().st_size < 10**5
  with pytest.raises(artefacts.ArtefactError, match='compressed'):
    artefacts.load(path)
  with pytest.raises(artefacts.ArtefactError, match='limit is 10'):
    artefacts.load(path, max_bytes=10)


def test_missing_file_says_so(path):
  with pytest.raises(FileNotFoundError, match=r'condensed\.npz'):
    artefacts.load(path)


@pytest.mark.parametrize('failing', ['fsync', 'write', 'replace', 'interrupt'])
def test_failed_save_leaves_the_earlier_file(path, monkeypatch, failing):
  artefacts.save(path, make())
  before = path.read_bytes()
  full = OSError(errno.ENOSPC, 'No space left on device')

  def fail(*args, **kwargs):
    raise KeyboardInterrupt if failing == 'interrupt' else full

  def write_half(stream, **arrays):
    stream.write(before[: len(before) // 2])
    fail()

  if failing in ('write', 'interrupt'):
    monkeypatch.setattr(np, 'savez', write_half)
  else:
    monkeypatch.setattr(os, failing, fail)
  expected = KeyboardInterrupt if failing == 'interrupt' else OSError
  with pytest.raises(expected) as caught:
    artefacts.save(path, make('uniform'))
  if expected is OSError:
    assert caught.value.errno == errno.ENOSPC
    assert str(path) in str(caught.value)
  assert os.listdir(path.parent) == [path.name]
  assert path.read_bytes() == before


def test_saving_into_a_missing_folder_names_it(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere'):
    artefacts.save(tmp_path / 'nowhere' / 'condensed.npz', make())


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'params': {}}, 'params is empty'),
    ({'params': {'images': [1.0]}}, 'params/images must be an array'),
    ({'params': {'a/b': np.zeros(3)}}, 'a/b'),
    ({'params': {'images': stored_images().astype(float)}}, 'float64'),
    ({'params': {'images': stored_images()[0]}}, r'\[C, N, H, W, D\]'),
    ({'params': {'images': stored_images((3, 1, 2, 2, 3))}}, 'classes'),
    ({'params': {'images': stored_images((2, 1, 2, 2, 1))}}, 'channels'),
    ({'params': {'images': stored_images() * np.float32('inf')}}, 'infinite'),
    ({'labels': np.zeros((2, 3))}, 'labels'),
    ({'labels': np.array([['a']])}, 'labels'),
    ({'mean': 0.5}, 'mean'),
    ({'std': (1.0, 1.0, -1.0)}, 'std'),
    ({'class_names': ('cat', 'cat')}, 'class_names'),
    ({'class_names': 'ab'}, 'class_names'),
    ({'value_range': (1.0, 0.0)}, 'value_range'),
    ({'spec': {'factor': 2}}, 'spec'),
    ({'label_regime': ''}, 'label_regime'),
    ({'provenance': {'device': object()}}, r'provenance\.device'),
    ({'zca': {'mean': 0}}, 'zca must be a Zca'),
    ({'zca': fit_tiny()}, r'zca/mean has 4 values.* \(2, 3, 7, 8, 3\)'),
    ({'zca': fit_tiny()._replace(values=np.ones(3))}, r'zca/values .*\(4,\)'),
    ({'zca': fit_tiny()._replace(vectors=np.eye(4) == 1)}, 'zca/vectors'),
  ],
)
def test_bad_fields_are_named(change, message):
  with pytest.raises(ValueError, match=message):
    make(**change)


@pytest.mark.parametrize('value', [6e24, -1e3, 102.0])
def test_images_that_diverged_are_refused(value):
  images = stored_images()
  images[0, 0, 0, 0, 0] = value
  with pytest.raises(ValueError, match='beyond value_range'):
    make(params={'images': images})
  make(params={'images': images}, value_range=(None, None))


READER = """
import sys
import numpy as np
import decoder
images, labels, meta = decoder.read(sys.argv[1])
images = decoder.normalise(images, meta)
assert not {'jax', 'dcjax'} & set(sys.modules)
np.savez(sys.argv[2], images=images, labels=labels, names=meta['class_names'])
"""
DOCS = pathlib.Path(__file__).resolve().parent.parent / 'docs'


def load_decoder():
  """The published decoder as a module."""
  found = importlib.util.spec_from_file_location('d', DOCS / 'decoder.py')
  module = importlib.util.module_from_spec(found)
  found.loader.exec_module(module)
  return module


def test_the_published_decoder_is_the_one_that_files_and_documents_name(path):
  source = (DOCS / 'decoder.py').read_text()
  assert source == artefacts.decoder_source()
  digest = hashlib.sha256(source.encode()).hexdigest()
  assert digest == artefacts.decoder_sha256()
  page = (DOCS / 'artefact.md').read_text()
  assert digest in page and 'exec(' not in page
  artefacts.save(path, make('uniform'))
  assert read_meta(path)['decoder_sha256'] == digest


@pytest.mark.parametrize('name', ['identity', 'odd'])
def test_numpy_alone_opens_the_file_with_the_published_decoder(
  path, tmp_path, name
):
  artefact = make(name)
  artefacts.save(path, artefact)
  out = tmp_path / 'read.npz'
  shutil.copy(DOCS / 'decoder.py', tmp_path)
  subprocess.run(
    [sys.executable, '-c', READER, path, out], check=True, cwd=tmp_path
  )
  images, labels = artefact.numpy(normalised=True)
  with np.load(out) as read:
    np.testing.assert_allclose(
      read['images'].reshape(images.shape), images, atol=1e-5
    )
    np.testing.assert_array_equal(read['labels'].ravel(), labels)
    assert tuple(read['names']) == CLASSES


@pytest.mark.parametrize('name', SPECS)
def test_the_decoder_equals_the_formation(path, name):
  artefacts.save(path, make(name))
  images, labels, _ = load_decoder().read(path)
  expected, wanted = artefacts.load(path).numpy()
  np.testing.assert_allclose(
    images.reshape(expected.shape), expected, atol=2e-6
  )
  np.testing.assert_array_equal(labels.ravel(), wanted)


def test_the_decoder_runs_nothing_of_a_file_and_refuses_others(path, tmp_path):
  artefacts.save(path, make('uniform'))
  meta = read_meta(path)
  assert not any(
    'code' in key and key != 'how_to_decode'
    for key in set(meta) - {'decoder_sha256', 'decoding'}
  )
  for value in (meta['how_to_decode'], str(meta['decoding'])):
    assert 'import' not in value and 'def ' not in value
  with np.load(path) as file:
    arrays = dict(file)
  meta['format'] = 'other'
  arrays['meta'] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
  np.savez(tmp_path / 'other.npz', **arrays)
  with pytest.raises(ValueError, match='no condensed set'):
    load_decoder().read(tmp_path / 'other.npz')


def read_meta(path):
  with np.load(path) as file:
    return json.loads(file['meta'].tobytes())


def test_recipe_explains_itself(path):
  artefacts.save(path, make(labels=np.full((2, 3, 5), 0.2)))
  meta = read_meta(path)
  assert (meta['format'], meta['version']) == ('dcjax-condensed', 1)
  assert meta['provenance']['method'] == 'dm'
  for part in ('allow_pickle=False', "file['labels'][c, m]", '(images - mean)'):
    assert part in meta['how_to_decode']
  assert 'decoder.read(path)' in meta['how_to_decode']
  artefacts.save(path, make('uniform', value_range=(-2.0, None)))
  meta = read_meta(path)
  assert 'decoding.groups' in meta['how_to_decode']
  assert meta['decoding'] == {'groups': [[2, 2, 0, 3]], 'padding': 0.5}
  assert re.search(r'between -2\.0 and unbounded', meta['how_to_decode'])


@pytest.mark.parametrize('unit', [False, True])
def test_the_decoder_whitens_and_turns_back_like_the_library(path, unit):
  zca, decoder = fit_tiny(unit=unit), load_decoder()
  artefacts.save(path, make_tiny(zca=zca))
  text = read_meta(path)['how_to_decode']
  for part in ('whiten(file, images)', 'unwhiten(file, images)', 'clipped'):
    assert part in text
  images = stored_images((3, 5, 2, 2, 1), seed=4)
  file, _ = decoder.load(path)
  whitened = decoder.whiten(file, images)
  restored = decoder.unwhiten(file, whitened)
  np.testing.assert_allclose(whitened, whitening.apply(zca, images), atol=1e-5)
  expected = whitening.invert(zca, whitened) if unit else images
  np.testing.assert_allclose(restored, expected, atol=1e-5)


@pytest.mark.parametrize('name', SPECS)
def test_views_agree(name):
  artefact = make(name)
  images, labels = artefact.numpy()
  batch, mixed = artefact.batch(), artefact.jax(normalised=True)
  count = formations.decoded_count(artefact.spec, 3)
  assert images.shape == (2 * count, 7, 8, 3)
  assert (images.dtype, labels.dtype) == (np.float32, np.int32)
  np.testing.assert_array_equal(labels, np.repeat([0, 1], count))
  np.testing.assert_allclose(
    batch.images.reshape(images.shape), images, atol=2e-6
  )
  np.testing.assert_array_equal(mixed.labels.argmax(-1), labels)
  np.testing.assert_allclose(
    mixed.images, artefact.numpy(normalised=True)[0], atol=2e-5
  )
  expected = (images - np.array(artefact.mean)) / np.array(artefact.std)
  np.testing.assert_allclose(mixed.images, expected, atol=2e-5)


def test_soft_labels_follow_the_decoded_images():
  labels = np.random.default_rng(0).random((2, 12, 5), np.float32)
  artefact = make('uniform', labels=labels)
  np.testing.assert_array_equal(artefact.batch().labels, labels)
  np.testing.assert_array_equal(artefact.numpy()[1], labels.reshape(24, 5))
  np.testing.assert_array_equal(artefact.jax().labels, labels.reshape(24, 5))


def test_soft_labels_of_the_wrong_length_are_refused():
  with pytest.raises(ValueError, match=r'\(2, 3, 5\), .* decodes 12 images'):
    make('uniform', labels=np.full((2, 3, 5), 0.2))


@pytest.mark.parametrize(
  'change',
  [
    {'factor': -1},
    {'factor': 10**9},
    {'factor': True},
    {'padding': 'x'},
    {'value_range': [1, 0]},
    {'options': 3},
    {'name': 'bound', 'cap': 2},
    {'name': 'multiscale', 'factor': 2.5},
    {'name': 'quantised', 'inner': 'identity', 'bits': 0},
    {'name': 'basis'},
    {'name': 'none of ours'},
    {'step_size': 'x'},
  ],
)
def test_a_spec_that_cannot_decode_is_refused_when_it_is_read(path, change):
  artefacts.save(path, make('uniform'))
  with zipfile.ZipFile(path) as archive:
    entries = {name: archive.read(name) for name in archive.namelist()}
  meta = json.loads(np.load(io.BytesIO(entries['meta.npy'])).tobytes())
  meta['spec'] |= change
  stream = io.BytesIO()
  np.save(stream, np.frombuffer(json.dumps(meta).encode(), np.uint8))
  with zipfile.ZipFile(path, 'w') as archive:
    for name, content in (entries | {'meta.npy': stream.getvalue()}).items():
      archive.writestr(name, content)
  with pytest.raises(
    ValueError, match=r'is not a valid artefact: .*spec'
  ) as no:
    artefacts.load(path)
  assert '\n' not in str(no.value)


def test_learnable_formation_decodes_with_its_network(path):
  formation = formations.learnable(2)
  params = formation.init(jax.random.key(0), stored_images((2, 1, 8, 8, 3)))
  artefacts.save(path, make(params=params, spec=formation.spec))
  artefact = artefacts.load(path)
  images, labels = artefact.numpy()
  expected = formation.decode(params).images
  np.testing.assert_allclose(images, expected.reshape(images.shape), atol=1e-6)
  np.testing.assert_array_equal(labels, [0] * 4 + [1] * 4)
  assert 'dcjax.formations.build' in read_meta(path)['how_to_decode']
  assert artefacts.storage(artefact)['decoder']['numbers'] > 0


def test_storage_counts_numbers_and_bytes(path):
  params = {
    'images': stored_images().astype(np.float16),
    'decoder': {'kernel': np.zeros([3, 4], np.float32)},
  }
  artefact = make(params=params, labels=np.zeros([2, 3, 2]))
  numbers = 2 * 3 * 7 * 8 * 3
  artefacts.save(path, artefact)
  assert artefacts.storage(artefact) == {
    'images': {
      'numbers': numbers,
      'float32_bytes': 4 * numbers,
      'disk_bytes': 2 * numbers,
    },
    'labels': {'numbers': 12, 'float32_bytes': 48, 'disk_bytes': 48},
    'decoder': {'numbers': 12, 'float32_bytes': 48, 'disk_bytes': 48},
    'preprocessing': {'numbers': 0, 'float32_bytes': 0, 'disk_bytes': 0},
    'total': {
      'numbers': numbers + 24,
      'float32_bytes': 4 * numbers + 96,
      'disk_bytes': path.stat().st_size,
    },
  }
  assert artefacts.storage(make())['labels']['numbers'] == 0


def test_storage_counts_the_whitening():
  zca = fit_tiny()  # mean 4, vectors 16, values 4
  plain, whitened = (
    artefacts.storage(make_tiny(**changes)) for changes in ({}, {'zca': zca})
  )
  sizes = {'numbers': 24, 'float32_bytes': 96, 'disk_bytes': 96}
  assert whitened['preprocessing'] == sizes
  assert whitened['images'] == plain['images']
  for unit in ('numbers', 'float32_bytes'):
    assert whitened['total'][unit] == plain['total'][unit] + sizes[unit]
  assert whitened['total']['disk_bytes'] > plain['total']['disk_bytes'] + 96


def test_missing_torch_says_how_to_get_it(path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'torch', None)
  for call in (
    make().torch,
    lambda: artefacts.import_idc(path, SPECS['uniform'], mean=[0], std=[1]),
  ):
    with pytest.raises(ImportError, match='pip install torch'):
      call()


def test_export_idc_refuses_what_the_format_cannot_hold(path):
  artefact = make(labels=np.zeros([2, 3, 2]), label_regime='soft')
  with pytest.raises(ValueError, match="label_regime 'soft'"):
    artefacts.export_idc(path, artefact)
  with pytest.raises(ValueError, match='zca'):
    artefacts.export_idc(path, make_tiny(zca=fit_tiny()))


def test_torch_data_set():
  torch = pytest.importorskip('torch')
  artefact = make('uniform')
  images, labels = artefact.numpy(normalised=True)
  data = artefact.torch(normalised=True, target_transform=lambda t: -t)
  assert (len(data), data.classes) == (24, ['cat', 'dog'])
  assert data.class_to_idx == {'cat': 0, 'dog': 1}
  assert data.targets == labels.tolist()
  image, label = data[23]
  assert (image.dtype, tuple(image.shape)) == (torch.float32, (3, 7, 8))
  assert label == -1
  np.testing.assert_array_equal(image.permute(1, 2, 0), images[23])
  loader = torch.utils.data.DataLoader(artefact.torch(), batch_size=24)
  batch, targets = next(iter(loader))
  np.testing.assert_array_equal(targets, labels)
  assert tuple(batch.shape) == (24, 3, 7, 8)
  soft = make(labels=np.full((2, 3, 5), 0.2)).torch(transform=lambda x: x * 0)
  assert tuple(soft[0][1].shape) == (5,)
  assert not soft[0][0].any()


def test_idc_round_trip(tmp_path):
  torch = pytest.importorskip('torch')
  artefact = make('uniform')
  path = tmp_path / 'data.pt'
  artefacts.export_idc(path, artefact)
  images, labels = torch.load(path, weights_only=True)
  assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
  stored = artefact.params['images']
  np.testing.assert_array_equal(images[4], stored[1, 1].transpose(2, 0, 1))
  assert labels.tolist() == [0, 0, 0, 1, 1, 1]
  read = artefacts.import_idc(
    path, artefact.spec, mean=artefact.mean, std=artefact.std
  )
  np.testing.assert_array_equal(read.params['images'], stored)
  assert read.class_names == ('0', '1')


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (lambda t: {'data': t.zeros(2)}, 'two tensors'),
    (lambda t: [t.zeros(2), t.zeros(2)], 'float images'),
    (lambda t: [t.zeros(2, 3, 4, 4), t.zeros(2)], 'integer label'),
    (lambda t: [t.zeros(2, 3, 4, 4), t.tensor([0, 2])], 'classes'),
    (lambda t: [t.zeros(3, 3, 4, 4), t.tensor([0, 0, 1])], 'equally many'),
  ],
)
def test_import_idc_refuses_other_files(tmp_path, content, message):
  torch = pytest.importorskip('torch')
  path = tmp_path / 'data.pt'
  torch.save(content(torch), path)
  with pytest.raises(ValueError, match=message):
    artefacts.import_idc(path, SPECS['uniform'], mean=[0] * 3, std=[1] * 3)


def test_an_artefact_is_one_line_of_text_and_a_gallery(path):
  artefact = make('uniform', provenance={'method': 'idc', 'dataset': '<pets>'})
  text = repr(artefact)
  assert '\n' not in text
  for part in ('idc on <pets>', '2 classes x 3', '7x8x3', 'factor=2', '4.0 kB'):
    assert part in text, part
  page = artefact._repr_html_()
  assert page.count('<img') == 6
  assert '&lt;pets&gt;' in page and '<pets>' not in page
  assert 'epochs 1000' in page and '%' not in page
  whitened = make_tiny(zca=fit_tiny())._repr_html_()
  assert 'whitening undone' in whitened


def test_accuracies_are_those_of_the_run_that_wrote_this_very_file(path):
  artefacts.save(path, make())
  assert artefacts.load(path).results is None
  entry = {'last_mean': 0.5, 'last_std': 0.01, 'network': 'mlp', 'images': 6}
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  beside = path.with_name('results.json')
  beside.write_text(
    json.dumps({'sha256': digest, 'evaluations': {'condensed': entry}})
  )
  found = artefacts.load(path)
  assert found.results['evaluations']['condensed'] == entry
  assert '50.0 ± 1.0 %' in found._repr_html_()
  assert dataclasses.replace(found).results is None
  for text in ('{', '[]', json.dumps({'sha256': digest, 'own': {'x': 3}})):
    beside.write_text(text)
    assert artefacts.load(path).results is None
  beside.write_text(json.dumps({'sha256': 'another'}))
  assert artefacts.load(path).results is None


def test_eight_bits_are_a_quarter_of_the_bytes(path):
  artefact = make('uniform', params={'images': stored_images((2, 9, 8, 8, 3))})
  small = artefacts.in_eight_bits(artefact)
  artefacts.save(path, small)
  (images, labels), (rounded, same) = (
    a.numpy() for a in (artefact, artefacts.load(path))
  )
  np.testing.assert_allclose(rounded, images, atol=0.6 / 255)
  np.testing.assert_array_equal(labels, same)
  stored = [artefacts.storage(a)['images'] for a in (artefact, small)]
  assert stored[0]['disk_bytes'] == 4 * stored[1]['disk_bytes']
  with pytest.raises(ValueError, match='quantised'):
    artefacts.in_eight_bits(small)


def test_pictures_and_the_card_of_the_hub(path, tmp_path):
  soft = np.full((2, 3, 5), 0.2, np.float32)
  artefacts.save(path, make(class_names=('a cat', '狗/x'), labels=soft))
  artefact = artefacts.load(path)
  folder = artefacts.export_hub(tmp_path / 'hub', artefact)
  read = data.load_image_folder(folder / 'train', test_fraction=0.4)
  assert read.class_names == ('0000_a-cat', '0001_狗-x')
  lines = (folder / 'train/metadata.jsonl').read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  assert [row['label'] for row in rows] == [0, 0, 0, 1, 1, 1]
  assert rows[0]['soft_label'] == pytest.approx([0.2] * 5)
  with Image.open(folder / 'train' / rows[4]['file_name']) as picture:
    wanted = np.round(255 * artefact.params['images'][1, 1])
    np.testing.assert_array_equal(np.asarray(picture), wanted)
  card = (folder / 'README.md').read_text(encoding='utf-8')
  header = yaml.safe_load(card.split('---')[1])
  assert header['configs'][0]['data_files'][0]['split'] == 'train'
  label = header['dataset_info']['features'][1]['dtype']
  assert label['class_label']['names'] == {'0': 'a cat', '1': '狗/x'}
  for part in ('condensed by dm', 'Not measured', '"epochs": 1000'):
    assert part in card, part
  assert (folder / 'condensed.npz').read_bytes() == path.read_bytes()
  with pytest.raises(ValueError, match='must be new or empty'):
    artefacts.export_hub(folder, artefact)
  for change, message in (
    ({'zca': fit_tiny()}, '^zca: '),
    ({'provenance': {'spectrogram': {'rate': 1}}}, '^spectrogram: '),
  ):
    with pytest.raises(ValueError, match=message):
      artefacts.export_images(tmp_path / 'none', make_tiny(**change))
  with pytest.raises(ValueError, match='2 channels'):
    images = {'images': stored_images((2, 1, 2, 2, 2))}
    artefacts.export_images(
      tmp_path / 'none', make_tiny(params=images, mean=(0, 0), std=(1, 1))
    )
  assert not (tmp_path / 'none').exists()


_NONNEGATIVE = np.float32([[[0, 0.5]] * 2 + [[0, 0]], [[3, 1]] * 3])


def _with_labels(form, labels):
  spec = {'name': 'identity', 'labels': form}
  return make(spec=spec, labels=labels, label_regime='one soft label per image')


def test_labels_that_are_not_normalised_are_said_and_kept(path):
  artefact = _with_labels('nonnegative', _NONNEGATIVE)
  artefacts.save(path, artefact)
  loaded = artefacts.load(path)
  assert_equal(loaded, artefact)
  meta = read_meta(path)
  assert meta['spec']['labels'] == 'nonnegative'
  assert '-sum(labels * log(p))' in meta['how_to_decode']
  np.testing.assert_array_equal(load_decoder().read(path)[1], _NONNEGATIVE)
  flat = _NONNEGATIVE.reshape(6, 2)
  shares = [[0, 1]] * 2 + [[0.5, 0.5]] + [[0.75, 0.25]] * 3
  for view in (loaded.numpy, loaded.jax):
    # As they are, and silently: what evaluations train with.
    np.testing.assert_array_equal(view()[1], flat)
    np.testing.assert_allclose(view(label_form='probabilities')[1], shares)
    # As `dcjax.kernels` and squared error centre them.
    np.testing.assert_allclose(view(label_form='centred')[1], flat - 0.5)
  np.testing.assert_array_equal(loaded.batch().labels, _NONNEGATIVE)
  plain = artefacts.export_plain(artefacts.in_eight_bits(loaded))
  assert plain.spec['labels'] == 'nonnegative'
  np.testing.assert_array_equal(plain.labels, _NONNEGATIVE)
  with pytest.raises(ValueError, match=r"labels are None, .*'nonnegative'"):
    _with_labels('nonnegative', None)


@pytest.mark.parametrize(
  'form, labels',
  [
    ('probabilities', np.float32([[[0.3, 0.7]] * 3, [[1, 0]] * 3])),
    ('nonnegative', _NONNEGATIVE),
    ('centred', np.float32([[[0.5, -0.5]] * 3, [[-2, 0.2]] * 3])),
  ],
)
@pytest.mark.filterwarnings('error')
def test_labels_of_pictures_are_probabilities(tmp_path, form, labels):
  artefact = _with_labels(form, labels)
  folder = artefacts.export_hub(tmp_path / 'hub', artefact)
  lines = (folder / 'train/metadata.jsonl').read_text().splitlines()
  found = np.float32([json.loads(line)['soft_label'] for line in lines])
  wanted = artefact.numpy(label_form='probabilities')[1]
  np.testing.assert_array_equal(found, wanted)
  np.testing.assert_allclose(found.sum(-1), 1)
  kept = artefacts.load(folder / 'condensed.npz')
  np.testing.assert_array_equal(kept.labels, labels)
  card = (folder / 'README.md').read_text(encoding='utf-8')
  assert '`soft_label`, K probabilities' in card
  said = {'centred': 'one-hot minus 1 / K', 'nonnegative': 'not normalised'}
  assert said.get(form, '| labels | one soft label per image |') in card


def test_tensors_are_written_without_pytorch(tmp_path):
  artefact = make('uniform', protocol={'learning_rate': 0.02})
  folder = artefacts.export_ddranking(tmp_path / 'scores', artefact)
  images, labels = artefact.numpy(normalised=True)
  with zipfile.ZipFile(folder / 'images.pt') as archive:
    numbers = np.frombuffer(archive.read('archive/data/0'), '<f4')
    text = archive.read('archive/data.pkl')
  shape = (24, 3, 7, 8)
  np.testing.assert_array_equal(
    numbers.reshape(shape).transpose(0, 2, 3, 1), images
  )
  # What is read without PyTorch, too: the pickle's instructions end well.
  names = [
    arg for op, arg, _ in pickletools.genops(text) if op.name == 'GLOBAL'
  ]
  assert names[0] == 'torch._utils _rebuild_tensor_v2'
  torch = pytest.importorskip('torch')
  found = {
    n: torch.load(folder / f'{n}.pt', weights_only=True)
    for n in ('images', 'labels', 'lr')
  }
  assert tuple(found['images'].shape) == shape
  np.testing.assert_array_equal(found['labels'], labels)
  assert found['lr'].item() == pytest.approx(0.02)
