"""Listing folders: what is data, what is litter, and how to say it."""

import collections
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dcjax.data import _splits

# What systems and tools leave in folders: never data, at any depth.
_LITTER = re.compile(
  r'\..*|@eadir|@recycle|@tmp|#recycle|#snapshot|__macosx|__pycache__|'
  r'\$recycle\.bin|lost\+found|(?:eh)?thumbs\.db|picasa\.ini|'
  r'system volume information|desktop\.ini|icon\r',
  re.IGNORECASE,
)
# Says itself which file is of which class, and is read.
ANNOTATIONS = 'val_annotations.txt'
SHOWN = 5


class Kind(NamedTuple):
  """What is looked for.

  Attributes:
    name: for messages, as 'pictures'.
    suffixes: of its files, lower case.
  """

  name: str
  suffixes: frozenset[str]

  def fits(self, path: str | pathlib.Path) -> bool:
    """Whether a file is of this kind, by its suffix."""
    return pathlib.Path(path).suffix.lower() in self.suffixes


class Listing(NamedTuple):
  """What a folder holds, by name, sorted, without litter.

  Attributes:
    path: of the folder.
    files: regular ones, and dead links.
    folders: that can be classes.
    others: folders that begin with an underscore, pipes and the like.
  """

  path: pathlib.Path
  files: tuple[str, ...]
  folders: tuple[str, ...]
  others: tuple[str, ...]


def listed(folder: pathlib.Path) -> Listing:
  """Lists a folder; links count as what they lead to."""
  files, folders, others = [], [], []
  with os.scandir(folder) as entries:
    for entry in entries:
      if _LITTER.fullmatch(entry.name):
        continue
      if entry.is_dir():
        (others if entry.name[0] == '_' else folders).append(entry.name)
      elif entry.is_file() or not os.path.exists(entry.path):
        files.append(entry.name)  # a dead link says so when it is read
      else:
        others.append(entry.name)
  return Listing(
    pathlib.Path(folder), *(tuple(sorted(n)) for n in (files, folders, others))
  )


def walk(
  folder: pathlib.Path, above: frozenset[str] = frozenset()
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
  """Returns (files, what is passed over) at any depth, sorted, no litter.

  Args:
    folder: where to begin; links are followed, but not in circles.
    above: real paths of the folders that led here.
  """
  real = os.path.realpath(folder)
  if real in above:
    return [], [folder]
  listing = listed(folder)
  files = [folder / name for name in listing.files]
  others = [folder / name for name in listing.others]
  for name in listing.folders:
    more = walk(folder / name, above | {real})
    files += more[0]
    others += more[1]
  return sorted(files), others


def outside(where: Listing, used: Iterable[str], kind: Kind) -> tuple[str, ...]:
  """Returns notes about what lies in a folder beside what is used of it.

  Of loose files, those of the kind and lists of parts (`testing_list.txt`).
  """
  left = [
    where.path / name
    for name in (*where.folders, *where.others)
    if name not in set(used)
  ]
  notes = []
  if left:
    notes.append(f'{where.path}: left out {some(left, where.path)}')
  files = [
    name
    for name in where.files
    if name != ANNOTATIONS
    and (
      kind.fits(name)
      or _splits.hints(name)
      or not os.path.exists(where.path / name)  # a link to a lost class
    )
  ]
  if files:
    notes.append(
      f'{where.path}: left out {len(files)} files outside of class folders '
      f'({some([where.path / n for n in files], where.path)})'
    )
  return tuple(notes)


def kinds(paths: Sequence[pathlib.Path]) -> str:
  """Returns how many files have which suffix, for messages."""
  counts = collections.Counter(
    _printable(p.suffix.lower()) or 'no suffix' for p in paths
  )
  return ', '.join(f'{n} {s}' for s, n in counts.most_common(SHOWN))


def some(paths: Sequence[pathlib.Path], root: pathlib.Path) -> str:
  """Returns the first paths, as seen from `root`, for messages."""
  shown = [
    _printable(str(p.relative_to(root) if p.is_relative_to(root) else p))
    for p in paths[:SHOWN]
  ]
  return ', '.join(shown + ['...'] * (len(paths) > SHOWN))


def _printable(name: str) -> str:
  """Names may hold line ends, and bytes that no terminal can show."""
  return name if name.isprintable() else ascii(name)[1:-1]
