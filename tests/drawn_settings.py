"""Settings drawn at random, right and wrong, over all configs."""

import math
from typing import Any, NamedTuple

import numpy as np

from dcjax.runs import command, settings

# Configs whose first argument is no set of one's own choice.
_FIRST = {'table': 'idc_table1', 'tasks': 'mnist+usps,smoke'}
_WRONG: tuple[Any, ...] = (
  *(None, True, -1, 0, 3, 10**30, 0.5, -0.5, 1e308, math.nan, math.inf, 1j),
  *('', ' ', 'x', '3', '1e999', 'nan', '-1', '0x10', 'true', 'None', 'é\n\0'),
  *(
    '9' * 5000,
    10**5000,
    '(',
    '((',
    '()',
    '(1,',
    '1+2',
    'a:b',
    'a:b=',
    ':',
    '=',
    'x=(1',
  ),
  *('convnet:depth=9', 'convnet:width=1e9', 'mlp:width=-1', 'uniform:factor=0'),
  *('(0.5,1)', '(1,x)', '(nan,)', '[' * 3000, '-' * 3000 + '1', 'x' * 10**5),
  *((), (1,), ('x',), (math.nan,), ((1,),), (10**400,), [1], {}, {'a': 1}),
  *(b'x', object, np.float32(0.5), np.int64(3), np.ones(2), range(3)),
)


class Drawn(NamedTuple):
  """Settings that may be right.

  Attributes:
    recipe: name of the config.
    argument: of the config.
    changes: field -> value, or text.
  """

  recipe: str
  argument: str
  changes: dict[str, Any]


def fields_of(recipe: str) -> dict[str, Any]:
  """Dotted field -> value, of all fields of a config."""
  made = settings.make(recipe, _FIRST.get(recipe, 'digits,smoke'))
  return settings.flat(settings.resolve(made).config.to_dict())


def draw(rng: np.random.Generator) -> Drawn:
  """Returns one to three fields with values, as flags or in an argument."""
  recipe = str(rng.choice(command.names()))
  known = fields_of(recipe)
  known.pop('recipe')
  names = rng.choice(list(known), int(rng.integers(1, 4)), replace=False)
  changes = {str(n): _value(rng, known[str(n)]) for n in names}
  if rng.random() < 0.05:
    changes[str(rng.choice(['x', 'method', 'method.x', '.', 'seed.x']))] = 1
  argument = _FIRST.get(recipe, 'digits,smoke')
  plain = all(
    isinstance(v, str | float) or (isinstance(v, int) and v < 10**99)
    for v in changes.values()
  )
  if plain and rng.random() < 0.4:
    said = ','.join(f'{name}={value}' for name, value in changes.items())
    return Drawn(recipe, f'{argument},{said}', {})
  return Drawn(recipe, argument, changes)


def _value(rng, usual):
  """A value near the usual one, or anything."""
  if rng.random() < 0.5:
    return _WRONG[int(rng.integers(len(_WRONG)))]
  if isinstance(usual, bool):
    return bool(rng.integers(2))
  if isinstance(usual, int):
    return int(usual + rng.integers(-2, 3))
  if isinstance(usual, float):
    return float(usual * 10.0 ** rng.integers(-3, 3))
  if isinstance(usual, tuple) and usual:
    return tuple(rng.permutation(np.array(usual, object))[: len(usual) - 1])
  return usual


def resolved(drawn: Drawn) -> settings.Settings:
  """What becomes of drawn settings."""
  config = settings.make(drawn.recipe, drawn.argument)
  settings.set_fields(config, drawn.changes)
  return settings.resolve(config)
