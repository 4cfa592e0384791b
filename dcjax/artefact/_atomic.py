"""Writing a file so that readers see the old one or the new one, whole."""

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
  """Yields a binary stream whose content becomes `path` on success.

  The bytes go to a temporary file in the same folder, reach the disk, and take
  the name in one step. On any failure the temporary file is removed and an
  earlier file at `path` stays as it was.

  Raises:
    OSError: the file cannot be written (full disk, missing folder, no
      permission); the message names `path`.
  """
  path = pathlib.Path(path)
  temporary = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
  try:
    with open(temporary, 'xb') as stream:
      yield stream
      stream.flush()
      os.fsync(stream.fileno())
    os.replace(temporary, path)
  except OSError as error:
    _remove(temporary)
    raise OSError(
      error.errno, f'Not saved: {error.strerror or error}', str(path)
    ) from error
  except BaseException:
    _remove(temporary)
    raise


def _remove(path: pathlib.Path):
  # The failure that led here matters more than a file that is not there.
  with contextlib.suppress(OSError):
    path.unlink()
