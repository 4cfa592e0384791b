"""What the command does besides runs: `list` and `export`."""

import difflib
import pathlib
from collections.abc import Sequence

from dcjax import artefact, data, networks
from dcjax.runs import settings, tables
from dcjax.utils import check_choice

# Word of `--as` -> `(path, artefact)`.
EXPORTS = {
  'ddranking': artefact.export_ddranking,
  'hub': artefact.export_hub,
  'idc': artefact.export_idc,
  'images': artefact.export_images,
  'uint8': lambda path, made: artefact.save(path, artefact.in_eight_bits(made)),
}


def listed(what: Sequence[str]) -> str:
  """Methods, data sets, networks and tables; or one config's page.

  Raises:
    ValueError: there is no such config; names what is near.
  """
  names = settings.names()
  if what and what[0] in names:
    return (settings.module(what[0]).__doc__ or '').strip()
  if what:
    near = difflib.get_close_matches(what[0], names, 3, 0.4)
    meant = f'; did you mean {" or ".join(near)}?' if near else ''
    raise ValueError(f'list {what[0]!r}: no such config{meant}')
  networks_of = {
    name: ', '.join(networks.options('network', {'name': name}))
    for name in networks.names()
  }
  groups = {
    'configs (list NAME shows one)': {
      name: (settings.module(name).__doc__ or '').strip().splitlines()[0]
      for name in names
    },
    'data sets': dict(sorted(data.list_sources().items())),
    'networks (with options, as convnet:width=32:norm=batch)': networks_of,
    'tables (as table:NAME)': tables.titles(),
  }
  return '\n'.join(
    '\n'.join([f'{title}:', *(f'  {n:20} {t}' for n, t in found.items())])
    for title, found in groups.items()
  )


def exported(words: Sequence[str]) -> str:
  """Writes a condensed set in another form; says where.

  Args:
    words: of the command line: a run's folder or a file, where to write, and
      `--as=KIND`.

  Raises:
    ValueError: words are missing or unknown, or the set has no such form.
    OSError: it cannot be read or written.
  """
  kinds = [w.partition('=')[2] for w in words if w.startswith('--as=')]
  places = [w for w in words if not w.startswith('-')]
  if len(places) != 2 or len(kinds) != 1 or len(words) != 3:
    raise ValueError('export: must be export RUN OUT --as=KIND')
  check_choice('--as', kinds[0], EXPORTS)
  file = pathlib.Path(places[0])
  file = file / 'condensed.npz' if file.is_dir() else file
  EXPORTS[kinds[0]](places[1], artefact.load(file))
  return f'written: {places[1]}'
