"""`python -m dcjax` is `dcjax`."""

import signal
import sys


def stop_at_once(number, frame):
  """Ends the program while it is still being imported."""
  del number, frame
  sys.stderr.write('stopped at once; the same command resumes\n')
  sys.stderr.flush()
  sys.exit(130)


if __name__ == '__main__':
  signal.signal(signal.SIGINT, stop_at_once)
  from dcjax.runs import command

  command.main(program='python -m dcjax')
