"""Pytrees and records on disk: as they were, or refused in one sentence."""

import io
import json
import os
import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dcjax
from dcjax import files, records, trees

_TREE = dcjax.Variables(
  {
    'head': {'kernel': np.arange(6, dtype=np.float32).reshape(2, 3)},
    'blocks': [np.arange(3, dtype=np.uint8), np.float16(2.5)],
  },
  {'count': np.int32(7), 'done': np.bool_(True), 'none': np.zeros((0, 4))},
)


def _same(a, b):
  return jax.tree.structure(a) == jax.tree.structure(b) and all(
    x.dtype == y.dtype and np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def _flipped(content, bit):
  damaged = bytearray(content)
  damaged[bit // 8] ^= 1 << bit % 8
  return bytes(damaged)


def test_a_tree_comes_back_as_it_was(tmp_path):
  path = tmp_path / 'tree.npz'
  trees.save(path, _TREE, {'epochs': 60, 'rate': 0.1})
  like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), _TREE)
  assert _same(trees.load(path, like), _TREE)
  assert trees.note(path) == {'epochs': 60, 'rate': 0.1}
  flat = trees.load(path)
  assert flat['params/head/kernel'].shape == (2, 3)
  assert trees.digest(flat) == trees.digest(_TREE)


def test_numpy_alone_opens_a_tree(tmp_path):
  path = tmp_path / 'tree.npz'
  trees.save(path, {'file': jnp.ones(2), 'allow_pickle': jnp.zeros(1)})
  with np.load(path, allow_pickle=False) as file:
    assert set(file.files) == {'__meta__', 'file', 'allow_pickle'}
    assert file['file'].tolist() == [1, 1]


def test_equal_trees_give_equal_bytes_in_any_memory_order(tmp_path):
  image = np.arange(12.0).reshape(3, 4)
  trees.save(tmp_path / 'a', {'x': image, 'y': image.astype('>f4')})
  trees.save(
    tmp_path / 'b', {'y': image.astype('<f4'), 'x': np.asfortranarray(image)}
  )
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


@pytest.mark.parametrize(
  'other',
  [
    {'b': np.ones(2)},
    {'a': np.ones(2, np.float32)},
    {'a': np.ones((2, 1))},
    {'a': np.array([1, np.nextafter(1, 2)])},
  ],
)
def test_a_digest_tells_names_dtypes_shapes_and_numbers_apart(other):
  assert trees.digest({'a': np.ones(2)}) != trees.digest(other)


def test_no_flipped_bit_gives_another_tree(tmp_path):
  path = tmp_path / 'tree.npz'
  trees.save(path, _TREE, {'epochs': 60})
  whole, digest = path.read_bytes(), trees.digest(_TREE)
  refused = 0
  # More of the first kilobyte, where names and sizes are; every bit of a byte.
  bits = [*range(0, 8192, 5), *range(8192, 8 * len(whole), 17)]
  for bit in bits:
    path.write_bytes(_flipped(whole, bit))
    try:
      tree, note = trees.load(path), trees.note(path)
    except ValueError as error:
      refused += 1
      assert str(path) in str(error) and '\n' not in str(error)
      assert 'delete it' in str(error)
    else:
      assert trees.digest(tree) == digest and note == {'epochs': 60}
  assert refused > len(bits) / 2


def _npy():
  stream = io.BytesIO()
  np.save(stream, np.zeros(3))
  return stream.getvalue()


def _archive(**arrays):
  stream = io.BytesIO()
  np.savez(stream, **arrays)
  return stream.getvalue()


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'<html>quota exceeded</html>',
    _npy(),
    _archive(images=np.zeros(3)),
    _archive(__meta__=np.frombuffer(b'[]', np.uint8)),
    _archive(__meta__=np.frombuffer(b'{"format": NaN}', np.uint8)),
    _archive(__meta__=np.frombuffer(b'[' * 100_000, np.uint8)),
    _archive(__meta__=np.array({'a': 1}, object)),
  ],
)
def test_what_is_no_tree_is_refused_in_one_line(tmp_path, content):
  path = tmp_path / 'x.npz'
  path.write_bytes(content)
  for read in (trees.load, trees.note):
    with pytest.raises(ValueError, match=re.escape(str(path))) as raised:
      read(path)
    assert '\n' not in str(raised.value)
    assert 'pickle=' not in str(raised.value)


