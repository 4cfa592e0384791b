"""One file of every kind that dcjax reads, and what is read from it."""

import bz2
import functools
import importlib.util
import json
import pathlib
import tarfile
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import published
import runner
from flax.traverse_util import flatten_dict
from PIL import Image

from dcjax import (
  artefact,
  data,
  formations,
  labelling,
  networks,
  records,
  trees,
)
from dcjax.runs import _checkpoint, _stage
from dcjax.runs._folder import Folder, Stop
from dcjax.runs._outlook import Outlook

_SPEC = {'name': 'convnet', 'depth': 1, 'width': 4, 'norm': 'batch'}
_SHAPE, _CLASSES = (4, 4, 3), 2
_STATS = {'mean': (0.5,), 'std': (0.25,)}


class Kind(NamedTuple):
  """A kind of file.

  Attributes:
    name: for messages.
    path: of a whole file, which is damaged in place.
    read: () -> arrays and values by name.
    checked: whether its bytes have checksums: damaged ones are refused, or
      read as they were.
    sealed: whether a digest covers the contents, so that remade checksums do
      not help.
    words: that an error may name instead of the file.
  """

  name: str
  path: pathlib.Path
  read: Callable[[], dict[str, Any]]
  checked: bool = False
  sealed: bool = False
  words: tuple[str, ...] = ()


def _dataset(name, root, **options):
  def read():
    found = data.load(name, root, **options)
    return {
      'images': found.images,
      'labels': found.labels,
      'test_images': found.test_images,
      'test_labels': found.test_labels,
      'classes': np.array(found.class_names),
    }

  return read


# Whether two files belong together is said in terms of the arrays.
_SET = ('images', 'labels', 'class')


def kinds(root: pathlib.Path) -> list[Kind]:
  """Writes a whole file of every kind below a folder."""
  found = [*_own(root / 'own'), *_run(root / 'run')]
  found += [*_published(root), *_folders(root), *_arrays(root / 'arrays')]
  found += _weights(root / 'weights')
  return found


def _artefact(**changes):
  images = np.random.default_rng(0).random((2, 3, 8, 8, 1), np.float32)
  fields = {
    'params': {'images': images},
    'spec': {'name': 'uniform', 'factor': 2},
    'mean': (0.5,),
    'std': (0.25,),
    'class_names': ('cat', 'dog'),
    'protocol': {'network': 'convnet', 'epochs': 1000},
    'provenance': {'method': 'dm', 'seed': 0, 'config': {'ipc': 3}},
  }
  return artefact.Artefact(**fields | changes)


def _decoded(condensed):
  images, labels = condensed.numpy(normalised=True)
  stored = flatten_dict(dict(condensed.params), sep='/')
  return {'images': images, 'labels': labels, **stored}


def _own(root):
  """Files in forms of our own."""
  root.mkdir(parents=True)
  path = root / 'condensed.npz'
  artefact.save(path, _artefact())

  def read():
    return _decoded(artefact.load(path))

  yield Kind('artefact', path, read, True)
  yield from _packed(root)
  soft = root / 'soft.npz'
  labels = np.full((2, 3, 2), 0.5, np.float32)
  artefact.save(soft, _artefact(labels=labels, spec={'name': 'identity'}))
  yield Kind('artefact of another', soft, lambda: _decoded(_any(soft)), True)
  tree = root / 'tree.npz'
  arrays = {'params': {'w': np.arange(12.0).reshape(3, 4), 'n': np.arange(3)}}
  trees.save(tree, arrays, {'epochs': 3})
  yield Kind('tree', tree, lambda: trees.load(tree), True, True)
  yield Kind('tree, given', tree, lambda: _like(tree, arrays), True, True)
  stored = root / 'labels.npz'
  labelling.save_labels(stored, _labels())
  yield Kind(
    'stored labels',
    stored,
    lambda: labelling.load_labels(stored)._asdict(),
    True,
    True,
  )
  record = root / 'results.json'
  records.write(record, {'accuracy': 0.9, 'of': [1, {'name': 'x', 'n': None}]})
  yield Kind('record', record, lambda: _record(records.read(record)))


