"""Files of PyTorch and safetensors: arrays and nothing else."""

import math
import os
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np

from dcjax import files, records

_STARTS = {
  b'<': 'is a page of text, as servers send in place of a file',
  b'version https://git-lfs': 'is a pointer of Git LFS, not the file itself',
  b'\x93NUMPY': 'is a .npy file',
  b'\x89HDF': 'is an HDF5 file',
}
# What safetensors calls them; bfloat16 is the upper half of float32.
_DTYPES = {
  'BF16': '<u2',
  **{f'F{bits}': f'<f{bits // 8}' for bits in (16, 32, 64)},
  **{f'I{bits}': f'<i{bits // 8}' for bits in (8, 16, 32, 64)},
  **{f'U{bits}': f'<u{bits // 8}' for bits in (8, 16, 32, 64)},
  'BOOL': '|b1',
}


def read_torch(path: files.AnyPath) -> Any:
  """Returns what `torch.save` wrote: containers, numbers and tensors.

  Nothing else is unpickled, and no tensor is larger than the file.

  Raises:
    ImportError: PyTorch is not installed.
    OSError: there is no such file, or it cannot be read.
    ValueError: it is damaged, or holds anything else; one line with its name.
  """
  try:
    import torch
  except ImportError as error:
    raise ImportError(
      f"{os.fspath(path)}: reading it needs the package 'torch': pip install "
      'torch'
    ) from error
  with files.opened(path) as stream:
    size = stream.seek(0, os.SEEK_END)
    try:
      _check_archive(stream, size)
      stream.seek(0)
      with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        value = torch.load(stream, map_location='cpu', weights_only=True)
      _check_tensors(value, size, torch)
      return value
    # It raises nearly anything, in lines that advise to unpickle.
    except Exception as error:
      raise ValueError(
        f'{os.fspath(path)}: {_reason(stream, size, error)}'
      ) from error


def read_safetensors(path: files.AnyPath) -> dict[str, np.ndarray]:
  """Returns the arrays of a safetensors file by name; bfloat16 as float32.

  Raises:
    OSError: there is no such file, or it cannot be read.
    ValueError: it is damaged, or holds a dtype without meaning here; one line
      with its name.
  """
  with files.opened(path) as stream:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
      return _parsed(stream, size)
    # Of damaged JSON and sizes in it, in many ways.
    except Exception as error:
      raise ValueError(
        f'{os.fspath(path)}: {_reason(stream, size, error)}'
      ) from error


