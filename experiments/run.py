"""Condenses a data set, evaluates it, and writes a report.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits

The same command resumes an interrupted run. Any setting can be changed with
`--config.<field>=<value>`; `--config.data.dir` says where data lie.
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

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
    return app.parse_flags_with_usage(argv)
  except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    _fail(error)


def _fail(error):
  text = ' '.join(str(error).split())
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
