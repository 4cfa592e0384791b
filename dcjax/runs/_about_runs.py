"""Words of the command line about runs that are there."""

import pathlib
from collections.abc import Callable, Sequence


def published(words: Sequence[str]) -> None:
  """Draws the page of published and measured numbers from its records."""
  from dcjax.runs import tables

  folders = [w for w in words if not w.startswith('-')]
  if len(folders) != 1:
    raise ValueError('published: name the folder of the records')
  print(tables.published(folders[0], costs='--costs' in words))


def compare(words: Sequence[str]) -> None:
  """Prints the table of finished runs; writes a page and a plot on request."""
  from dcjax.runs import report

  said, folders = options(words, ('page', 'plot'))
  if not folders:
    raise ValueError('compare: name at least one finished run folder')
  found = report.collect(folders)
  print(report.table(found))
  if 'plot' in said:
    report.write_plot(found, said['plot'])
  if 'page' in said:
    report.write_page(found, said['page'])
    print(f'page: {said["page"]}')


def gallery(words: Sequence[str]) -> None:
  """Writes a page of all runs below a folder."""
  from dcjax.runs import report

  said, folders = options(words, ('page',))
  if len(folders) != 1:
    raise ValueError('gallery: name one folder of runs')
  found = report.below(folders[0])
  if not found:
    raise ValueError(f'gallery {folders[0]}: holds no run')
  path = said.get('page') or pathlib.Path(folders[0], 'gallery.html')
  report.write_page(found, path)
  print(f'page: {path}')


def options(
  words: Sequence[str], known: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
  """Options `--NAME=VALUE` of a word such as compare, and what is no option."""
  said, plain = {}, []
  for word in words:
    name, equals, value = word.removeprefix('--').partition('=')
    if not word.startswith('-'):
      plain.append(word)
    elif name in known and equals and value:
      said[name] = value
    else:
      allowed = ' or '.join(f'--{n}=FILE' for n in known)
      raise ValueError(f'option {word!r}: must be {allowed}')
  return said, plain


ABOUT_RUNS: dict[str, Callable[[Sequence[str]], None]] = {
  'compare': compare,
  'gallery': gallery,
  'published': published,
}
