"""HTML building blocks of the report; every text is escaped here."""

import html
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 0 auto; padding: 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; }
.big { font-size: 2.6rem; font-weight: 700; margin: .5rem 0 0; }
.note, figcaption { opacity: .75; font-size: .9rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.card { background: var(--soft); border-radius: .5rem; padding: .5rem 1rem; }
.card b { display: block; font-size: 1.3rem; }
figure { margin: 0; flex: 1 1 17rem; min-width: 0; }
figure img { width: 100%; image-rendering: pixelated; border-radius: .25rem; }
svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
td.key, .grid td { white-space: nowrap; }
tr.first td { font-weight: 600; }
pre { background: var(--soft); border-radius: .5rem; padding: .8rem;
  overflow-x: auto; }
summary { cursor: pointer; }
"""


def escape(value: Any) -> str:
  """Returns `value` as text that HTML shows literally."""
  return html.escape(str(value))


def section(title: str, body: str) -> str:
  """Returns a section, or nothing if it has no body."""
  return f'<section>\n<h2>{title}</h2>\n{body}\n</section>' if body else ''


def is_number(value: Any) -> TypeGuard[float]:
  """Returns whether `value` is a finite number."""
  return isinstance(value, numbers.Real) and math.isfinite(value)


def pairs(values: Mapping[str, Any]) -> str:
  """Returns a table of names and values, or nothing if there are none."""
  rows = ''.join(
    f'<tr><td class="key">{escape(key)}</td><td>{escape(value)}</td></tr>'
    for key, value in values.items()
  )
  return f'<div class="wide"><table>{rows}</table></div>' if rows else ''


def table(
  header: Sequence[str],
  rows: Sequence[Sequence[Any]],
  mark_first: bool = False,
) -> str:
  """Returns a table without the columns that no row fills."""
  kept = [i for i in range(len(header)) if any(_filled(row[i]) for row in rows)]
  cells = ''.join(f'<th>{escape(header[i])}</th>' for i in kept)
  lines = [f'<tr>{cells}</tr>']
  for number, row in enumerate(rows):
    cells = ''.join(
      f'<td>{escape(row[i]) if _filled(row[i]) else "–"}</td>' for i in kept
    )
    first = ' class="first"' if mark_first and number == 0 else ''
    lines.append(f'<tr{first}>{cells}</tr>')
  return f'<div class="wide"><table class="grid">{"".join(lines)}</table></div>'


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
