"""Finding files, and one clear error for files that cannot be read."""

import bz2
import contextlib
import gzip
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dcjax import files

# What public functions take for a path.
AnyPath = str | os.PathLike[str]

_PACKED: dict[bytes, Callable[[Any], Any]] = {
  b'\x1f\x8b': gzip.open,
  b'BZh': bz2.open,
}


def find(
  data_dir: pathlib.Path, folders: Sequence[str], names: Sequence[str]
) -> pathlib.Path:
  """Returns the first file `data_dir/folder/name`, folders outermost.

  Args:
    data_dir: where to look.
    folders: subfolders in order of preference; '' is `data_dir` itself.
    names: alternative file names.

  Raises:
    FileNotFoundError: none exists; names what was looked for and where.
  """
  for folder in folders:
    for name in names:
      path = data_dir / folder / name
      if path.is_file():
        return path
  places = ', '.join(str(data_dir / folder) for folder in folders)
  raise FileNotFoundError(f'no file {" or ".join(names)} in {places}')


@contextlib.contextmanager
def reading(path: pathlib.Path | str, kind: str) -> Iterator[None]:
  """Turns whatever a parser raises on bad content into one ValueError.

  Args:
    path: of the file, for the message.
    kind: of file, for the message, e.g. 'idx'.

  Raises:
    ValueError: the body raised; a missing file, missing access and a missing
      library keep their own errors.
  """
  try:
    yield
  except (FileNotFoundError, PermissionError, ImportError):
    raise
  # Parsers of untrusted bytes raise nearly anything.
  except Exception as error:
    raise ValueError(
      f'{path} is not readable as {kind} file: {files.one_line(error)}.'
    ) from error


def read_bytes(path: pathlib.Path, most: int) -> bytes:
  """Returns a file's content, unpacked if it starts like gzip or bzip2.

  Args:
    path: of the file.
    most: bytes that it may have, unpacked.

  Raises:
    ValueError: it has more, or is no regular file.
  """
  with files.opened(path) as stream:
    start = stream.read(3)
    stream.seek(0)
    unpack = [made for key, made in _PACKED.items() if start.startswith(key)]
    content = (unpack[0](stream) if unpack else stream).read(most + 1)
  if len(content) > most:
    raise ValueError(f'it has more than {most} bytes')
  return content


def require_folder(data_dir: AnyPath | None, what: str) -> pathlib.Path:
  """Returns `data_dir`, `~` expanded, if it is a folder.

  Raises:
    ValueError: it is None.
    FileNotFoundError: it is no folder.
  """
  if data_dir is None:
    raise ValueError(f'data_dir is None; {what} needs the folder of its data.')
  data_dir = pathlib.Path(data_dir).expanduser()
  if not data_dir.is_dir():
    raise FileNotFoundError(f'data_dir {data_dir} is not a folder ({what}).')
  return data_dir
