"""Prepares and lists data sets.

python -m dcjax.data list
python -m dcjax.data prepare cifar10 --data_dir ~/tensorflow_datasets
"""

import argparse
import sys
from collections.abc import Sequence

from dcjax.data import _raw, _sources, _tfds


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line and returns its exit status.

  Args:
    argv: arguments without the program's name; the process's by default.
  """
  arguments = _parser().parse_args(argv)
  if arguments.command == 'list':
    for name, needs in _sources.list_sources().items():
      print(f'{name:14} {needs}')
    return 0
  try:
    folder = _tfds.prepare(_tfds_name(arguments.name), arguments.data_dir)
  except (ImportError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 1
  print(f'{arguments.name} is prepared in {folder}')
  return 0


def _tfds_name(name: str) -> str:
  """Returns TFDS's name of a set.

  Raises:
    ValueError: it is a set of ours that TFDS does not have.
  """
  if name in _raw.PUBLISHED_SETS:
    tfds_name = _raw.PUBLISHED_SETS[name].tfds_name
  elif name in _sources.IMAGENETS:
    tfds_name = _sources.IMAGENET_TFDS
  else:
    tfds_name = None if name in _sources.list_sources() else name
  if tfds_name is None:
    raise ValueError(
      f'TFDS does not have {name}; it needs {_sources.list_sources()[name]}.'
    )
  return tfds_name


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(prog='python -m dcjax.data')
  commands = parser.add_subparsers(dest='command', required=True)
  commands.add_parser('list', help='list the data sets that load() knows')
  prepare = commands.add_parser(
    'prepare', help='download a TFDS set and write it as array_record'
  )
  prepare.add_argument('name', help='e.g. cifar10, or any TFDS name')
  prepare.add_argument(
    '--data_dir', default=None, help="folder; TFDS's default if not given"
  )
  return parser


if __name__ == '__main__':
  sys.exit(main())
