"""Command lines that start a run again."""

from collections.abc import Sequence

from dcjax.runs import settings
from dcjax.runs.settings import Settings


def of_settings(chosen: Settings) -> tuple[str, ...]:
  """The words that start a run of these settings, but for its folder.

  For runs that no command line began.

  Example:
    >>> of_settings(settings.resolve(settings.make('dm', 'digits,ipc=2')))
    ('dcjax', '--config=dm:digits:size=16', '--config.ipc=2')
  """
  fields = settings.flat(chosen.config.to_dict())
  said = (
    f'--config.{field}={value}'
    for field, value in fields.items()
    if chosen.origins.get(field) == 'said' and field != 'data'
  )
  return ('dcjax', f'--config={fields["recipe"]}:{fields["data"]}', *said)


def config_file(command: Sequence[str]) -> str:
  """What was given to `--config`, or ''."""
  for position, word in enumerate(command):
    if word.startswith(('--config=', '-config=')):
      return word.partition('=')[2]
    if word in ('--config', '-config'):
      return ''.join(command[position + 1 : position + 2])
  return ''


def repeatable(command: Sequence[str]) -> list[str]:
  """The words that start a run again, but for its folder."""
  kept, skipped = [], False
  for word in command:
    bare = word in ('--workdir', '-workdir')
    if not (skipped or bare or word.startswith(('--workdir=', '-workdir='))):
      kept.append(word)
    skipped = bare
  return kept
