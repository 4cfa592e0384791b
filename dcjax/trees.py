"""Pytrees of arrays on disk: one `.npz` that NumPy alone opens.

Everything that dcjax keeps between two runs (networks, stages, stored labels)
has this form: the leaves under their paths, such as 'params/head/bias', and
'__meta__', JSON text as uint8 with their dtypes and shapes, a note, and a
SHA-256 of all of it. A file that differs by one bit from what was written is
read as it was, or refused.

  trees.save('pool.npz', variables, note={'epochs': 60})
  variables = trees.load('pool.npz', jax.eval_shape(network.init, key))
  trees.note('pool.npz')['epochs']
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import jax
import numpy as np

from dcjax import _npz, files, records
from dcjax.base import PyTree

FORMAT = 'dcjax-tree'
VERSION = 1

_META = '__meta__'
_KINDS = 'biuf'
_SHOWN = 3


def save(
  path: files.AnyPath, tree: PyTree, note: Mapping[str, Any] | None = None
) -> None:
  """Writes a pytree of arrays; the file appears whole or not at all.

  Equal trees and notes give equal bytes.

  Args:
    path: of the file, by convention `.npz`; an earlier one is replaced.
    tree: arrays or numbers: bool, int, uint and float of NumPy's sizes, finite;
      of a sharded array, all of it must be addressable.
    note: JSON-able facts that `note` returns.

  Raises:
    ValueError: a leaf or the note cannot be stored; names it.
    OSError: the file cannot be written; an earlier one stays as it was.
  """
  where = os.fspath(path)
  arrays = {n: _storable(where, n, a) for n, a in named(tree).items()}
  meta = np.frombuffer(_meta(arrays, dict(note or {}), where), np.uint8)
  with files.replacing(path) as stream:
    _npz.write(stream, {_META: meta, **arrays})


def load(path: files.AnyPath, like: PyTree = None) -> PyTree:
  """Reads a pytree that `save` wrote, and checks everything about it.

  Nothing is unpickled or evaluated, and no memory is taken that the file does
  not have bytes for.

  Args:
    path: of the file.
    like: a pytree of arrays or `jax.ShapeDtypeStruct`; the file must hold the
      same paths, shapes and dtypes. None: whatever it holds.

  Returns:
    NumPy arrays in the structure of `like`; without it a flat dict by path.

  Raises:
    OSError: there is no such file, or it cannot be read.
    ValueError: it is damaged, or of another tree than `like`; names the file
      and what is to be done.
  """
  arrays, _ = _read(path)
  if like is None:
    return arrays
  wanted = named(like)
  for name, leaf in wanted.items():
    if not hasattr(leaf, 'shape') or not hasattr(leaf, 'dtype'):
      raise ValueError(f'like: {name!r} must be an array, got {leaf!r}')
  _check_alike(os.fspath(path), arrays, wanted)
  leaves = [arrays[name] for name in wanted]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def note(path: files.AnyPath) -> dict[str, Any]:
  """Returns the note of a file that `save` wrote, after checking all of it.

  Raises:
    OSError: there is no such file, or it cannot be read.
    ValueError: it is damaged; names the file and what is to be done.
  """
  return _read(path)[1]


def digest(tree: PyTree) -> str:
  """Returns the SHA-256 of paths, dtypes, shapes and numbers of a pytree.

  It tells data sets, networks and stages apart. Unlike `save` it also takes
  numbers that are not finite.

  Args:
    tree: arrays or numbers.

  Raises:
    ValueError: a leaf is no array of numbers.
  """
  total = hashlib.sha256()
  for name, leaf in sorted(named(tree).items()):
    array = _numbers('digest', name, leaf)
    said = json.dumps([name, array.dtype.str, list(array.shape)])
    total.update(f'{said}\n'.encode())
    total.update(array.reshape(-1).view(np.uint8).data)
  return total.hexdigest()


def named(tree: PyTree) -> dict[str, Any]:
  """Returns the leaves of a pytree by path, such as `params/head/bias`.

  Raises:
    ValueError: two leaves have one path, or a path cannot be a name.
  """
  leaves: dict[str, Any] = {}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    if name in leaves or name == _META or not name.isprintable():
      raise ValueError(
        f'tree: {name!r} is doubled, reserved or not printable; allowed are '
        'different names'
      )
    leaves[name] = leaf
  return leaves


def _numbers(where: str, name: str, leaf: Any) -> np.ndarray:
  """Returns a leaf as a contiguous little-endian array."""
  try:
    array = np.asarray(leaf, order='C')
  except Exception as error:
    raise ValueError(
      f'{where}: {name!r} is no array ({files.one_line(error)})'
    ) from error
  if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8:
    raise ValueError(
      f'{where}: {name!r} has dtype {array.dtype}; allowed are bool, int, uint '
      'and float of up to 64 bits'
    )
  return array.astype(array.dtype.newbyteorder('<'), copy=False)


def _storable(where: str, name: str, leaf: Any) -> np.ndarray:
  array = _numbers(where, name, leaf)
  if array.dtype.kind == 'f' and not np.isfinite(array).all():
    raise ValueError(f'{where}: {name!r} holds NaN or infinite values')
  return array


def _meta(arrays: Mapping[str, np.ndarray], note: Any, where: str) -> bytes:
  """Returns the text that describes arrays; equal files have equal texts."""
  meta = {
    'format': FORMAT,
    'version': VERSION,
    'arrays': {
      name: {'dtype': array.dtype.str, 'shape': list(array.shape)}
      for name, array in arrays.items()
    },
    'note': note,
    'sha256': digest(dict(arrays)),
  }
  return records.encode(meta, f'{where}: note').encode()


def _read(path: files.AnyPath) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Returns the arrays by path, and the note."""
  where = os.fspath(path)
  with files.opened(path) as stream:
    try:
      return _parsed(stream, where)
    # Damaged files fail in zipfile and NumPy in many ways; callers get one.
    except Exception as error:
      raise ValueError(
        f'{where}: is damaged, or was not written by this version of dcjax '
        f'({files.one_line(error)}); delete it to make it again'
      ) from error


