"""Which files of a folder belong to which class and part of a data set.

The one reader of layouts, for pictures and sounds. Every subfolder is used, or
named in an error or a note; only litter is passed over without a word.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from dcjax.data import _splits
from dcjax.data._listing import (
  ANNOTATIONS,
  SHOWN,
  Kind,
  Listing,
  kinds,
  listed,
  outside,
  some,
  walk,
)

ByClass = tuple[tuple[pathlib.Path, ...], ...]


class Layout(NamedTuple):
  """The files of a data set.

  Attributes:
    classes: C names.
    train: C tuples of files, sorted in each.
    test: as `train`, or None if the folder has no test part.
    notes: sentences about what was left out.
  """

  classes: tuple[str, ...]
  train: ByClass
  test: ByClass | None
  notes: tuple[str, ...]


def read(
  root: pathlib.Path,
  kind: Kind,
  classes: Sequence[str] | None = None,
  *,
  known: Sequence[str] = (),
  needs_test: bool = False,
) -> Layout:
  """Finds classes, training files and test files.

  Layouts: `train/<class>/...` with a part for testing or validation beside it,
  in any usual spelling, or `<class>/...`. The part may be sorted into class
  folders, or be Tiny-ImageNet's with `val_annotations.txt`. Files lie at any
  depth below a class folder; links are followed.

  Args:
    root: the folder.
    kind: of the files.
    classes: class folders to use, in label order; all, sorted, by default.
      Given, they are taken for classes whatever they look like.
    known: label order of a set whose class folders are just these.
    needs_test: whether a missing test part is an error.

  Raises:
    ValueError: the folder is in no such layout, a class has no file, or is
      unknown; says what was found and what is to be done.
  """
  top = listed(root)
  splits = _splits.find(
    top.path, top.folders, lambda p: bool(listed(p).folders)
  )
  _check_flat(top, splits, kind, classes)
  if splits.train is None:
    if needs_test:
      raise ValueError(f'{root} has no folder train with class folders')
    return _without_splits(top, splits, kind, classes, known)
  train = listed(root / splits.train)
  chosen = _chosen(train, kind, classes, known)
  if classes is None:
    _check_plausible(train, kind)
  notes = outside(top, [splits.train, *splits.held_out], kind)
  notes += outside(train, train.folders, kind)
  test, more = _test_split(top, splits, kind, chosen, classes is None)
  if test is None and needs_test:
    raise ValueError(
      f'{root} has no folder val or test with class folders, and a published '
      f'set has a test part of its own; put it into {root / "val"}/<class>'
    )
  paths, left_out = _by_class(train.path, chosen, kind)
  return Layout(chosen, paths, test, (*notes, *left_out, *more))


def _without_splits(top, splits, kind, classes, known) -> Layout:
  """The layout `<class>/...`."""
  chosen = _chosen(top, kind, classes, known)
  if classes is None:
    _check_plausible(top, kind)
  paths, left_out = _by_class(top.path, chosen, kind)
  notes = outside(top, top.folders, kind)
  named = [f for f in (splits.flat_train, *splits.held_out) if f]
  for name in named:
    what = 'is taken for a class' if name in chosen else 'is not used'
    notes += (f'{top.path / name}: {what}, it has no class folders',)
  return Layout(chosen, paths, None, (*notes, *left_out))


def _by_class(
  folder: pathlib.Path, classes: Sequence[str], kind: Kind
) -> tuple[ByClass, tuple[str, ...]]:
  """Returns the files of every class, and what was left out there."""
  found, left_out, others = [], [], []
  for name in classes:
    # A link back to where the classes lie would read them again.
    files, passed = walk(folder / name, frozenset([os.path.realpath(folder)]))
    mine = tuple(p for p in files if kind.fits(p))
    rest = [p for p in files if not kind.fits(p)]
    if not mine:
      more = f' ({kinds(rest)} are there)' if rest else ''
      raise ValueError(
        f'class folder {folder / name} holds no file of the kinds '
        f'{" ".join(sorted(kind.suffixes))}{more}; at least one is needed.'
      )
    found.append(mine)
    left_out += rest
    others += passed
  notes = []
  if left_out:
    notes.append(
      f'{folder}: left out {len(left_out)} files in class folders that are no '
      f'{kind.name} ({kinds(left_out)})'
    )
  if others:
    notes.append(f'{folder}: left out {some(others, folder)}')
  return tuple(found), tuple(notes)


def _test_split(
  top: Listing,
  splits: _splits.Splits,
  kind: Kind,
  classes: Sequence[str],
  every: bool,
) -> tuple[ByClass | None, tuple[str, ...]]:
  """Returns the files of the part to test on, and notes about the others."""
  used, test, notes = None, None, []
  unsorted = []
  for name in splits.held_out:
    part = listed(top.path / name)
    labelled = set(part.folders) & set(classes)
    annotated = ANNOTATIONS in part.files
    if used is None and (labelled or annotated):
      used = name
      read = _sorted_part if labelled else _annotated_part
      test, more = read(part, kind, classes, every)
      notes += more
      continue
    count = sum(kind.fits(p) for p in walk(part.path)[0])
    if count and not (labelled or annotated):
      unsorted.append(name)
    notes.append(
      f'{part.path}: is not used ({count} {kind.name}'
      f'{"" if labelled or annotated else " without class folders"})'
    )
  if test is None and unsorted:
    raise ValueError(
      f'{top.path / unsorted[0]} holds {kind.name} that are not in class '
      f'folders named as those of {splits.train}: sort them into '
      f'{top.path / unsorted[0]}/<class> (allowed are {list(classes[:SHOWN])}'
      f'{" ..." if len(classes) > SHOWN else ""}), or move the folder away to '
      f'hold out a part of {splits.train}.'
    )
  if test is None:
    _check_hints(top, splits)
  return test, tuple(notes)


def _check_hints(top: Listing, splits: _splits.Splits) -> None:
  """Refuses to hold out a part where a folder may be meant for testing."""
  used = (splits.train, *splits.held_out)
  for name in top.folders:
    if name not in used and _splits.hints(name):
      raise ValueError(
        f'{top.path / name} looks like a part of a set: call it test to test '
        f'on it, or move it away to hold out a part of {splits.train}.'
      )


def _sorted_part(part, kind, classes, every):
  missing = [c for c in classes if c not in part.folders]
  if missing:
    raise _unknown(missing, part)
  extra = [part.path / f for f in part.folders if f not in classes]
  notes = outside(part, part.folders, kind)
  if extra and every:
    notes += (
      f'{part.path}: left out {some(extra, part.path)}, which the training '
      'part does not have',
    )
  paths, left_out = _by_class(part.path, classes, kind)
  return paths, notes + left_out


def _annotated_part(part, kind, classes, every):
  """Tiny-ImageNet's: `images/NAME` and lines `NAME<tab>CLASS<tab>...`."""
  del every
  path = part.path / ANNOTATIONS
  lines = path.read_text('utf-8', 'replace').splitlines()
  pairs = [line.split('\t')[:2] for line in lines if line.strip()]
  if not all(len(pair) == 2 for pair in pairs):
    raise ValueError(f'{path}: allowed are lines NAME<tab>CLASS<tab>...')
  class_of = dict(pairs)
  files, _ = walk(part.path)
  mine = [p for p in files if kind.fits(p)]
  unnamed = [p for p in mine if p.name not in class_of]
  lost = sorted(set(class_of) - {p.name for p in mine})
  if unnamed or lost or len(class_of) < len(pairs) or len(mine) < len(pairs):
    raise ValueError(
      f'{path}: names {len(pairs)} files where {len(mine)} are, '
      f'{len(unnamed)} without a class and {len(lost)} missing '
      f'({some([*unnamed, *(pathlib.Path(n) for n in lost)], part.path)}).'
    )
  found = tuple(
    tuple(p for p in mine if class_of[p.name] == name) for name in classes
  )
  if not any(found):
    raise ValueError(f'{path}: names no file of the classes {classes[:SHOWN]}')
  return found, ()


