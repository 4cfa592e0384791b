"""JSON records: written whole or not at all, read strictly."""

import json
import math
import os
from typing import Any

from dcjax import files

_MOST_BYTES = 2**26  # which may take twenty times as many in memory
# As evaluations and applications call accuracies.
_ACCURACIES = (
  'accuracy accuracy_mean accuracy_std best_mean best_std per_seed_best '
  'per_seed_last'
)
_BY_CLASS = 'by_class'  # None for a class without test images


def write(path: files.AnyPath, value: Any) -> None:
  """Writes a JSON record, whole or not at all.

  Example:
    records.write('results.json', {'accuracy': 0.974})

  Args:
    path: of the file.
    value: of dicts with text keys, lists, tuples, texts, bools, None and finite
      numbers.

  Raises:
    ValueError: `value` is no JSON, or holds NaN or an infinite number.
    OSError: the file cannot be written; an earlier one stays as it was.
  """
  text = encode(value, os.fspath(path))
  with files.replacing(path) as stream:
    stream.write(f'{text}\n'.encode())


def read(path: files.AnyPath) -> Any:
  """Reads a JSON record; what JSON does not know is damage.

  Args:
    path: of the file.

  Raises:
    OSError: there is no such file, or it cannot be read.
    ValueError: it is damaged: no JSON in UTF-8, a name twice, NaN, a number
      that is infinite or beyond float64, or above 64 MiB.
  """
  with files.opened(path) as stream:
    content = stream.read(_MOST_BYTES + 1)
  if len(content) > _MOST_BYTES:
    raise ValueError(f'{os.fspath(path)}: is above {_MOST_BYTES} bytes')
  return decode(content, os.fspath(path))


def encode(value: Any, place: str) -> str:
  """Returns JSON text with sorted names that `decode` reads as it was.

  Args:
    value: see `write`; tuples become lists.
    place: for messages.

  Raises:
    ValueError: as `write`.
  """
  _check(value, place)
  try:
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    text.encode()
  except (TypeError, ValueError, RecursionError) as error:
    raise ValueError(
      f'{place}: is no JSON ({files.one_line(error)})'
    ) from error
  return text


def decode(
  content: bytes, place: str, remedy: str = 'delete it to make it again'
) -> Any:
  """Returns the value of JSON text, see `read`.

  Args:
    content: UTF-8.
    place: for messages.
    remedy: for messages.

  Raises:
    ValueError: as `read`.
  """
  try:
    return json.loads(
      content.decode(),
      parse_constant=_refuse,
      parse_float=_finite,
      object_pairs_hook=_once,
    )
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f'{place}: is damaged ({files.one_line(error)}); {remedy}'
    ) from error


def check_accuracies(value: Any, place: str) -> None:
  """Refuses a record of results whose accuracies are none.

  Args:
    value: as `read` returns it.
    place: for messages.

  Raises:
    ValueError: an accuracy, or what lies below one, is no number in [0, 1].
  """
  if isinstance(value, list):
    for child in value:
      check_accuracies(child, place)
  elif isinstance(value, dict):
    for name, child in value.items():
      # Other measures have a mean, too, but not of seeds.
      mean = name in ('last_mean', 'last_std') and 'per_seed_last' in value
      if name == _BY_CLASS and isinstance(child, list):
        child = [c for c in child if c is not None]
      if mean or name == _BY_CLASS or name in _ACCURACIES.split():
        _check_fractions(child, f'{place}: is damaged ({name}')
      else:
        check_accuracies(child, place)


def _check_fractions(value, place):
  if isinstance(value, list | dict):
    for child in value.values() if isinstance(value, dict) else value:
      _check_fractions(child, place)
  elif type(value) not in (int, float) or not 0 <= value <= 1:
    raise ValueError(
      f'{place} is {value!r}, allowed are fractions in 0..1); delete it to '
      'make it again'
    )


def _check(value, place):
  """Names are texts: json would turn others into texts, perhaps the same."""
  if isinstance(value, dict):
    for name, child in value.items():
      if not isinstance(name, str):
        raise ValueError(f'{place}: has the name {name!r}; allowed are texts')
      _check(child, f'{place}: {name}')
  elif isinstance(value, (list, tuple)):
    for child in value:
      _check(child, place)
  elif isinstance(value, float) and not math.isfinite(value):
    raise ValueError(f'{place}: holds {value}; allowed are finite numbers')


def _refuse(text):
  raise ValueError(f'it holds {text}, which is no JSON')


def _finite(text):
  value = float(text)
  if not math.isfinite(value):
    raise ValueError(f'it holds {text}, which is infinite')
  return value


def _once(pairs):
  value = dict(pairs)
  if len(value) < len(pairs):
    raise ValueError('it holds a name twice')
  return value