def _parsed(stream: BinaryIO, where: str):
  size = stream.seek(0, os.SEEK_END)
  with zipfile.ZipFile(stream) as archive:
    entries = _npz.entries(archive, size)
    if _META not in entries:
      raise ValueError(f'entry {_META!r} is missing')
    text = _npz.read_array(archive, entries.pop(_META)).tobytes()
    meta = records.decode(text, 'its meta')
    if (meta['format'], meta['version']) != (FORMAT, VERSION):
      raise ValueError(f'its format is {meta["format"]} {meta["version"]}')
    declared = meta['arrays']
    if set(declared) != set(entries):
      raise ValueError(f'its entries are not {_some(declared)}')
    arrays = {
      name: _npz.read_array(archive, entries[name], declared[name])
      for name in declared
    }
  arrays = {n: _storable('it', n, a) for n, a in arrays.items()}
  # The text is a function of arrays and note: one comparison checks it whole.
  if _meta(arrays, meta['note'], where) != text:
    raise ValueError('its SHA-256 is another one')
  return arrays, meta['note']


def _check_alike(where: str, found: Mapping, wanted: Mapping) -> None:
  missing = [n for n in wanted if n not in found]
  extra = [n for n in found if n not in wanted]
  if missing or extra:
    raise ValueError(
      f'{where}: holds other arrays: {_some(missing)} missing, {_some(extra)} '
      'not known; give the file that belongs here, or delete it to make it '
      'again'
    )
  for name, leaf in wanted.items():
    here = found[name].shape, found[name].dtype
    asked = tuple(leaf.shape), np.dtype(leaf.dtype)
    if here != asked:
      raise ValueError(
        f'{where}: {name!r} is {here[1]} {here[0]}; allowed is {asked[1]} '
        f'{asked[0]}; give the file that belongs here, or delete it to make it '
        'again'
      )


def _some(names) -> str:
  shown = [repr(name) for name in list(names)[:_SHOWN]]
  return ', '.join(shown + ['...'] * (len(names) > _SHOWN)) or 'nothing'
