"""Networks in words: `vgg11:norm=batch` is what `networks.build` takes.

A word is a name of `dcjax.networks` with `:option=value` parts; `resnet18`,
`resnetap10`, `convnet4` and the like are short for a depth.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dcjax import networks
from dcjax.utils import check_choice

_NUMBERED = re.compile(r'(resnet|resnetap|convnet)([0-9]+)')


def parse_networks(words: Sequence[str]) -> dict[str, dict[str, Any]]:
  """Reads networks from a command line.

  Args:
    words: such as `'convnet:width=64:depth=2:norm=batch'`.

  Returns:
    For each word, what `networks.build` takes.

  Raises:
    ValueError: if a name or option is unknown (lists the known ones), or a
      value has the wrong type.

  Example:
    >>> parse_networks(['mlp:depth=1'])
    {'mlp:depth=1': {'name': 'mlp', 'depth': 1, 'width': 128}}
  """
  if not words:
    raise ValueError('networks: must name at least one network')
  return {word: resolve(parse_network(word)) for word in words}


def parse_network(word: str) -> dict[str, Any]:
  """Reads one network; options that the word leaves out are left out.

  Args:
    word: such as `'vgg11:norm=batch'`.

  Raises:
    ValueError: see `parse_networks`.

  Example:
    >>> parse_network('resnet18:norm=batch')
    {'name': 'resnet', 'depth': 18, 'norm': 'batch'}
  """
  name, *parts = word.split(':')
  spec = _spelled_out({'name': name})
  _options(spec['name'])
  options = {}
  for part in parts:
    option, equals, text = part.partition('=')
    if not equals:
      raise ValueError(f'network {word!r}: {part!r} must be option=value')
    default = _options(spec['name'], option)[option]
    options[option] = _typed(option, text, default)
  return {**spec, **options}


def _typed(option, text, default):
  kind = int if default is None else type(default)
  try:
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    return kind(text)
  except (KeyError, ValueError) as error:
    raise ValueError(
      f'network option {option}={text}: must be {kind.__name__}'
    ) from error


def resolve(spec: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a network's description with every option that it can have.

  Args:
    spec: what `networks.build` takes; a depth may be part of the name
      (`resnet18`), and `{'name': 'own'}` stays as it is.

  Raises:
    ValueError: if the name or an option is unknown; lists the known ones.
  """
  options = _spelled_out(spec)
  name = options.pop('name')
  known = _options(name, *options)
  return {'name': name, **known, **options}


def _spelled_out(spec):
  """Moves a depth from the name to the options: `resnet18`."""
  options = dict(spec)
  name = options.pop('name', None)
  numbered = _NUMBERED.fullmatch(str(name))
  if numbered:
    base, depth = numbered[1].removesuffix('ap'), int(numbered[2])
    averaged = {'average_pooling': True} if numbered[1] != base else {}
    name, options = base, {'depth': depth, **averaged, **options}
  return {'name': name, **options}


def _options(name, *asked):
  """The options of a network and their defaults; `asked` must be among them."""
  if name == 'own':
    known = {}
  else:
    check_choice('network', name, (*networks.names(), 'resnet18', 'own'))
    parameters = list(
      inspect.signature(getattr(networks, name)).parameters.values()
    )
    known = {p.name: p.default for p in parameters[2:]}
  for option in asked:
    if option not in known:
      raise ValueError(
        f'network {name!r} has no option {option!r}: it takes {list(known)}'
      )
  return known
