"""Networks in words: `vgg11:norm=batch` is what `networks.build` takes."""

import re
from collections.abc import Mapping
from typing import Any

from dcjax import specs
from dcjax.networks._registry import factory, names
from dcjax.utils import check_choice

_NUMBERED = re.compile(r'(resnet|resnetap|convnet)([0-9]+)')


def parse(field: str, word: str) -> specs.Spec:
  """Reads a network; options that the word leaves out are left out.

  Args:
    field: that holds the word, for messages.
    word: a name of `networks.names()` with `:option=value` parts; `resnet18`,
      `resnetap10`, `convnet4` and the like are short for a depth.

  Raises:
    ValueError: if a name or option is unknown (lists the known ones), or a
      value has the wrong type.

  Example:
    >>> parse('network', 'resnet18:norm=batch')
    {'name': 'resnet', 'depth': 18, 'norm': 'batch'}
  """
  spec = specs.parse(field, word)
  numbered = _NUMBERED.fullmatch(spec['name'])
  if numbered:
    base, depth = numbered[1].removesuffix('ap'), int(numbered[2])
    averaged = {'average_pooling': True} if numbered[1] != base else {}
    own = {n: v for n, v in spec.items() if n != 'name'}
    spec = {'name': base, 'depth': depth, **averaged, **own}
  known = options(field, spec)
  several = specs.several(factory(spec['name']))
  specs.check(field, spec, known, several=several)
  return spec


def options(field: str, spec: Mapping[str, Any]) -> dict[str, Any]:
  """The options of a network and their defaults.

  Args:
    field: that names the network, for messages.
    spec: `{'name': ...}`.

  Raises:
    ValueError: if the name is unknown; lists the known ones.
  """
  check_choice(field, spec['name'], (*names(), 'resnet18', 'convnet4'))
  return specs.options_of(factory(spec['name']), 2)


def complete(field: str, word: str) -> dict[str, Any]:
  """Reads a network; options that are left out have their defaults.

  Args:
    field: see `parse`.
    word: see `parse`.

  Returns:
    What `networks.build` takes; options without a value are left to it.

  Raises:
    ValueError: see `parse`.
  """
  spec = parse(field, word)
  whole = {**options(field, spec), **spec}
  return {n: v for n, v in whole.items() if v is not None}
