"""Archives of NumPy arrays, read without trust in what they declare."""

import math
import os
import re
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

_SUFFIX = '.npy'
_VERSIONS = {(1, 0): 2, (2, 0): 4}  # bytes of the header's length
_LONGEST_HEADER = 2**16
_MOST_DEFLATED = 1040
# What NumPy writes for plain arrays. Nothing is evaluated, as NumPy does.
_HEADER = re.compile(
  rb"\{'descr': '([<>|][biufcSU]\d{1,9})', 'fortran_order': (True|False), "
  rb"'shape': \(((?:-?\d{1,20}, ?)*(?:-?\d{1,20})?)\), \} *\n"
)


def write(stream: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes arrays by name, uncompressed; equal arrays give equal bytes."""
  with zipfile.ZipFile(stream, 'w', zipfile.ZIP_STORED) as archive:
    for name, array in arrays.items():
      # An entry without a date of its own is dated 1980.
      info = zipfile.ZipInfo(f'{name}{_SUFFIX}')
      with archive.open(info, 'w', force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def entries(
  archive: zipfile.ZipFile, size: int, *, compressed: bool = False
) -> dict[str, zipfile.ZipInfo]:
  """Returns the entries by name, once their sizes are known to be true.

  Args:
    archive: that is read.
    size: bytes of its file.
    compressed: whether entries may be.

  Raises:
    ValueError: an entry is doubled, no array, compressed, or larger than the
      file; or all are larger than this machine's memory.
  """
  found: dict[str, zipfile.ZipInfo] = {}
  for info in archive.infolist():
    name = info.filename.removesuffix(_SUFFIX)
    if name in found or name == info.filename:
      raise ValueError(f'entry {info.filename!r} is doubled or not an array.')
    if compressed and info.compress_type == zipfile.ZIP_DEFLATED:
      # Deflate cannot do better; more is a lie about the memory it takes.
      if info.file_size > _MOST_DEFLATED * (info.compress_size + 1):
        raise ValueError(f'entry {name!r} declares {info.file_size} bytes.')
      found[name] = info
      continue
    if info.compress_type != zipfile.ZIP_STORED:
      raise ValueError(f'entry {name!r} is compressed; entries are stored.')
    if info.file_size != info.compress_size:
      raise ValueError(f'entry {name!r} declares two different sizes.')
    found[name] = info
  total = sum(info.compress_size for info in found.values())
  if total > size:
    raise ValueError(f'its entries declare {total} bytes, it has {size}.')
  unpacked, most = sum(info.file_size for info in found.values()), _memory()
  if unpacked > most:
    raise ValueError(
      f'its entries declare {unpacked} bytes, this machine has {most}.'
    )
  return found


def _memory() -> int:
  """Bytes of memory of this machine."""
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def read_array(
  archive: zipfile.ZipFile,
  info: zipfile.ZipInfo,
  declared: Mapping[str, Any] | None = None,
  *,
  columns: bool = False,
) -> np.ndarray:
  """Reads one entry after comparing its header with what it has.

  Args:
    archive: that is read.
    info: of the entry.
    declared: `{'dtype', 'shape'}` that the header must say, if known.
    columns: whether column-major arrays are read.

  Raises:
    ValueError: the header is damaged, asks for objects, or for more or fewer
      bytes than there are.
    Exception: as zipfile's, such as of a wrong checksum.
  """
  with archive.open(info) as stream:
    shape, fortran, dtype, length = _read_header(stream, info.filename)
    if fortran and not columns:
      raise ValueError(f'{info.filename} is column-major.')
    if declared is not None and dict(declared) != {
      'dtype': dtype.str,
      'shape': list(shape),
    }:
      raise ValueError(
        f'{info.filename} has shape {shape} and dtype {dtype.str}, meta'
        f' declares {declared}.'
      )
    num_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or num_bytes != info.file_size - length:
      raise ValueError(
        f'{info.filename} declares shape {shape}, {num_bytes} bytes, but has'
        f' {info.file_size - length}.'
      )
    # Reading to the end makes zipfile compare the checksum.
    content = stream.read()
  if len(content) != num_bytes:
    raise ValueError(
      f'{info.filename} has {len(content)} bytes of data, its shape {shape}'
      f' needs {num_bytes}.'
    )
  array = np.frombuffer(content, dtype)
  return array.reshape(shape, order='F' if fortran else 'C')


def _read_header(stream, name) -> tuple[tuple[int, ...], bool, np.dtype, int]:
  """Returns shape, whether column-major, dtype, and bytes of the header."""
  magic = stream.read(8)
  size = _VERSIONS.get(tuple(magic[6:]))
  if magic[:6] != b'\x93NUMPY' or size is None:
    raise ValueError(f'{name} is no array of NumPy format 1.0 or 2.0.')
  length = int.from_bytes(stream.read(size), 'little')
  if length > _LONGEST_HEADER:
    raise ValueError(f'{name} has a header of {length} bytes.')
  header = stream.read(length)
  if header.startswith(b"{'descr': '|O'"):
    raise ValueError(f'{name} holds pickled objects, which are never read.')
  found = _HEADER.fullmatch(header)
  if len(header) != length or not found:
    raise ValueError(f'{name} has a damaged header.')
  shape = tuple(int(n) for n in found[3].split(b',') if n.strip())
  if len(shape) > 32:
    raise ValueError(f'{name} has {len(shape)} axes.')
  return (
    shape,
    found[2] == b'True',
    np.dtype(found[1].decode()),
    (8 + size + length),
  )
