"""Words, specs and the factories that they name.

A word is what people write, `'convnet:width=32:norm=batch'`; a spec is what
files hold, `{'name': 'convnet', 'width': 32, 'norm': 'batch'}`; a factory takes
its options as keyword arguments. Networks, formations, data sets, starts and
every choice of a config are said this way.
"""

import ast
import inspect
import numbers
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Spec = dict[str, Any]

# Options that hold names, which may look like numbers.
_NAMES = ('classes',)


def parse(field: str, word: str) -> Spec:
  """Reads a word.

  Args:
    field: that holds it, for messages.
    word: a name with `:option=value` parts. Parts without `=` belong to the
      name, as in `'tfds:mnist:3.0.1'`.

  Returns:
    The spec; a value that is no Python literal is text.

  Raises:
    ValueError: if the name is missing, or an option comes before a part of it.

  Example:
    >>> parse('formation', 'uniform:factor=2')
    {'name': 'uniform', 'factor': 2}
  """
  name, options = [], {}
  for part in str(word).split(':'):
    option, equals, text = part.partition('=')
    if not equals and not options:
      name.append(part)
    elif equals and option:
      options[option] = text if option in _NAMES else literal(text)
    else:
      raise ValueError(f'{field} {word!r}: {part!r} must be option=value')
  if not name or not name[0]:
    raise ValueError(f'{field} {word!r}: must begin with a name')
  return {'name': ':'.join(name), **options}


def literal(text: str) -> Any:
  """Reads a value of a command line; what is no Python literal is text.

  Example:
    >>> literal('0.5'), literal('true'), literal('batch')
    (0.5, True, 'batch')
  """
  if text.lower() in ('true', 'false'):
    text = text.lower().capitalize()
  try:
    return ast.literal_eval(text)
  # The last two of what is nested too deeply.
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return text


def names(text: str) -> tuple[str, ...]:
  """Reads names between commas or plus signs, in brackets and quotes or not.

  Example:
    >>> names('cat,dog'), names("('10', '2')")
    (('cat', 'dog'), ('10', '2'))
  """
  text = text.strip()
  if text[:1] + text[-1:] in ('()', '[]'):
    text = text[1:-1].strip().removesuffix(',')
  return tuple(n.strip().strip('\'"') for n in re.split('[+,]', text))


def word(spec: Mapping[str, Any]) -> str:
  """Returns the word of a spec; `parse` reads it back.

  Example:
    >>> word({'name': 'uniform', 'factor': 2})
    'uniform:factor=2'
  """
  options = [
    f'{n}={v if isinstance(v, str) else str(v).replace(" ", "")}'
    for n, v in spec.items()
    if n != 'name'
  ]
  return ':'.join([spec['name'], *options])


def options_of(factory: Callable[..., Any], skip: int = 0) -> Spec:
  """Returns the options of a factory with their defaults.

  A parameter whose default is a record stands for the fields of that.

  Args:
    factory: any function.
    skip: positional parameters in front that are no options.
  """
  options: Spec = {}
  for parameter in list(inspect.signature(factory).parameters.values())[skip:]:
    default = parameter.default
    record = hasattr(default, '_asdict')
    options |= default._asdict() if record else {parameter.name: default}
  return options


def several(factory: Callable[..., Any]) -> tuple[str, ...]:
  """Returns the numbers that may be a tuple as well, one for each layer."""
  parameters = inspect.signature(factory).parameters.items()
  return tuple(
    name
    for name, parameter in parameters
    if isinstance(parameter.default, int | float)
    and 'tuple' in str(parameter.annotation)
  )


def arguments(factory: Callable[..., Any], options: Mapping[str, Any]) -> Spec:
  """Returns keyword arguments in which fields of records are put into these.

  Args:
    factory: any function.
    options: see `options_of`; unknown ones stay as they are.
  """
  left = dict(options)
  for name, parameter in inspect.signature(factory).parameters.items():
    if hasattr(parameter.default, '_asdict'):
      record = left.get(name, parameter.default)
      own = {n: left.pop(n) for n in record._fields if n in left}
      left[name] = record._replace(**own)
  return left


def check(
  field: str,
  spec: Mapping[str, Any],
  known: Mapping[str, Any],
  *,
  offered: Sequence[str] = (),
  several: Sequence[str] = (),
) -> None:
  """Checks that options exist and have the type of their defaults.

  Args:
    field: that holds the spec, for messages.
    spec: `{'name': ..., option: value, ...}`.
    known: option -> default; one without a value takes anything.
    offered: options that messages list; all known ones by default.
    several: options that may be a tuple of what their default is.

  Raises:
    ValueError: naming the field, the option and what is allowed.
  """
  for option, value in spec.items():
    if option == 'name':
      continue
    if option not in known:
      raise ValueError(
        f'{field} {spec["name"]!r} has no option {option!r}: it takes '
        f'{list(offered or known)}'
      )
    default = known[option]
    if default is None or default is inspect.Parameter.empty:
      continue
    layered = option in several and isinstance(value, tuple | list)
    if not all(_fits(v, default) for v in (value if layered else (value,))):
      raise ValueError(
        f'{field} {spec["name"]!r}: {option}={value} must be '
        f'{type(default).__name__}'
      )


def _fits(value, default):
  if isinstance(default, bool) or isinstance(value, bool):
    return isinstance(value, bool) and isinstance(default, bool)
  if isinstance(default, float):
    return isinstance(value, numbers.Real)
  if isinstance(default, int):
    return isinstance(value, numbers.Integral)
  if isinstance(default, tuple):
    return isinstance(value, tuple | list)
  return isinstance(value, type(default))


def call(
  field: str,
  factories: Mapping[str, Callable[..., Any]],
  spec: Mapping[str, Any] | str,
  *args: Any,
) -> Any:
  """Calls the factory that `spec['name']` names with the rest of `spec`.

  Args:
    field: what is built, for messages: `'network'`, `'formation'`, ...
    factories: name -> factory; options are keyword arguments.
    spec: `{'name': ..., option: value, ...}`, or the same as a word, see
      `parse`.
    *args: positional arguments passed on.

  Raises:
    ValueError: if the name or an option is unknown, an option is missing or of
      another type than its default; lists the known ones.
  """
  spec = parse(field, spec) if isinstance(spec, str) else spec
  options = dict(spec)
  name = options.pop('name', None)
  if name not in factories:
    raise ValueError(f'{field} {name!r}: must be one of {sorted(factories)}')
  known = options_of(factories[name], len(args))
  check(field, spec, known, several=several(factories[name]))
  for option, default in known.items():
    if default is inspect.Parameter.empty and option not in options:
      raise ValueError(f'{field} {name!r}: option {option!r} is missing')
  return factories[name](*args, **arguments(factories[name], options))
