"""Makes a table or figure of a paper, published and measured side by side.

  python experiments/table.py --list
  python experiments/table.py --table=idc_table1 --workdir=runs/table1
    --data_dir=DATA
  python experiments/table.py --table=idc_table7:size=smoke
    --workdir=runs/factors

After the name: `size` (`short`: minutes a run on two CPU cores; `reference`:
the published schedule; `smoke`: seconds, on the digits) and `dataset`. The
folder holds `table.md`, `table.html` and the runs; tables in one folder share
runs. The same command goes on after a stop. `--config.<field>=<value>` changes
a setting of every run, `--only` restricts to a row or a run.
"""

import ast
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import cells
import tables
from absl import app, flags, logging

_PREFIX = '--config.'


def read_overrides(
  argv: Sequence[str],
) -> tuple[list[str], dict[str, Any]]:
  """Takes `--config.<field>=<value>` out of a command line.

  Args:
    argv: words of the command.

  Returns:
    The other words, and field -> value; a value that is no Python literal is
    text.

  Raises:
    ValueError: if a value is missing.

  Example:
    >>> read_overrides(['table.py', '--config.seed=1'])
    (['table.py'], {'seed': 1})
  """
  others, overrides = [], {}
  for word in argv:
    if not word.startswith(_PREFIX):
      others.append(word)
      continue
    field, equals, text = word.removeprefix(_PREFIX).partition('=')
    if not equals:
      raise ValueError(f'{word}: must be {_PREFIX}<field>=<value>')
    try:
      overrides[field] = ast.literal_eval(text)
    except (SyntaxError, ValueError):
      overrides[field] = {'true': True, 'false': False}.get(text.lower(), text)
  return others, overrides


def describe() -> str:
  """Returns a line for every table."""
  return '\n'.join(
    f'{name:18} {title}' for name, title in tables.titles().items()
  )


def main(argv: Sequence[str]) -> None:
  """Makes the table that the flags name."""
  del argv
  logging.set_verbosity(logging.WARNING)
  cells.command(_main)


def _main():
  values = flags.FLAGS
  if values.list:
    print(describe())
    return
  for name in ('table', 'workdir'):
    if not values[name].value:
      raise ValueError(f'--{name}: must be given; --list lists the tables')
  _, overrides = read_overrides(sys.argv)
  if values.data_dir:
    overrides['data.dir'] = values.data_dir
  make(
    values.table,
    values.workdir,
    overrides=overrides,
    only=values.only,
    command=shlex.join(['python', *sys.argv]),
  )


def make(text: str, workdir: str, **options: Any) -> None:
  """Makes a table; see `tables._making.make` for the arguments.

  Raises:
    FileNotFoundError: if no run of the table finds its data; the pages, which
      say so, are written.
  """
  from tables import _making

  page = _making.make(text, workdir, **options)
  if page.said and not page.measured:
    raise FileNotFoundError(next(iter(page.said.values())))


def _parse(argv):
  try:
    return flags.FLAGS(read_overrides(argv)[0])
  except (flags.Error, ValueError) as error:
    sys.stderr.write(f'error: {error}\n')
    sys.exit(2)


if __name__ == '__main__':
  flags.DEFINE_string('table', None, 'NAME[:size=...][,dataset=...].')
  flags.DEFINE_string('workdir', None, 'Folder of the table; it goes on there.')
  flags.DEFINE_string('data_dir', None, 'Where the data lie.')
  flags.DEFINE_string('only', '', 'Part of a row or of the name of a run.')
  flags.DEFINE_bool('list', False, 'Lists all tables.')
  app.run(main, flags_parser=_parse)
