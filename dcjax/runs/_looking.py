"""Words about runs that are there: compare, export, gallery, published."""

import pathlib
from collections.abc import Sequence

from dcjax.runs._ending import Wrong


def _published(words: Sequence[str]) -> int:
  """Draws the page of published and measured numbers from its records."""
  from dcjax.runs import tables

  folders = [w for w in words if not w.startswith('-')]
  if len(folders) != 1:
    raise Wrong('published: name the folder of the records')
  print(tables.published(folders[0], costs='--costs' in words))
  return 0


def _compare(words: Sequence[str]) -> int:
  """Prints the table of finished runs; writes a page and a plot on request."""
  from dcjax.runs import report

  said, folders = said_of(words, ('page', 'plot'))
  if not folders:
    raise Wrong('compare: name at least one finished run folder')
  found = report.collect(folders)
  print(report.table(found))
  if 'plot' in said:
    report.write_plot(found, said['plot'])
  if 'page' in said:
    report.write_page(found, said['page'])
    print(f'page: {said["page"]}')
  return 0


def _gallery(words: Sequence[str]) -> int:
  """Writes a page of all runs below a folder."""
  from dcjax.runs import report

  said, folders = said_of(words, ('page',))
  if len(folders) != 1:
    raise Wrong('gallery: name one folder of runs')
  found = report.below(folders[0])
  if not found:
    raise Wrong(f'gallery {folders[0]}: holds no run')
  path = said.get('page') or pathlib.Path(folders[0], 'gallery.html')
  report.write_page(found, path)
  print(f'page: {path}')
  return 0


def _export(words: Sequence[str]) -> int:
  """Writes a condensed set in another form, and says where."""
  from dcjax import artefact
  from dcjax.utils import check_choice

  kinds = {
    'ddranking': artefact.export_ddranking,
    'hub': artefact.export_hub,
    'idc': artefact.export_idc,
    'images': artefact.export_images,
    'uint8': lambda path, made: artefact.save(
      path, artefact.in_eight_bits(made)
    ),
  }
  said, places = said_of(words, ('as',))
  if len(places) != 2 or 'as' not in said:
    raise Wrong('export: must be export RUN OUT --as=KIND')
  check_choice('--as', said['as'], kinds)
  file = pathlib.Path(places[0])
  file = file / 'condensed.npz' if file.is_dir() else file
  kinds[said['as']](places[1], artefact.load(file))
  print(f'written: {places[1]}')
  return 0


def said_of(
  words: Sequence[str], known: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
  """Options `--NAME=VALUE` of a word such as compare, and what is no option."""
  said: dict[str, str] = {}
  plain = []
  for word in words:
    name, equals, value = word.removeprefix('--').partition('=')
    if not word.startswith('-'):
      plain.append(word)
    elif name in known and equals and value:
      said[name] = value
    else:
      allowed = ' or '.join(f'--{n}=FILE' for n in known)
      raise Wrong(f'option {word!r}: must be {allowed}')
  return said, plain


WORDS = {
  'compare': _compare,
  'export': _export,
  'gallery': _gallery,
  'published': _published,
}