def test_cut_and_lengthened_trees_are_refused(tmp_path):
  path = tmp_path / 'x.npz'
  trees.save(path, _TREE)
  whole = path.read_bytes()
  for content in (whole[:-1], whole[: len(whole) // 2], whole[100:]):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='delete it to make it again'):
      trees.load(path)


@pytest.mark.parametrize('method', [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_compressed_entries_are_refused(tmp_path, method):
  trees.save(tmp_path / 'a.npz', _TREE)
  with (
    zipfile.ZipFile(tmp_path / 'a.npz') as source,
    zipfile.ZipFile(tmp_path / 'b.npz', 'w', method) as target,
  ):
    for name in source.namelist():
      target.writestr(name, source.read(name))
  with pytest.raises(ValueError, match='compressed'):
    trees.load(tmp_path / 'b.npz')


def test_a_changed_number_with_a_right_checksum_is_refused(tmp_path):
  trees.save(tmp_path / 'a.npz', _TREE)
  with np.load(tmp_path / 'a.npz') as file:
    arrays = dict(file)
  arrays['params/head/kernel'] = arrays['params/head/kernel'] + 1
  np.savez(tmp_path / 'b.npz', **arrays)
  with pytest.raises(ValueError, match='SHA-256'):
    trees.load(tmp_path / 'b.npz')


@pytest.mark.parametrize(
  ('like', 'said'),
  [
    ({'a': np.ones(2)}, "'b' not known"),
    ({'a': np.ones(2), 'b': np.ones(1), 'c': np.ones(1)}, "'c' missing"),
    ({'a': np.ones(3), 'b': np.ones(1)}, r"'a' is float64 \(2,\)"),
    ({'a': np.ones(2, np.int32), 'b': np.ones(1)}, 'allowed is int32'),
    ({'a': np.ones(2), 'b': 'x'}, 'like: '),
  ],
)
def test_another_tree_is_refused(tmp_path, like, said):
  trees.save(tmp_path / 'x.npz', {'a': np.ones(2), 'b': np.ones(1)})
  with pytest.raises(ValueError, match=said):
    trees.load(tmp_path / 'x.npz', like)


@pytest.mark.parametrize(
  ('tree', 'said'),
  [
    ({'a': np.array([1, np.nan])}, "'a' holds NaN"),
    ({'a': jnp.array([1, jnp.inf])}, "'a' holds NaN or inf"),
    ({'a': 'text'}, "'a' has dtype"),
    ({'a': np.ones(2, complex)}, 'allowed are bool'),
    ({'a': jnp.ones(2, jnp.bfloat16)}, 'allowed are bool'),
    ({'a': jax.random.key(0)}, "'a'"),
    ({'a/b': np.ones(1), 'a': {'b': np.ones(1)}}, 'doubled'),
    ({'__meta__': np.ones(1)}, 'reserved'),
    ({'a\n': np.ones(1)}, 'printable'),
  ],
)
def test_leaves_that_cannot_be_kept_are_refused(tmp_path, tree, said):
  with pytest.raises(ValueError, match=said):
    trees.save(tmp_path / 'x.npz', tree)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'note', [{'a': float('nan')}, {'a': object()}, {1: 2}, {'a': {None: 1}}]
)
def test_a_note_that_is_no_json_is_refused(tmp_path, note):
  with pytest.raises(ValueError, match=r'x\.npz'):
    trees.save(tmp_path / 'x.npz', {}, note)


def test_pipes_and_missing_files_are_said(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  for read in (trees.load, records.read, dcjax.load):
    with pytest.raises(ValueError, match='regular file'):
      read(tmp_path / 'pipe')
    with pytest.raises(FileNotFoundError, match=r'none\.npz'):
      read(tmp_path / 'none.npz')
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
      read(tmp_path)


def test_failed_writes_leave_the_earlier_file(tmp_path):
  path = tmp_path / 'x.npz'
  trees.save(path, _TREE)
  before = path.read_bytes()
  with pytest.raises(RuntimeError), files.replacing(path) as stream:
    stream.write(b'half')
    raise RuntimeError
  assert path.read_bytes() == before
  assert [p.name for p in tmp_path.iterdir()] == ['x.npz']


def test_sweep_removes_what_killed_writers_left_and_nothing_else(tmp_path):
  writer = files.replacing(tmp_path / 'x.npz')
  writer.__enter__().write(b'half')
  left = next(tmp_path.iterdir())
  (tmp_path / 'stages').mkdir()
  outside = tmp_path / 'mine'
  outside.write_text('keep')
  link = tmp_path / 'stages' / f'.y.npz.{"0" * 32}.tmp'
  link.symlink_to(outside)
  for name in ('.hidden', 'x.tmp', '.x.npz.short.tmp'):
    (tmp_path / name).write_text('keep')
  assert files.sweep(tmp_path) == tuple(sorted((left, link)))
  assert outside.read_text() == 'keep'
  kept = {'mine', 'stages', '.hidden', 'x.tmp', '.x.npz.short.tmp'}
  assert {p.name for p in tmp_path.iterdir()} == kept
  assert files.sweep(tmp_path / 'none') == ()


def test_records_come_back_as_they_were(tmp_path):
  value = {'b': [1, 2.5, None, True], 'a': {'ä': 'x', 'n': -(2**70)}}
  records.write(tmp_path / 'r.json', value)
  assert records.read(tmp_path / 'r.json') == value


@pytest.mark.parametrize(
  'text',
  [
    '',
    '{',
    '{"a": NaN}',
    '{"a": Infinity}',
    '[-Infinity]',
    '{"a": 1e999}',
    '{"a": 1, "a": 2}',
    '{"a": 1} 2',
    '[' * 100_000,
    '\ud800',
    '{"a": ' + '9' * 5000 + '}',
  ],
)
def test_what_is_no_json_is_damage(tmp_path, text):
  path = tmp_path / 'r.json'
  path.write_bytes(text.encode('utf-8', 'surrogatepass'))
  with pytest.raises(ValueError, match=r'r\.json: is damaged') as raised:
    records.read(path)
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
  'value',
  [{'a': [float('inf')]}, {1: 'a'}, {'a': object()}, {'a': {('b',): 1}}],
)
def test_what_json_does_not_know_is_not_written(tmp_path, value):
  with pytest.raises(ValueError, match=r'r\.json'):
    records.write(tmp_path / 'r.json', value)
  assert not list(tmp_path.iterdir())


def test_records_are_what_json_reads(tmp_path):
  records.write(tmp_path / 'r.json', {'b': (1,), 'a': 2})
  assert json.loads((tmp_path / 'r.json').read_text()) == {'a': 2, 'b': [1]}