def _packed(root):
  """Artefacts that hold no images as such."""
  images = np.random.default_rng(1).random((2, 3, 8, 8, 1), np.float32)
  basis = {'count': 2, 'size': 4, 'image_shape': [8, 8, 1]}
  for spec in (
    {'name': 'quantised', 'bits': 3, 'inner': 'uniform', 'factor': 2},
    {'name': 'basis', **basis},
    {'name': 'quantised', 'bits': 3, 'inner': 'basis', **basis},
  ):
    formation = formations.build(spec)
    params = formation.init(jax.random.key(0), images)
    kept = formations.as_stored(formation, params)
    spec = formations.stored_spec(formation, params)
    name = f'{spec["name"]} {spec.get("inner", "")}'.strip()
    path = root / f'{name}.npz'
    artefact.save(path, _artefact(params=jax.device_get(kept), spec=spec))
    read = functools.partial(lambda p: _decoded(artefact.load(p)), path)
    yield Kind(f'artefact {name}', path, read, True)


def _any(path):
  return artefact.load_any(path, class_names=('cat', 'dog'), **_STATS)


def _like(path, arrays):
  found = trees.load(path, arrays)['params']
  return {f'params/{name}': array for name, array in found.items()}


def _labels():
  rng = np.random.default_rng(0)
  return labelling.StoredLabels(
    rng.integers(4, size=(3, 4)).astype(np.int32),
    np.ones((3, 4), np.uint8),
    rng.integers(8, size=(3, 4, 4)).astype(np.uint16),
    rng.random((3, 4)) < 0.5,
    rng.integers(4, size=(3, 4)).astype(np.int32),
    rng.integers(8, size=(3, 4)).astype(np.uint16),
    rng.normal(size=(3, 4, 2)).astype(np.float16),
  )


def _record(value):
  """What could be read can be written, so it is JSON."""
  return {'text': records.encode(value, 'record')}


def _run(root):
  """Files of a run's folder."""
  root.mkdir()
  config = {'seed': 0, 'method': {'name': 'dm', 'rate': 0.1}}
  stages = [
    _stage.Stage('data', lambda: {'digest': 'x'}, kind=_stage.RECORD),
    _stage.Stage('start', lambda: {'w': np.ones(3)}, kind=_stage.tree()),
    _stage.Stage('condense', _artefact, kind=_stage.ARTEFACT),
  ]

  def read():
    folder = Folder(root, config)
    folder.results()
    made = _stage.run(stages, _stage.Work(folder, Stop(), Outlook()))
    return {**made('data'), **made('start'), **_decoded(made('condense'))}

  records.write(root / 'config.json', config)
  read()
  folder = Folder(root, config)
  folder.finish({'accuracy': 0.5})
  folder.append_metrics({'outer': 1, 'loss': 0.5})
  for name in ('stages.json', 'config.json', 'results.json'):
    sealed = name == 'stages.json'  # or made again
    yield Kind(name, root / name, read, False, sealed, words=('workdir',))
  yield Kind(
    'metrics', root / 'metrics.jsonl', lambda: _record(folder.metrics())
  )
  for path in (root / 'condensed.npz', *sorted(root.glob('stages/*'))):
    sealed = path.parent != root
    yield Kind(path.name, path, read, True, sealed)
  yield from _checkpoint_files(root.with_name('checkpoints'))


def _checkpoint_files(root):
  state = {'w': np.arange(200.0).astype(np.float32), 'n': np.arange(3)}
  kept = _checkpoint.Checkpoints(root)
  kept.save(1, state, {'outer': 1})
  kept.close()

  def read():
    again = _checkpoint.Checkpoints(root)
    try:
      found, progress = again.restore(1, state)
      return {**jax.device_get(found), 'outer': progress['outer']}
    finally:
      again.close()

  for path in sorted(root.rglob('*')):
    if path.is_file() and path.stat().st_size:
      name = f'checkpoint {path.relative_to(root)}'
      yield Kind(name, path, read, True, True, words=('checkpoint',))