def _chosen(
  where: Listing,
  kind: Kind,
  classes: Sequence[str] | None,
  known: Sequence[str],
) -> tuple[str, ...]:
  """Returns `classes`, or all subfolder names, as the class names."""
  present = where.folders
  if classes is None and known and set(present) == set(known):
    return tuple(known)
  chosen = tuple(present if classes is None else classes)
  # One that is asked for may begin with an underscore.
  missing = [c for c in chosen if c not in (*present, *where.others)]
  if missing:
    raise _unknown(missing, where)
  if not chosen or len(set(chosen)) < len(chosen):
    loose = sum(kind.fits(name) for name in where.files)
    more = f' ({loose} {kind.name} lie in it without one)' if loose else ''
    raise ValueError(
      f'classes of {where.path} are {list(chosen)}{more}; allowed is one '
      'folder per class, at least one, none twice.'
    )
  if classes is None and len(chosen) == 1:
    below = where.path / chosen[0]
    hint = (
      f'did you mean {below}'
      if listed(below).folders
      else (f'classes=({chosen[0]!r},) takes one on purpose')
    )
    raise ValueError(
      f'found 1 class, {chosen[0]!r}, in {where.path}; at least 2 are needed: '
      f'{hint}?'
    )
  return chosen


def _check_flat(top, splits, kind, classes) -> None:
  """Refuses folders named as splits among, or instead of, class folders."""
  if splits.train is not None or classes is not None:
    return
  if not splits.held_out:
    if splits.flat_train and len(top.folders) == 1:
      raise ValueError(
        f'{top.path / splits.flat_train} holds {kind.name} without class '
        f'folders; allowed is {top.path / splits.flat_train}/<class>/...'
      )
    return
  name = splits.held_out[0]
  what = (
    'but there is no folder train with class folders'
    if splits.flat_train or set(top.folders) == set(splits.held_out)
    else f'but {top.folders[0]} and others lie beside it'
  )
  raise ValueError(
    f'{top.path / name} looks like a part for testing, {what}; allowed are '
    f'{top.path}/train/<class> beside it, or classes=(...), which takes '
    f'folders for classes whatever they are called.'
  )


