"""MAT and HDF5 files, whose sizes are known before memory is taken for them."""

import math
import pathlib
import struct
import zlib
from typing import Any

import numpy as np

from dcjax import files

_MAT_HEADER = 128
_MAT_PACKED = 15
_MAT_ORDERS = {b'IM': '<', b'MI': '>'}
# Of HDF5: deflate, shuffle, Fletcher's checksum. Others unpack as they like.
_DEFLATE, _FILTERS = 1, {1, 2, 3}
_MOST_CHUNKS = 2**12


def unpacked_mat(path: pathlib.Path, most: int) -> bytes:
  """Returns a MAT file of version 5 with its packed variables unpacked.

  Args:
    path: of the file.
    most: bytes that it may have, unpacked.

  Raises:
    ValueError: it has more, is cut short, or of another version.
  """
  with files.opened(path) as stream:
    parts, left = [stream.read(_MAT_HEADER)], most
    order = _MAT_ORDERS.get(parts[0][-2:])
    if order is None or len(parts[0]) < _MAT_HEADER:
      raise ValueError('it does not start like a MAT file of version 5')
    while tag := stream.read(8):
      kind, size = struct.unpack(f'{order}2I', tag)
      content = stream.read(min(size, left + 1))
      if kind == _MAT_PACKED:
        unpacker = zlib.decompressobj()
        part = unpacker.decompress(content, left + 1)
        whole = unpacker.eof
      else:
        part, whole = tag + content, len(content) == size
      left -= len(part)
      if left < 0:
        raise ValueError(f'it has more than {most} bytes, unpacked')
      if not whole:
        raise ValueError('a variable is cut short')
      parts.append(part)
  return b''.join(parts)


def h5_array(file: Any, name: str, most: int) -> np.ndarray:
  """Returns an array of numbers of an open HDF5 file.

  Args:
    file: of h5py.
    name: with `/` between groups.
    most: bytes that it may have.

  Raises:
    ValueError: it has more, or unpacks to more than it declares; it lies in
      another file, or holds no numbers.
    KeyError: there is none.
  """
  import h5py

  for folder in range(name.count('/') + 1):
    part = '/'.join(name.split('/')[: folder + 1])
    if not isinstance(file.get(part, getlink=True), h5py.HardLink):
      raise ValueError(f'its {part} is missing, or a link')
  array = file[name]
  if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
    raise ValueError(f'its {name} is no array that it holds itself')
  if array.dtype.kind not in 'iuf':
    raise ValueError(f'its {name} holds {array.dtype}, no numbers')
  chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
  if max(array.size * array.dtype.itemsize, chunk) > most:
    raise ValueError(f'its {name} {array.shape} has more than {most} bytes')
  if array.chunks:
    _check_chunks(array, name, chunk)
  return array[:]


def _check_chunks(array: Any, name: str, size: int) -> None:
  """Refuses chunks that unpack to other bytes than their shape needs."""
  filters = array.id.get_create_plist()
  kinds = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
  count = array.id.get_num_chunks()
  if not set(kinds) <= _FILTERS or kinds.count(_DEFLATE) > 1:
    raise ValueError(f'its {name} is packed with the filters {kinds}')
  if count > _MOST_CHUNKS:
    raise ValueError(f'its {name} lies in {count} chunks')
  for i in range(count if _DEFLATE in kinds else 0):
    place = array.id.get_chunk_info(i).chunk_offset
    mask, content = array.id.read_direct_chunk(place)
    if mask & (1 << kinds.index(_DEFLATE)):
      continue  # stored as it is
    # With room for a checksum.
    if len(zlib.decompressobj().decompress(content, size + 5)) > size + 4:
      raise ValueError(f'a chunk of its {name} has more than {size} bytes')
