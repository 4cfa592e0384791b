"""How folders and files that hold a part of a data set are called."""

import pathlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import NamedTuple

_WORDS = {
  'train': r'train(?:ing)?(?:val)?|trn',
  'test': r'tests?|testing|tst|eval(?:uation)?|h[eo]ld[ _.\-]?out',
  'val': r'val(?:id(?:at(?:ion|e))?)?|dev(?:el(?:opment)?)?',
}
_BEFORE = r'(?:\d+[ _.\-]+)?(?:(?:images?|imgs?|data|pictures)[ _.\-]?)?'
_AFTER = r'(?:[ _.\-]?(?:set|data(?:set)?|images?|imgs?|split|part|\d{1,4}))*'
_NAMES = {
  role: re.compile(f'{_BEFORE}(?:{word}){_AFTER}', re.IGNORECASE)
  for role, word in _WORDS.items()
}
_HINT = re.compile(f'(?:{"|".join(_WORDS.values())})', re.IGNORECASE)


class Splits(NamedTuple):
  """Folders that are splits of a set, by their names.

  Attributes:
    train: the training part, which has class folders; or None.
    flat_train: a folder named like one, but without class folders; or None.
    held_out: those for testing, then those for validation.
  """

  train: str | None
  flat_train: str | None
  held_out: tuple[str, ...]


def role_of(name: str) -> str | None:
  """Returns 'train', 'test' or 'val' for a name in any usual spelling."""
  for role, pattern in _NAMES.items():
    if pattern.fullmatch(name):
      return role
  return None


def look(name: str) -> str:
  """Returns what names share that only differ in case or stored accents."""
  return unicodedata.normalize('NFC', name).casefold()


def hints(name: str) -> bool:
  """Whether a word of a name is a part's, as in 'seg_train' or 'my test'."""
  words = re.findall(r'[A-Z]+(?![a-z])|[A-Za-z][a-z]*', name)
  return any(_HINT.fullmatch(word) for word in words)


def find(
  root: pathlib.Path,
  folders: Sequence[str],
  has_folders: Callable[[pathlib.Path], bool],
) -> Splits:
  """Finds the splits among a folder's subfolders.

  Args:
    root: for messages and for `has_folders`.
    folders: names of its subfolders.
    has_folders: whether a folder has subfolders.

  Raises:
    ValueError: two folders are the same part.
  """
  named: dict[str, list[str]] = {role: [] for role in _WORDS}
  for name in folders:
    role = role_of(name)
    if role is not None:
      named[role].append(name)
  sorted_ones = [n for n in named['train'] if has_folders(root / n)]
  for role, names in (('train', sorted_ones), *list(named.items())[1:]):
    if len(names) > 1 and (sorted_ones or role == 'train'):
      raise ValueError(
        f'{root} has {len(names)} folders for one part: {", ".join(names)}; '
        'allowed is one.'
      )
  flat = [n for n in named['train'] if n not in sorted_ones]
  return Splits(
    sorted_ones[0] if sorted_ones else None,
    flat[0] if flat else None,
    (*named['test'], *named['val']),
  )