def _check_plausible(top: Listing, kind: Kind) -> None:
  """Refuses folders that look like splits of a set taken for its classes."""
  inside = {name: listed(top.path / name) for name in top.folders}
  remedy = (
    f'allowed are {top.path}/train/<class> and {top.path}/test/<class>; '
    'classes=(...) takes folders for classes whatever they hold.'
  )
  for name, listing in inside.items():
    named = tuple(f for f in listing.folders if _splits.role_of(f))
    nested = listing.folders and not any(map(kind.fits, listing.files))
    if named or (nested and _splits.hints(name)):
      raise ValueError(
        f'{listing.path} would be a class, but {(*named, name)[0]!r} looks '
        f'like a part of a set; {remedy}'
      )
  if len(inside) < 2:
    return
  below = [
    set(listing.folders)
    for listing in inside.values()
    if not any(map(kind.fits, listing.files))
  ]
  shared = set.intersection(*below) if len(below) == len(inside) else set()
  if len(shared) > 1:
    raise ValueError(
      f'{some([top.path / n for n in inside], top.path)} would be classes, '
      f'but each holds the same folders {sorted(shared)[:SHOWN]}: are these '
      f'the classes? {remedy}'
    )


def _unknown(missing: Sequence[str], where: Listing) -> ValueError:
  present = list(where.folders)
  hint = ''
  if {_splits.look(n) for n in missing} & {_splits.look(n) for n in present}:
    hint = '; they look alike, but case or accents are stored otherwise: rename'
  return ValueError(
    f'classes {missing[:20]} have no folder in {where.path}; allowed are '
    f'{present[:20]}{" ..." if len(present) > 20 else ""}{hint}.'
  )
