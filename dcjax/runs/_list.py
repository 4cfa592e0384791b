"""What `list` prints: methods, data sets, networks, tables, fields."""

import difflib
from collections.abc import Sequence

from dcjax import data, networks
from dcjax.runs import settings, tables
from dcjax.runs._ending import say_error


def show(what: Sequence[str]) -> int:
  """Prints methods, data sets, networks and tables, or one config's page."""
  if what and what[0] in settings.names():
    print(settings.module(what[0]).__doc__.strip())
    return 0
  if what[:1] == ['fields']:
    from dcjax.runs import _reference

    print(_reference.page(settings.names()), end='')
    return 0
  if what:
    near = difflib.get_close_matches(what[0], settings.names(), 3, 0.4)
    meant = f'; did you mean {" or ".join(near)}?' if near else ''
    return say_error(f'list {what[0]!r}: no such config{meant}')
  print('configs (list NAME shows one):')
  for name in settings.names():
    title = (settings.module(name).__doc__ or '').strip().splitlines()[0]
    print(f'  {name:20} {title}')
  print('data sets:')
  for name, needs in sorted(data.list_sources().items()):
    print(f'  {name:20} {needs}')
  print('networks (with options, as convnet:width=32:norm=batch):')
  for name in networks.names():
    known = networks.options('network', {'name': name})
    print(f'  {name:20} {", ".join(known)}')
  print('tables (as table:NAME):')
  for name, title in tables.titles().items():
    print(f'  {name:20} {title}')
  return 0