def _published(root):
  """Sets as they are published."""
  published.write_idx_set(root / 'idx')
  published.write_idx_set(root / 'gz', compress=True)
  for part in ('images-idx3', 'labels-idx1'):
    for where, end in (('idx', ''), ('gz', '.gz')):
      path = root / where / f'train-{part}-ubyte{end}'
      read = _dataset('mnist', root / where)
      yield Kind(f'{part}{end}', path, read, bool(end), words=_SET)
  published.write_cifar(root / 'cifar', 'cifar10')
  read = _dataset('cifar10', root / 'cifar')
  yield Kind('CIFAR batch', root / 'cifar/data_batch_2', read, words=_SET)
  for protocol in (0, 4):
    where = root / f'cifar{protocol}'
    published.write_cifar(where, 'cifar10', protocol)
    read = _dataset('cifar10', where)
    name = f'CIFAR batch {protocol}'
    yield Kind(name, where / 'test_batch', read, words=_SET)
  for mode in ('w:gz', 'w'):
    archive = root / f'tar{mode[1:]}/cifar-10-python.tar.gz'
    archive.parent.mkdir()
    with tarfile.open(archive, mode) as tar:
      tar.add(root / 'cifar', 'cifar-10-batches-py')
    read = _dataset('cifar10', archive.parent)
    yield Kind(f'CIFAR tar{mode[1:]}', archive, read, words=_SET)
  published.write_svhn(root / 'svhn')
  for part in ('train', 'test'):
    path = root / f'svhn/{part}_32x32.mat'
    read = _dataset('svhn', root / 'svhn')
    yield Kind(f'mat {part}', path, read, words=_SET)
  yield from _usps(root / 'usps')
  yield from _tfds(root / 'tfds')


def _usps(root):
  root.mkdir()
  rng = np.random.default_rng(0)
  for name in ('usps', 'usps.t'):
    lines = [
      f'{1 + n % 10} '
      + ' '.join(f'{i}:{v:.3f}' for i, v in enumerate(row, start=1))
      for n, row in enumerate(rng.uniform(-1, 1, (20, 256)))
    ]
    (root / name).write_text('\n'.join(lines) + '\n')
  yield Kind('libsvm', root / 'usps', _dataset('usps', root), words=_SET)
  packed = root / 'packed/usps.bz2'
  packed.parent.mkdir()
  for name in ('usps', 'usps.t'):
    content = bz2.compress((root / name).read_bytes())
    packed.with_name(f'{name}.bz2').write_bytes(content)
  read = _dataset('usps', packed.parent)
  yield Kind('libsvm.bz2', packed, read, words=_SET)
  h5py = importlib.util.find_spec('h5py') and importlib.import_module('h5py')
  if not h5py:
    return
  for packed in (None, 'gzip'):
    path = root / f'h5{packed}/usps.h5'
    path.parent.mkdir()
    with h5py.File(path, 'w') as file:
      for part in ('train', 'test'):
        values = rng.random((20, 256), np.float32)
        file.create_dataset(f'{part}/data', data=values, compression=packed)
        file[f'{part}/target'] = published.cycle(20)
    read = _dataset('usps', path.parent)
    yield Kind(f'HDF5 {packed}', path, read, words=_SET)


def _tfds(root):
  """A set of records, what is said about it, and a window of it."""
  if not importlib.util.find_spec('tensorflow_datasets'):
    return
  published.write_tfds(root)
  whole = _dataset('tfds:dcjax_shapes', root, size=4)
  for path in sorted(root.rglob('*')):
    if path.is_file() and '-test.' not in path.name:
      name = f'TFDS {path.name.partition("-00000")[0]}'
      yield Kind(name, path, whole, words=(*_SET, str(root)))
  (path,) = root.rglob('*-train.array_record*')

  def read():
    found = data.load('tfds:dcjax_shapes', root, size=4, window=2)
    try:
      return {'images': found.stream.window(1), 'labels': found.stream.labels}
    finally:
      found.stream.close()

  yield Kind('TFDS in windows', path, read, words=(*_SET, str(root)))


