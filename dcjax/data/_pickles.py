"""Pickles of containers and arrays, read without unpickling.

A pickle is a program; `pickle` runs it, and even with few functions allowed it
builds objects from what the file says. Here its steps are followed with plain
Python values, and the few that make arrays are recognised.
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

_DTYPES = frozenset(f'{kind}{size}' for kind in 'iuf' for size in (1, 2, 4, 8))
_MOST_STEPS = 2**22
_MARK = object()
_Spend = Callable[[int], None]


class _Global(NamedTuple):
  """A name that the pickle asks for, not imported."""

  module: str
  name: str


class _Made(NamedTuple):
  """What a function that stands for arrays or dtypes was called with."""

  what: str  # 'dtype', or 'array', which waits for its state
  args: tuple


# Old and new NumPy, by what is needed of them.
_KNOWN = {
  _Global('numpy', 'ndarray'): 'ndarray',
  _Global('numpy', 'dtype'): 'dtype',
  _Global('_codecs', 'encode'): 'encode',
  _Global('numpy.core.multiarray', '_reconstruct'): 'array',
  _Global('numpy._core.multiarray', '_reconstruct'): 'array',
  _Global('numpy.core.numeric', '_frombuffer'): 'frombuffer',
  _Global('numpy._core.numeric', '_frombuffer'): 'frombuffer',
}


def loads(content: bytes) -> Any:
  """Returns the value of a pickle of dicts, lists, tuples, texts and arrays.

  Texts of Python 2 become bytes. Memory is bounded by the file's size.

  Args:
    content: of the file.

  Raises:
    ValueError: it is damaged, or holds anything else.
  """
  stack: list[Any] = []
  memo: dict[int, Any] = {}
  left = 2 * len(content)

  def spend(count):
    nonlocal left
    left -= count
    if left < 0:
      raise ValueError('it makes more bytes than it has')

  for steps, (opcode, arg, _) in enumerate(pickletools.genops(content)):
    if steps > _MOST_STEPS:
      raise ValueError(f'it has more than {_MOST_STEPS} steps')
    if opcode.name == 'STOP':
      if len(stack) != 1:
        raise ValueError('it ends in the middle')
      return stack[0]
    _step(opcode.name, arg, stack, memo, spend)
  raise ValueError('it has no end')


def _step(name: str, arg: Any, stack: list, memo: dict, spend: _Spend) -> None:
  """Follows one step of a pickle."""
  if name in _VALUES:
    stack.append(_VALUES[name](arg))
  elif name in _MAKERS:
    stack.append(_MAKERS[name](stack))
  elif name in ('REDUCE', 'BUILD'):
    last, first = stack.pop(), stack.pop()
    made = (_called if name == 'REDUCE' else _built)(first, last)
    spend(len(made) if isinstance(made, bytes) else getattr(made, 'nbytes', 0))
    stack.append(made)
  elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
    memo[arg] = stack[-1]
  elif name == 'MEMOIZE':
    memo[len(memo)] = stack[-1]
  elif name in ('GET', 'BINGET', 'LONG_BINGET'):
    stack.append(memo[arg])
  elif name not in ('PROTO', 'FRAME'):
    raise ValueError(f'it has the step {name}, which plain arrays do not need')


def _above_mark(stack: list) -> list:
  """Takes what lies above the last mark off the stack, and the mark."""
  items = []
  while (item := stack.pop()) is not _MARK:
    items.append(item)
  return items[::-1]


def _appended(items: list, stack: list) -> list:
  target = stack.pop()
  if type(target) is not list:
    raise ValueError('it appends to what is no list')
  target.extend(items)
  return target


def _filled(items: list, stack: list) -> dict:
  target = stack.pop()
  if type(target) is not dict or len(items) % 2:
    raise ValueError('it fills what is no dict')
  target.update(_paired(items))
  return target


def _paired(items: list) -> dict:
  keys = items[::2]
  if not all(isinstance(key, (str, bytes, int)) for key in keys):
    raise ValueError('it has keys that are no texts')
  return dict(zip(keys, items[1::2], strict=True))


def _pops(count: int) -> Callable[[list], tuple]:
  return lambda stack: tuple([stack.pop() for _ in range(count)][::-1])


def _global(text: str) -> _Global:
  module, _, name = text.partition(' ')
  known = _KNOWN.get(_Global(module, name))
  if known is None:
    raise ValueError(
      f'it asks for {module}.{name}, which plain arrays do not need'
    )
  return _Global('known', known)


def _called(function: Any, args: Any) -> Any:
  """What REDUCE gives, for the functions that make arrays."""
  if type(function) is not _Global or type(args) is not tuple:
    raise ValueError('it calls what is no function')
  if function.name == 'encode' and len(args) == 2:
    text, encoding = args
    if encoding not in ('latin1', b'latin1') or not isinstance(text, str):
      raise ValueError(f'it asks for the encoding {encoding!r}')
    return text.encode('latin1')
  if function.name == 'frombuffer' and len(args) == 4:
    content, dtype, shape, order = args
    return _array(shape, dtype, order in ('F', b'F'), content)
  if function.name in ('dtype', 'array'):
    return _Made(function.name, args)
  raise ValueError(f'it calls {function.name} with {len(args)} arguments')


def _built(made: Any, state: Any) -> Any:
  """What BUILD gives: an array of its state; a dtype of its byte order."""
  if type(made) is not _Made or type(state) is not tuple:
    raise ValueError('it changes what is no array')
  if made.what == 'dtype':
    return _Made('dtype', (*made.args[:1], *state[1:2]))
  if len(state) != 5:
    raise ValueError(f'an array has {len(state)} parts of state')
  return _array(state[1], state[2], bool(state[3]), state[4])


def _array(shape: Any, dtype: Any, fortran: bool, content: Any) -> np.ndarray:
  if type(dtype) is not _Made or dtype.what != 'dtype' or not dtype.args:
    raise ValueError('an array has no dtype')
  code, order = (*(_text(a) for a in dtype.args), '|')[:2]
  if code not in _DTYPES or order not in ('<', '>', '|', '='):
    raise ValueError(f'an array has dtype {order}{code}')
  sizes = isinstance(shape, tuple) and all(
    type(n) is int and n >= 0 for n in shape
  )
  kind = np.dtype(code).newbyteorder('=' if order == '|' else order)
  if (
    not sizes
    or not isinstance(content, (bytes, bytearray))
    or math.prod(shape) * kind.itemsize != len(content)
  ):
    raise ValueError(f'an array of shape {shape} has other bytes than it needs')
  array = np.frombuffer(bytes(content), kind)
  return array.reshape(shape, order='F' if fortran else 'C')


def _text(value: Any) -> str:
  return value.decode('latin1') if isinstance(value, bytes) else str(value)


def _latin1(text: str) -> bytes:
  return text.encode('latin1')


def _same(value: Any) -> Any:
  return value


_VALUES: dict[str, Callable[[Any], Any]] = {
  'MARK': lambda _: _MARK,
  'NONE': lambda _: None,
  'NEWTRUE': lambda _: True,
  'NEWFALSE': lambda _: False,
  'EMPTY_DICT': lambda _: {},
  'EMPTY_LIST': lambda _: [],
  'EMPTY_TUPLE': lambda _: (),
  'GLOBAL': _global,
  **dict.fromkeys(('STRING', 'BINSTRING', 'SHORT_BINSTRING'), _latin1),
  **dict.fromkeys(
    (
      *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4'),
      *('FLOAT', 'BINFLOAT', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE'),
      *('BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
    ),
    _same,
  ),
}
_MAKERS: dict[str, Callable[[list], Any]] = {
  'DICT': lambda stack: _paired(_above_mark(stack)),
  'LIST': _above_mark,
  'TUPLE': lambda stack: tuple(_above_mark(stack)),
  'TUPLE1': _pops(1),
  'TUPLE2': _pops(2),
  'TUPLE3': _pops(3),
  'APPEND': lambda stack: _appended([stack.pop()], stack),
  'APPENDS': lambda stack: _appended(_above_mark(stack), stack),
  'SETITEM': lambda stack: _filled(list(_pops(2)(stack)), stack),
  'SETITEMS': lambda stack: _filled(_above_mark(stack), stack),
  'STACK_GLOBAL': lambda stack: _global(' '.join(map(_text, _pops(2)(stack)))),
}
