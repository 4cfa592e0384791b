"""Damaged files and drawn settings: a clear error, or the right answer.

  python -m pytest -m fuzz

A failure prints what repeats it: DCJAX_FUZZ_SEED, and the number of the case.
"""

import collections
import os
import pathlib
import resource
import signal
import time

import numpy as np
import pytest
from drawn_settings import draw, resolved
from files_read import kinds
from mutations import mutate

from dcjax import records
from dcjax.runs import _ranges, settings

# Threads of orbax that end after a damaged checkpoint.
pytestmark = pytest.mark.filterwarnings(
  'ignore::pytest.PytestUnraisableExceptionWarning'
)
_SEED = int(os.environ.get('DCJAX_FUZZ_SEED', '0'))
_MOST_SECONDS = 30  # of one case, on a busy machine
_MOST_BYTES = 2**31
_LONGEST = 2500  # characters of an error


class _TooSlow(BaseException):
  """Which no reader takes for damage."""


@pytest.fixture(autouse=True)
def alarm():
  """A case that takes too long ends."""

  def ring(number, frame):
    raise _TooSlow

  previous = signal.signal(signal.SIGALRM, ring)
  yield
  signal.setitimer(signal.ITIMER_REAL, 0)
  signal.signal(signal.SIGALRM, previous)


def _judged(read, said, right):
  """'refused' or 'right', else what `right` says or what is wrong.

  Args:
    read: what is tried.
    said: error's text -> whether it names what is damaged.
    right: what was read -> a sentence about it, or '' if it is right.
  """
  began = time.monotonic()
  signal.setitimer(signal.ITIMER_REAL, _MOST_SECONDS)
  try:
    found = read()
  except (ValueError, OSError) as error:
    text = str(error)
    if '\n' in text or len(text) > _LONGEST or not said(text):
      return f'unclear {type(error).__name__}: {text[:300]}'
    return 'refused'
  except _TooSlow:
    return f'took {time.monotonic() - began:.0f} s'
  except BaseException as error:
    return f'{type(error).__name__}: {error!s:.300}'
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
  return right(found) or 'right'


def _equal(found, whole):
  return found.keys() == whole.keys() and all(
    np.asarray(found[n]).dtype == np.asarray(whole[n]).dtype
    and np.array_equal(found[n], whole[n])
    for n in whole
  )


def _misformed(found, whole):
  """What cannot be, whatever the file says, else 'of the form'."""
  if found.keys() != whole.keys():
    return f'holds {sorted(found)}'
  for name, array in found.items():
    array, before = np.asarray(array), np.asarray(whole[name])
    if array.ndim != before.ndim or array.dtype.kind != before.dtype.kind:
      return f'{name} is {array.dtype} {array.shape}'
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
      return f'{name} is not finite'
  return 'of the form'


def _fuzz_files(root, count, seed):
  """Tries damaged files, kind after kind; returns counts and failures."""
  found = kinds(root)
  outcomes, failures = collections.Counter(), []
  whole = [kind.read() for kind in found]
  for number in range(count):
    kind, before = found[number % len(found)], whole[number % len(found)]
    content = kind.path.read_bytes()
    mutation = mutate(np.random.default_rng((seed, number)), content)
    exact = kind.sealed or (kind.checked and not mutation.crafted)

    def right(read, before=before, exact=exact):
      if _equal(read, before):
        return ''
      return 'silently another one' if exact else _misformed(read, before)

    names = (kind.path.name, *kind.words)
    tree = {p: p.read_bytes() for p in _around(kind.path)}
    kind.path.write_bytes(mutation.content)
    outcome = _judged(
      kind.read, lambda text, names=names: any(n in text for n in names), right
    )
    _restore(tree, kind.path)
    if outcome not in ('refused', 'right', 'of the form'):
      failures.append(f'case {number}, {kind.name}, {mutation.what}: {outcome}')
      outcome = 'failed'
    outcomes[outcome] += 1
  return outcomes, failures


def _around(path: pathlib.Path):
  """The file, and those of its run, which may be written."""
  folder = path.parent
  if not (folder / 'stages.json').exists():
    return [path]
  return [p for p in folder.rglob('*') if p.is_file()]


def _restore(tree, path):
  for place, content in tree.items():
    place.write_bytes(content)
  if (path.parent / 'stages.json').exists():
    for place in path.parent.rglob('*'):
      if place.is_file() and place not in tree:
        place.unlink()


def _fuzz_settings(count, seed):
  """Tries drawn settings; returns counts and failures."""
  outcomes, failures = collections.Counter(), []
  for number in range(count):
    drawn = draw(np.random.default_rng((seed, number)))
    names = list(drawn.changes)
    if drawn.argument.count('=') or not names:
      names = [
        part.partition('=')[0] for part in drawn.argument.split(',') if part
      ]
    words = {name.rpartition('.')[2] or name for name in names}
    outcome = _judged(
      lambda drawn=drawn: resolved(drawn),
      lambda text, words=words: any(word in text for word in words),
      lambda found, drawn=drawn: _unsettled(found, drawn),
    )
    if outcome not in ('refused', 'right'):
      failures.append(f'case {number}, {_shown(drawn)}: {outcome}')
      outcome = 'failed'
    outcomes[outcome] += 1
  return outcomes, failures


def _shown(drawn):
  try:
    return f'{drawn!r:.300}'
  except ValueError:  # of thousands of digits
    return f'{drawn.recipe} {drawn.argument} {list(drawn.changes)}'


def _unsettled(found, drawn):
  """What is wrong with settings that were taken."""
  values = settings.flat(found.config.to_dict())
  again = resolved(drawn)
  if records.encode(found.plain(), 'settings') != records.encode(
    again.plain(), 'settings'
  ):
    return 'differ when they are resolved again'
  _ranges.check(values)
  for field, value in drawn.changes.items():
    if isinstance(value, bool | int | float) and values[field] != value:
      return f'{field} became {values[field]!r}'
  return ''


def _report(what, outcomes, failures):
  print(f'{what}, DCJAX_FUZZ_SEED={_SEED}: {dict(outcomes)}')
  assert not failures, '\n'.join(failures)


def test_some_damaged_files(tmp_path):
  _report('files', *_fuzz_files(tmp_path, 62, _SEED))


@pytest.mark.fuzz
def test_damaged_files(tmp_path):
  _report('files', *_fuzz_files(tmp_path, 2000, _SEED + 2))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  print(f'peak memory {peak / 2**20:.0f} MiB')
  assert peak < _MOST_BYTES


def test_some_drawn_settings():
  _report('settings', *_fuzz_settings(60, _SEED))


@pytest.mark.fuzz
def test_drawn_settings():
  _report('settings', *_fuzz_settings(500, _SEED + 1))
