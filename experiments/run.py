"""Condenses a data set, evaluates it, and writes a report.

  python experiments/run.py --config=experiments/configs/idc.py:digits
    --workdir=runs/digits

The same command resumes an interrupted run. Any setting can be changed with
`--config.FIELD=VALUE`; see `python experiments/run.py --help`.
"""

import os
import pathlib
import signal
import sys


def _stop_at_once(number, frame):
  """Ends the program while it is still being imported."""
  os.write(2, b'stopped at once; the same command resumes\n')
  os._exit(130)


if __name__ == '__main__':
  signal.signal(signal.SIGINT, _stop_at_once)
  # A clone runs its own code, whatever is installed.
  sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)
  from dcjax.runs import command

  command.main(program='python experiments/run.py')
