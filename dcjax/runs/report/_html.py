"""HTML building blocks of all pages; every text is escaped here."""

import base64
import html
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from dcjax.runs.report._assets import SCRIPT, STYLE


class Markup(NamedTuple):
  """Text that is HTML already, as `link` makes it."""

  text: str


def page(title: str, *body: str) -> str:
  """Returns a page that needs nothing else.

  Args:
    title: as text.
    *body: HTML, part after part.
  """
  return (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f'<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
    + '\n'.join(part for part in body if part)
    + f'\n<script>{SCRIPT}</script>\n</body>\n</html>\n'
  )


def escape(value: Any) -> str:
  """Returns `value` as text that HTML shows literally."""
  return value.text if isinstance(value, Markup) else html.escape(str(value))


def link(address: str, text: str) -> Markup:
  """Returns a link to a place beside the page."""
  return Markup(f'<a href="{escape(address)}">{escape(text)}</a>')


def section(title: str, body: str) -> str:
  """Returns a section, or nothing if it has no body."""
  if not body:
    return ''
  return f'<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>'


def note(text: str) -> str:
  """Returns a paragraph in small print."""
  return f'<p class="note">{escape(text)}</p>'


def picture(png: bytes) -> str:
  """Returns the address of a PNG file inside the page."""
  return f'data:image/png;base64,{base64.b64encode(png).decode()}'


def is_number(value: Any) -> TypeGuard[float]:
  """Returns whether `value` is a finite number."""
  return isinstance(value, numbers.Real) and math.isfinite(value)


def pairs(values: Mapping[str, Any]) -> str:
  """Returns a table of names and values, or nothing if there are none."""
  rows = ''.join(
    f'<tr><td class="key">{escape(key)}</td><td>{escape(value)}</td></tr>'
    for key, value in values.items()
  )
  return _scrolled(f'<table>{rows}</table>') if rows else ''


def _scrolled(grid):
  """A table that scrolls in itself, and shows that it does."""
  return f'<div class="wide" tabindex="0">{grid}</div>'


def table(
  header: Sequence[str],
  rows: Sequence[Sequence[Any]],
  mark_first: bool = False,
) -> str:
  """Returns a table without the columns that no row fills; '' without rows."""
  if not rows:
    return ''
  kept = [i for i in range(len(header)) if any(_filled(row[i]) for row in rows)]
  cells = ''.join(f'<th>{escape(header[i])}</th>' for i in kept)
  lines = [f'<tr>{cells}</tr>']
  for number, row in enumerate(rows):
    cells = ''.join(
      f'<td>{escape(row[i]) if _filled(row[i]) else "–"}</td>' for i in kept
    )
    first = ' class="first"' if mark_first and number == 0 else ''
    lines.append(f'<tr{first}>{cells}</tr>')
  return _scrolled(f'<table class="grid">{"".join(lines)}</table>')


def heat(
  rows: Sequence[str],
  columns: Sequence[str],
  cells: Sequence[Sequence[tuple[float, str]]],
) -> str:
  """Returns a table whose cells are the darker the larger their share is.

  Args:
    rows: names, from top to bottom.
    columns: names, from left to right.
    cells: (share from 0 to 1, text), row by row.
  """
  head = ''.join(f'<th>{escape(name)}</th>' for name in ('', *columns))
  lines = []
  for name, line in zip(rows, cells, strict=True):
    body = ''.join(
      # No darker than text is read on.
      f'<td style="--share:{60 * share:.0f}%">{escape(text)}</td>'
      for share, text in line
    )
    lines.append(f'<tr><th>{escape(name)}</th>{body}</tr>')
  return _scrolled(
    f'<table class="heat"><tr>{head}</tr>{"".join(lines)}</table>'
  )


def _filled(value: Any) -> bool:
  return value is not None and value != ''


def code(text: str) -> str:
  """Returns text to copy, as it is."""
  return f'<pre><code>{escape(text)}</code></pre>'


def size(num_bytes: float) -> str:
  """Returns a number of bytes in a readable unit (powers of 1000)."""
  for power, unit in ((3, 'GB'), (2, 'MB'), (1, 'kB')):
    if num_bytes >= 1000**power:
      return f'{num_bytes / 1000**power:,.1f} {unit}'
  return f'{num_bytes:.0f} bytes'


def duration(seconds: float | None) -> str:
  """Returns seconds in readable units, or nothing if unknown."""
  if not is_number(seconds):
    return ''
  if seconds < 60:
    return f'{seconds:.1f} s'
  minutes, rest = divmod(round(seconds), 60)
  if minutes < 60:
    return f'{minutes} min {rest} s'
  return f'{minutes // 60} h {minutes % 60} min'


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """Returns a table in Markdown."""
  lines = [header, ['---'] * len(header), *rows]
  return '\n'.join('| ' + ' | '.join(map(_cell, line)) + ' |' for line in lines)


def _cell(value: Any) -> str:
  """A bar ends a cell, also in code, and so does a line; markup is text."""
  text = ' '.join(str(value).splitlines())
  return text.replace('|', '\\|').replace('<', '&lt;')
