"""The page of every field: meaning, default, range, and who reads it."""

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dcjax.runs import _ranges, settings
from dcjax.runs._fields import flat
from dcjax.runs._meanings import meaning

_HEADER = """# Every field

What `--config.FIELD=VALUE` sets, or `FIELD=VALUE` behind the colon of
`--config`: what it means, its default, what it may be, and the configs that
read it. Defaults are the published ones for CIFAR-10 at ten images per class
(`schedule=reference`); where configs differ, the most frequent value stands
first, and behind each other one whose it is. Other data sets and schedules
have others; `--print_config` shows those of a run, and where they come from
([runs.md](runs.md)). Elements of a list stand between plus signs.
`dcjax list fields` draws this page.
"""
_COLUMNS = ('field', 'meaning', 'default', 'may be', 'read by')
_KINDS = {
  bool: 'true or false',
  int: 'a whole number',
  float: 'a number',
  str: 'text',
  tuple: 'a list',
}
# Ranges that end here or above only keep nonsense out.
_ENDLESS = 10**6
# Fields whose default is not published, but decided.
_DECIDED = {
  'like': 'the data set',
  'method.name': "the config's",
  'recipe': "the config's name",
  'schedule': '`short` for the digits and applications, else `reference`',
}


def page(names: Sequence[str]) -> str:
  """Draws the page, in Markdown.

  Args:
    names: of the configs.

  Raises:
    KeyError: if a field has no meaning.
  """
  made = {name: _fields(name) for name in names}
  sections: dict[str, list[str]] = {}
  for field in sorted(set().union(*made.values())):
    found = {n: fields[field] for n, fields in made.items() if field in fields}
    section, dot, _ = field.partition('.')
    row = (
      f'`{field}`',
      meaning(field),
      _DECIDED.get(field) or _default(found),
      '; '.join(dict.fromkeys(_allowed(field, v) for v in found.values())),
      _readers(tuple(found), made),
    )
    lines = sections.setdefault(section if dot else '', [])
    lines.append(f'| {" | ".join(row)} |')
  return '\n'.join(
    [_HEADER, *(_section(n, sections[n]) for n in sorted(sections))]
  )


def _fields(name):
  """Dotted field -> its published value, and what may be said."""
  file = settings.module(name)
  first = getattr(file, 'FIRST', 'data')
  data = 'cifar10' if file.DATA == 'digits' and first == 'data' else file.DATA
  said = '' if first != 'data' else f'{data},'
  config = settings.make(name, f'{said}schedule=reference')
  found = flat(settings.resolve(config).config.to_dict())
  return found | {'data': file.DATA}


def _section(name, lines):
  head = [f'## `{name}`' if name else '## Of the run', '', _line(_COLUMNS)]
  return '\n'.join([*head, _line(['---'] * len(_COLUMNS)), *lines, ''])


def _line(cells):
  return f'| {" | ".join(cells)} |'


def _default(found: Mapping[str, Any]) -> str:
  """The most frequent value, and the others with the configs that have them."""
  texts = {name: _code(value) for name, value in found.items()}
  (first, _), *others = Counter(texts.values()).most_common()
  rest = [
    f'{text} {", ".join(n for n, t in texts.items() if t == text)}'
    for text, _ in others
  ]
  return '; '.join([first, *rest])


def _code(value):
  """A value as it is said on a command line; a table's bars are escaped."""
  if value in ('', (), None):
    return 'none'
  if isinstance(value, tuple | list):
    return ' + '.join(map(_code, value))
  text = str(value).lower() if isinstance(value, bool) else f'{value}'
  if '|' not in text:
    return f'`{text}`'
  return f'<code>{html.escape(text).replace("|", "&#124;")}</code>'


def _allowed(field, value):
  last = field.rpartition('.')[2]
  known = _ranges.CHOICES.get(field, _ranges.CHOICES.get(last))
  if known is not None:
    return ', '.join(map(_code, known))
  allowed = _ranges.range_of(field)
  if allowed is None or isinstance(value, bool | str):
    return _KINDS[type(value)]
  if allowed.most >= _ENDLESS:
    allowed = allowed._replace(most=math.inf)
  return f'{_KINDS[type(value)]}, {allowed}'


def _readers(names, made):
  """The configs of these names, briefly: a group of them, less some."""
  groups = {
    'all': set(made),
    'methods': {n for n in made if 'evaluation.protocol' in made[n]},
    'applications': {n for n in made if 'sets.names' in made[n]},
  }
  texts = [', '.join(names)]
  for group, members in groups.items():
    if members >= set(names):
      left = ', '.join(sorted(members - set(names)))
      texts.append(f'{group} but {left}' if left else group)
  return min(texts, key=len)
