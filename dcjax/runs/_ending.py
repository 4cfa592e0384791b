"""How a command ends when something is wrong."""

import io
import os
import sys
from typing import Any, NoReturn


class Wrong(Exception):
  """Something that the caller has said is wrong."""


def prepare_streams() -> None:
  """Lets nothing fail for what a console cannot show, or for being closed."""
  # Files would take the numbers of closed streams, and what is said there.
  while (free := os.open(os.devnull, os.O_RDWR)) < 3:
    pass
  os.close(free)
  for name in ('stdout', 'stderr'):
    if getattr(sys, name) is None:
      setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w'))
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='replace', line_buffering=True)
  if sys.unraisablehook is sys.__unraisablehook__:
    sys.unraisablehook = _hook


def _hook(unraisable):
  # Threads of a checkpoint that failed say this; its own error is raised.
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def stop_at_once(number: int, frame: Any) -> None:
  """Ends the program with one line: a signal handler."""
  del number, frame
  # JAX swallows exceptions in its callbacks: this does not depend on them.
  sys.stderr.write('stopped at once; the same command resumes\n')
  sys.stderr.flush()
  os._exit(130)


def say_runtime(error: RuntimeError) -> int:
  """What the runtime could not do; another process may be gone."""
  if not is_one_of_several():
    text = one_line(error)
    if 'RESOURCE_EXHAUSTED' in text or 'Out of memory' in text:
      return say_error(
        f'out of memory on the device ({text[:200]}); take a smaller ipc, '
        'network or batch, or execution.classes=scan'
      )
    if 'backend' in text or 'platform' in text:
      return say_error(text)
    raise error
  return _say_lost(one_line(error))


def _say_lost(text):
  import jax

  end(
    f'error: process {jax.process_index()} of {jax.process_count()} lost the '
    f'others ({text[:300]}); start the same command in all processes again: '
    'the run goes on from its last checkpoint',
    1,
  )
  return 1


def one_line(error: BaseException) -> str:
  """What an error says, in one line."""
  text = ' '.join(str(error).split()).removeprefix('ValueError: ')
  return text or type(error).__name__


def say_error(text: str) -> int:
  """Says what is wrong, and returns the exit status of it."""
  if is_one_of_several():
    if 'Gloo' in text:  # now a RuntimeError, now a ValueError
      return _say_lost(text)
    end(f'error: {text}', 2)
  sys.stderr.write(f'error: {text}\n')
  return 2


def end(text: str, code: int) -> NoReturn:
  """Ends the program; it waits for no other process and for no computation.

  An ordinary exit would: a step that is under way may take hours.
  """
  if text:
    sys.stderr.write(f'{text}\n')
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def is_one_of_several() -> bool:
  """Whether other processes run the same command."""
  if 'jax' not in sys.modules:
    return False
  import jax

  return jax.distributed.is_initialized() and jax.process_count() > 1