def _parsed(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
  """Reads the header's length, the header in JSON, and the numbers."""
  length = int.from_bytes(stream.read(8), 'little')
  if not 2 <= length <= size - 8:
    raise ValueError(f'its header would have {length} bytes')
  header = records.decode(stream.read(length), 'its header')
  header.pop('__metadata__', None)
  content = stream.read()
  arrays, end = {}, 0
  for name, entry in sorted(
    header.items(), key=lambda item: item[1]['data_offsets']
  ):
    code, shape = entry['dtype'], entry['shape']
    if code not in _DTYPES:
      raise ValueError(
        f'{name!r} has dtype {code}; allowed are {list(_DTYPES)}'
      )
    if not all(type(n) is int and n >= 0 for n in shape):
      raise ValueError(f'{name!r} has shape {shape}')
    dtype = np.dtype(_DTYPES[code])
    start, end = end, end + math.prod(shape) * dtype.itemsize
    # Nothing overlaps and nothing lies between.
    if entry['data_offsets'] != [start, end] or end > len(content):
      raise ValueError(f'{name!r} lies at {entry["data_offsets"]}')
    array = np.frombuffer(content[start:end], dtype).reshape(shape)
    if code == 'BF16':
      array = (array.astype(np.uint32) << 16).view(np.float32)
    arrays[name] = array
  if end != len(content):
    raise ValueError(f'it has {len(content) - end} bytes more than it declares')
  return arrays


def _check_archive(stream: BinaryIO, size: int) -> None:
  """Refuses archives that unpack to more than they are."""
  stream.seek(0)
  if not zipfile.is_zipfile(stream):
    return
  with zipfile.ZipFile(stream) as archive:
    total = sum(info.file_size for info in archive.infolist())
  if total > size:
    raise ValueError(f'its entries declare {total} bytes, it has {size}')


def _check_tensors(value: Any, size: int, torch: Any) -> None:
  """Refuses tensors that repeat their bytes, or are not dense."""
  if isinstance(value, Mapping):
    value = list(value.values())
  if isinstance(value, (list, tuple)):
    for child in value:
      _check_tensors(child, size, torch)
  elif isinstance(value, torch.Tensor) and (
    value.layout != torch.strided
    or value.is_quantized
    or value.device.type != 'cpu'
    or value.numel() * value.element_size() > size
  ):
    raise ValueError(f'it holds a tensor {list(value.shape)} that is not dense')


def _reason(stream: BinaryIO, size: int, error: Exception) -> str:
  """What is wrong with a file, in words of our own."""
  stream.seek(0)
  start = stream.read(32)
  if not start:
    return 'is empty'
  for key, text in _STARTS.items():
    if start.startswith(key):
      return f'{text}; give a file of weights'
  asked = re.search(r'(?:GLOBAL|function|class) ([\w.]+\.[\w.]+)', str(error))
  if asked:
    return (
      f'holds a pickled {asked[1]}, and only arrays are read: save '
      'model.state_dict() instead of the model'
    )
  kept = isinstance(error, ValueError) and 'weights_only' not in str(error)
  more = f' ({files.one_line(error)})' if kept else ''
  return f'is damaged, or no file of weights{more}; {size} bytes were read'


# dtype -> PyTorch's class of storages.
_STORAGES = {
  '<f4': b'FloatStorage',
  '<i8': b'LongStorage',
}


def write_torch(
  stream: BinaryIO, value: np.ndarray | Sequence[np.ndarray]
) -> None:
  """Writes what `torch.load(path, weights_only=True)` reads; needs no PyTorch.

  A zip archive in which a pickle refers to the numbers of each tensor; the
  pickle is put together from its instructions, as protocol 2 has them.

  Args:
    stream: to write to.
    value: a tensor, or a list of tensors; float32 or int64.

  Raises:
    ValueError: another dtype.
  """
  arrays = [value] if isinstance(value, np.ndarray) else list(value)
  made = b''.join(_tensor(i, array) for i, array in enumerate(arrays))
  if not isinstance(value, np.ndarray):
    made = b'](' + made + b'e'
  with zipfile.ZipFile(stream, 'w') as archive:
    # A time of its own would make other bytes of equal numbers.
    for name, content in (
      ('data.pkl', b'\x80\x02' + made + b'.'),
      ('byteorder', b'little'),
      *((f'data/{i}', _little(array)) for i, array in enumerate(arrays)),
      ('version', b'3\n'),
    ):
      archive.writestr(zipfile.ZipInfo(f'archive/{name}'), content)


def _little(array: np.ndarray) -> bytes:
  return array.astype(array.dtype.newbyteorder('<'), order='C').tobytes()


def _tensor(number: int, array: np.ndarray) -> bytes:
  """Instructions that rebuild a tensor from storage `number`."""
  code = array.dtype.newbyteorder('<').str
  if code not in _STORAGES:
    raise ValueError(f'a tensor is {array.dtype}; it must be float32 or int64')
  steps = [math.prod(array.shape[i + 1 :]) for i in range(array.ndim)]
  storage = (
    b'('
    + _text('storage')
    + b'ctorch\n'
    + _STORAGES[code]
    + b'\n'
    + _text(str(number))
    + _text('cpu')
    + _whole(array.size)
    + b'tQ'
  )
  return (
    b'ctorch._utils\n_rebuild_tensor_v2\n('
    + storage
    + _whole(0)
    + _wholes(array.shape)
    + _wholes(steps)
    + b'\x89ccollections\nOrderedDict\n)RtR'
  )


def _text(text: str) -> bytes:
  return b'X' + len(text).to_bytes(4, 'little') + text.encode()


def _whole(number: int) -> bytes:
  return b'\x8a\x08' + number.to_bytes(8, 'little', signed=True)


def _wholes(numbers: Sequence[int]) -> bytes:
  return b'(' + b''.join(map(_whole, numbers)) + b't'
