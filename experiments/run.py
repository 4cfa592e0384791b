"""Condenses a data set, evaluates it, and writes a report.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits

The same command resumes an interrupted run. Any setting can be changed with
`--config.<field>=<value>`; `--config.data.dir` says where data lie.
"""

import sys

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

_CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'File under experiments/configs, with :arguments.'
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run; the same folder resumes it.'
)
flags.mark_flags_as_required(['config', 'workdir'])


def _parse(argv):
  """Parses flags; what is wrong with them is said in one sentence."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    # A config file's own error arrives as the last line of its traceback.
    text = str(error)
    _fail(text.splitlines()[-1] if 'Traceback' in text else text)
  except OSError as error:
    _fail(error)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    _fail(_unknown_field(argv) or error)


def _unknown_field(argv):
  """Returns what is wrong with the first `--config.<field>` that is unknown."""
  alone = flags.FlagValues()
  holder = config_flags.DEFINE_config_file(
    'config', flag_values=alone, sys_argv=[]
  )
  alone(argv, known_only=True)
  for word in argv[1:]:
    path = word.lstrip('-').partition('=')[0].split('.')
    known, field = holder.value, '.'.join(path[1:])
    for name in path[1:] if path[0] == 'config' else ():
      if not isinstance(known, ConfigDict):
        return f'config field {field!r}: {name!r} is one too many'
      if name not in known:
        return (
          f'config field {field!r}: {name!r} must be one of {sorted(known)}'
        )
      known = known[name]
  return None


def _fail(error):
  text = ' '.join(str(error).split()).removeprefix('ValueError: ')
  sys.stderr.write(f'error: {text or type(error).__name__}\n')
  sys.exit(2)


def main(argv):
  """Runs the experiment that the flags name."""
  if len(argv) > 1:
    _fail(ValueError(f'argument {argv[1]!r}: only flags are taken'))
  logging.set_verbosity(logging.WARNING)  # checkpointing is talkative
  import experiment

  try:
    experiment.run(_CONFIG.value, _WORKDIR.value, command=sys.argv)
  except experiment.Interrupted as stop:
    sys.stderr.write(f'{stop}\n')
    sys.exit(130)
  except KeyboardInterrupt:
    sys.stderr.write('stopped at once; the same command resumes\n')
    sys.exit(130)
  except (ValueError, OSError) as error:
    _fail(error)


if __name__ == '__main__':
  app.run(main, flags_parser=_parse)
