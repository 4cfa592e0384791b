"""Archives of arrays that users bring: what they are, and nothing unpickled."""

import os
import zipfile

import numpy as np

from dcjax import _npz, files

_STARTS = {
  b'\x93NUMPY': 'is a .npy file, one array',
  b'PK\x05\x06': 'is an empty archive',
  b'\x1f\x8b': 'is compressed with gzip',
  b'\x89HDF': 'is an HDF5 file',
  b'<': 'is a page of text, as servers send in place of a file',
}
_REMEDY = (
  'allowed is what numpy.savez(path, images=..., labels=...) writes of arrays '
  'of numbers'
)


def read(path: files.AnyPath) -> dict[str, np.ndarray]:
  """Returns all arrays of an .npz file, perhaps compressed.

  Raises:
    OSError: it cannot be read.
    ValueError: it is another kind of file, damaged, or holds pickled objects;
      says which.
  """
  path = os.fspath(path)
  with files.opened(path) as stream:
    start = stream.read(8)
    if not start.startswith(b'PK\x03\x04'):
      said = [text for key, text in _STARTS.items() if start.startswith(key)]
      what = said[0] if said else 'is no .npz file, or damaged'
      raise ValueError(f'{path} {what}; {_REMEDY}.')
    try:
      size = stream.seek(0, 2)
      with zipfile.ZipFile(stream) as archive:
        found = _npz.entries(archive, size, compressed=True)
        return {
          name: _npz.read_array(archive, info, columns=True)
          for name, info in found.items()
        }
    # zipfile raises nearly anything on damaged files.
    except Exception as error:
      raise ValueError(
        f'{path} is no readable .npz file: {files.one_line(error)}; {_REMEDY}.'
      ) from error
