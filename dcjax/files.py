"""Files that are there whole or not at all."""

import contextlib
import hashlib
import os
import pathlib
import re
import stat
import uuid
from collections.abc import Iterator
from typing import BinaryIO

AnyPath = str | os.PathLike[str]

_LEFTOVER = re.compile(r'\..+\.[0-9a-f]{32}\.tmp')
_LONGEST = 300
_SAMPLE, _EVERY = 2**12, 2**20


def check_local(field: str, path: AnyPath | None) -> None:
  """Raises a ValueError of `gs://...` and of names that are no UTF-8."""
  text = '' if path is None else os.fspath(path)
  if '://' in text:
    raise ValueError(
      f'{field} {text}: must be a folder of this machine, or a bucket that is '
      'mounted as one'
    )
  if '\ud800' <= max(text, default='') <= '\udfff':
    raise ValueError(
      f'{field} {text!a}: must be a name in UTF-8; perhaps the locale is '
      'not (LC_ALL, PYTHONUTF8=1)'
    )


@contextlib.contextmanager
def replacing(path: AnyPath) -> Iterator[BinaryIO]:
  """Yields a binary stream whose content becomes `path` on success.

  The bytes go to a new temporary file in the same folder (never through a link
  that lies there), reach the disk, and take the name in one step. On any
  failure the temporary file is removed and an earlier file at `path` stays as
  it was. A process that is killed leaves it behind, see `sweep`.

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


def sweep(folder: AnyPath) -> tuple[pathlib.Path, ...]:
  """Removes what killed writers left in a folder and those below it.

  Only call it where nobody else writes, such as under a lock.

  Args:
    folder: where `replacing` wrote; it may be missing.

  Returns:
    The temporary files that were removed, sorted.

  Raises:
    OSError: one cannot be removed.
  """
  found = []
  for root, _, names in os.walk(folder):
    found += [pathlib.Path(root, n) for n in names if _LEFTOVER.fullmatch(n)]
  for path in found:
    path.unlink(missing_ok=True)
  return tuple(sorted(found))


def opened(path: AnyPath) -> BinaryIO:
  """Opens a regular file for reading, and refuses pipes and devices.

  Raises:
    OSError: there is none, or it cannot be read; the message names it.
    ValueError: it is no regular file.
  """
  if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
    raise ValueError(f'{os.fspath(path)}: must be a regular file')
  return open(path, 'rb')


def fingerprint(path: AnyPath) -> bytes:
  """Returns what tells a file from others without reading all of a large one.

  SHA-256 of its size, of the first 4 KiB of every MiB and of the last 4 KiB.

  Raises:
    OSError: it cannot be read.
    ValueError: it is no regular file.
  """
  with opened(path) as stream:
    size = stream.seek(0, os.SEEK_END)
    total = hashlib.sha256(str(size).encode())
    for start in (*range(0, size, _EVERY), max(0, size - _SAMPLE)):
      stream.seek(start)
      total.update(stream.read(_SAMPLE))
  return total.digest()


def one_line(error: BaseException) -> str:
  """Returns what an error says, in one line of bounded length."""
  text = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
  return text if len(text) <= _LONGEST else f'{text[:_LONGEST]} ...'


def _remove(path: pathlib.Path):
  # The failure that led here matters more than a file that is not there.
  with contextlib.suppress(OSError):
    path.unlink()
