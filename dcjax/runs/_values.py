"""Values of fields, from command lines and from Python."""

from typing import Any

from dcjax import specs

_LONGEST = 2000  # characters of a text, elements of a tuple
_MOST_BITS = 128
_MOST_SHOWN = 200
# What a field takes, by its type.
ALLOWED = {
  bool: 'true or false',
  int: 'a whole number',
  float: 'a number',
  str: f'text of up to {_LONGEST} characters',
  tuple: "a tuple such as '(0.5, 1)'",
}


def read(field: str, value: Any, kind: type) -> Any:
  """Reads the value of a field; text is read as its kind.

  Raises:
    ValueError: naming the field, the value and what is allowed.
  """
  text = isinstance(value, str)
  try:
    _check_size(value)
    if kind is tuple:
      return _check_size(_read_tuple(value) if text else tuple(value))
    if kind is bool and text:
      return {'true': True, 'false': False}[value.lower()]
    if kind in (int, float) and text:
      return kind(value)
    if kind is float and type(value) is int:
      return float(value)
    if type(value) is kind:
      return value
  except (KeyError, OverflowError, SyntaxError, TypeError, ValueError):
    pass
  raise ValueError(
    f'config field {field!r}: is {_shown(value)}, must be {ALLOWED[kind]}'
  )


def _check_size(value):
  """Returns a value that a line can hold; ValueError of any other."""
  if isinstance(value, tuple | list):
    for element in value:
      _check_size(element)
    too_long = len(value) > _LONGEST
  elif isinstance(value, int):
    too_long = value.bit_length() > _MOST_BITS
  else:
    too_long = isinstance(value, str) and len(value) > _LONGEST
  if too_long:
    raise ValueError
  return value


def _shown(value):
  """A value in one line of bounded length."""
  try:
    text = ' '.join(repr(value).split())
  except ValueError:  # of a number with thousands of digits
    text = f'a {type(value).__name__} too long to show'
  return text if len(text) <= _MOST_SHOWN else f'{text[:_MOST_SHOWN]} ...'


def _read_tuple(text):
  """`'(0.5, 1)'`, or elements between commas or plus signs."""
  text = text.strip()
  if text[:1] in '([' and text[-1:] in ')]':
    text = text[1:-1]
  between = ',' if ',' in text else '+'
  parts = [part.strip().strip('\'"') for part in text.split(between)]
  return tuple(specs.literal(part) for part in parts if part)