def _folders(root):
  """Pictures and sounds in folders of classes."""
  pixels = published.random_images(12, 8, 8, 3)
  for end in ('png', 'jpg', 'gif', 'bmp', 'tiff', 'webp', 'ppm'):
    where = root / end
    for n, image in enumerate(pixels):
      path = where / 'ab'[n % 2] / f'{n}.{end}'
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(image).save(path)
    read = _dataset('image_folder', where)
    yield Kind(end, where / f'a/2.{end}', read, words=_SET)
  windows = root / 'png'

  def read_windows():
    found = data.load('image_folder', windows, window=2)
    try:
      return {'images': found.stream.window(1), 'labels': found.stream.labels}
    finally:
      found.stream.close()

  yield Kind('png in windows', windows / 'a/2.png', read_windows, words=_SET)
  tiny = root / 'annotated'
  for n, image in enumerate(pixels):
    name = f'train/{"ab"[n % 2]}/{n}.png' if n < 6 else f'val/images/{n}.png'
    (tiny / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(tiny / name)
  path = tiny / 'val/val_annotations.txt'
  lines = [f'{n}.png\t{"ab"[n % 2]}\t0\t0\n' for n in range(6, 12)]
  path.write_text(''.join(lines))
  read = _dataset('image_folder', tiny)
  yield Kind('annotations', path, read, words=_SET)
  published.write_words(root / 'wav', ('yes', 'no'), count=3)
  path = root / 'wav/yes/01.wav'
  yield Kind('wav', path, lambda: {'wave': data.read_wav(path)})


def _arrays(root):
  root.mkdir()
  path = runner.write_npz(root / 'own.npz')
  read = _dataset('npz', path)
  yield Kind('npz', path, read, checked=True, words=_SET)
  packed = root / 'packed.npz'
  with np.load(path) as file:
    np.savez_compressed(packed, **file)
  read = _dataset('npz', packed)
  yield Kind('packed npz', packed, read, checked=True, words=_SET)
  foreign = root / 'foreign.npz'
  images = published.random_images(6, 8, 8, 1)
  np.savez(foreign, images=images, labels=np.arange(6) % 2)
  yield Kind(
    'foreign npz', foreign, lambda: _decoded(_any(foreign)), True, words=_SET
  )


def _weights(root):
  root.mkdir()
  network = networks.build(_SPEC, _SHAPE, _CLASSES)
  state = networks.to_torch(
    network.init(jax.random.key(0)), _SPEC, _SHAPE, _CLASSES
  )

  def reader(path):
    def read():
      found = networks.load_torch(path, _SPEC, _SHAPE, _CLASSES)
      return networks.to_torch(found, _SPEC, _SHAPE, _CLASSES)

    return read

  path = root / 'net.safetensors'
  path.write_bytes(_safetensors(state))
  yield Kind('safetensors', path, reader(path), words=('state dict',))
  if importlib.util.find_spec('torch') is None:
    return
  import torch

  tensors = {n: torch.from_numpy(a.copy()) for n, a in state.items()}
  for name, new in (('net.pth', True), ('old.pth', False)):
    path = root / name
    torch.save(tensors, path, _use_new_zipfile_serialization=new)
    yield Kind(name, path, reader(path), words=('state dict',))
  idc = root / 'data.pt'
  artefact.export_idc(idc, _artefact(spec={'name': 'identity'}))
  yield Kind('data.pt', idc, lambda: _decoded(_any(idc)))


def _safetensors(state):
  header, content = {'__metadata__': {'format': 'pt'}}, b''
  for name, array in state.items():
    raw = np.ascontiguousarray(array, np.float32).tobytes()
    header[name] = {
      'dtype': 'F32',
      'shape': list(array.shape),
      'data_offsets': [len(content), len(content) + len(raw)],
    }
    content += raw
  text = json.dumps(header).encode()
  return len(text).to_bytes(8, 'little') + text + content
