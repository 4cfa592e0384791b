"""Finding files, and one clear error for files that cannot be read."""

import contextlib
import gzip
import os
import pathlib
from collections.abc import Iterator, Sequence

# What public functions take for a path.
AnyPath = str | os.PathLike[str]


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
  except (FileNotFoundError, PermissionError, ImportError, MemoryError):
    raise
  # Parsers of untrusted bytes raise nearly anything.
  except Exception as error:
    raise ValueError(
      f'{path} is not a complete {kind} file: '
      f'{str(error) or type(error).__name__}.'
    ) from error


def read_bytes(path: pathlib.Path) -> bytes:
  """Returns a file's content, decompressed if it is gzip by its first bytes."""
  content = path.read_bytes()
  return gzip.decompress(content) if content[:2] == b'\x1f\x8b' else content


def subfolders(folder: pathlib.Path) -> list[str]:
  """Returns sorted names of the folders in `folder`, hidden ones left out."""
  return sorted(
    p.name for p in folder.iterdir() if p.is_dir() and p.name[0] not in '._'
  )


def files_of(
  folder: pathlib.Path, suffixes: Sequence[str]
) -> list[pathlib.Path]:
  """Returns sorted files at any depth with one of the (lower) suffixes.

  Raises:
    ValueError: there are none, or no such folder.
  """
  paths = sorted(
    path
    for path in folder.rglob('*')
    if path.suffix.lower() in suffixes and path.name[0] != '.'
  )
  if not paths:
    raise ValueError(
      f'class folder {folder} holds no file; at least one of the kinds '
      f'{" ".join(suffixes)} is needed.'
    )
  return paths


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


def choose_classes(
  folder: pathlib.Path, classes: Sequence[str] | None
) -> tuple[str, ...]:
  """Returns `classes`, or all subfolder names, as the class names.

  Raises:
    ValueError: a class without folder, a class named twice, or no class.
  """
  present = subfolders(folder)
  chosen = tuple(present if classes is None else classes)
  missing = [c for c in chosen if c not in present]
  if missing:
    raise ValueError(
      f'classes {missing} have no folder in {folder}; allowed are '
      f'{present[:20]}{" ..." if len(present) > 20 else ""}.'
    )
  if not chosen or len(set(chosen)) < len(chosen):
    raise ValueError(
      f'classes of {folder} are {list(chosen)}; allowed is one folder per '
      'class, at least one, none twice.'
    )
  return chosen
