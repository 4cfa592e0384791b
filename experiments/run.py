"""Condenses a data set, evaluates it, and writes a report.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits

The same command resumes an interrupted run. Any setting can be changed with
`--config.<field>=<value>`; `--config.data.dir` says where data lie.
"""

import os
import pathlib
import re
import sys

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags import config_path

CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'File under experiments/configs, with :arguments.'
)
WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run; the same folder resumes it.'
)
_PROFILE = flags.DEFINE_bool(
  'profile', False, 'Trace an outer iteration into WORKDIR/profile.'
)
_DEVICES_PER_CLASS = flags.DEFINE_integer(
  'devices_per_class',
  0,
  'Devices that share the images of one class; 0 decides by their number.',
  lower_bound=0,
)
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'One of several processes on a pod or cluster that tells them apart.',
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator', None, 'HOST:PORT of process 0, where no cluster tells it.'
)
_PROCESSES = flags.DEFINE_integer(
  'processes', None, 'Processes of the run, with --coordinator.'
)
_PROCESS = flags.DEFINE_integer(
  'process', None, 'Number of this process from 0, with --coordinator.'
)
flags.mark_flags_as_required(['config', 'workdir'])
# What a field takes, by the type of its default.
_ALLOWED = {
  bool: 'true or false',
  int: 'a whole number',
  float: 'a number',
  tuple: "a tuple such as '(0.5, 1)'",
  ConfigDict: 'set by its fields, or a dict of them',
}


def parse(argv):
  """Parses flags; what is wrong with them is said in one sentence."""
  _check_config_file(argv)
  try:
    return flags.FLAGS(argv)
  except flags.IllegalFlagValueError as error:
    _fail(_bad_value(argv, str(error)) or _last_line(error))
  except flags.Error as error:
    _fail(_last_line(error))
  except OSError as error:
    _fail(error)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    _fail(_unknown_field(argv) or error)


def _last_line(error):
  # A config file's own error arrives as the last line of its traceback.
  text = str(error)
  return text.splitlines()[-1] if 'Traceback' in text else text


def _check_config_file(argv):
  """Ends the program if the file that `--config` names is not there."""
  for word, following in zip(argv, [*argv[1:], ''], strict=True):
    name, equals, value = word.partition('=')
    if name not in ('--config', '-config'):
      continue
    file = (value if equals else following).partition(':')[0]
    if not pathlib.Path(file).is_file():
      folder = pathlib.Path(__file__).resolve().parent / 'configs'
      known = sorted(f.name for f in folder.glob('*.py') if _is_config(f))
      _fail(f'config {file!r}: is no file; {folder} holds {", ".join(known)}')


def _is_config(file):
  return 'def get_config(' in file.read_text(encoding='utf-8')


def _default_config(argv):
  """The config that `--config` names, without any changes."""
  alone = flags.FlagValues()
  holder = config_flags.DEFINE_config_file(
    'config', flag_values=alone, sys_argv=[]
  )
  alone(argv, known_only=True)
  return holder.value


def _bad_value(argv, text):
  """Returns what is wrong with the value of a `--config.<field>`, or None."""
  found = re.match(r'flag --config\.([\w.]+)=(.*?): ', text, re.DOTALL)
  if found is None:
    return None
  field, value = found.groups()
  kind = config_path.get_type(field, _default_config(argv))
  allowed = _ALLOWED.get(kind, f'of type {kind.__name__}')
  return f'config field {field!r}: is {value!r}, must be {allowed}'


def _unknown_field(argv):
  """Returns what is wrong with the first `--config.<field>` that is unknown."""
  default = _default_config(argv)
  for word in argv[1:]:
    path = word.lstrip('-').partition('=')[0].split('.')
    known, field = default, '.'.join(path[1:])
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
  _end(f'error: {text or type(error).__name__}', 2)


def _end(text, code):
  """Ends the program; one of several processes waits for no other."""
  sys.stderr.write(f'{text}\n')
  if _is_one_of_several():
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)
  sys.exit(code)


def _is_one_of_several():
  if 'jax' not in sys.modules:
    return False
  import jax

  return jax.distributed.is_initialized() and jax.process_count() > 1


def main(argv):
  """Runs the experiment that the flags name."""
  if len(argv) > 1:
    _fail(ValueError(f'argument {argv[1]!r}: only flags are taken'))
  logging.set_verbosity(logging.WARNING)  # checkpointing is talkative
  import experiment

  try:
    _join_processes()
    experiment.run(
      CONFIG.value,
      WORKDIR.value,
      command=sys.argv,
      devices_per_class=_DEVICES_PER_CLASS.value,
      profile=_PROFILE.value,
    )
  except experiment.Interrupted as stop:
    sys.stderr.write(f'{stop}\n')
    sys.exit(130)
  except KeyboardInterrupt:
    sys.stderr.write('stopped at once; the same command resumes\n')
    sys.exit(130)
  except (ValueError, OSError, ImportError) as error:
    _fail(error)
  except RuntimeError as error:
    if not _is_one_of_several():
      raise
    _end(_lost(error), 1)


def _join_processes():
  from dcjax import sharding

  place = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  if _DISTRIBUTED.value or any(value is not None for value in place):
    sharding.start_processes(*place)


def _lost(error):
  import jax

  text = ' '.join(str(error).split())[:300]
  return (
    f'error: process {jax.process_index()} of {jax.process_count()} lost the '
    f'others ({text}); start the same command in all processes again: the run '
    'goes on from its last checkpoint'
  )


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
