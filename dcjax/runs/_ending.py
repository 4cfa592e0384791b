"""How a command ends when something is wrong."""

import os
import sys
from typing import NoReturn


def stop_at_once(number, frame):
  del number, frame
  # JAX swallows exceptions in its callbacks: this does not depend on them.
  sys.stderr.write('stopped at once; the same command resumes\n')
  sys.stderr.flush()
  os._exit(130)


def say_runtime(error):
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
  import jax

  end(
    f'error: process {jax.process_index()} of {jax.process_count()} lost the '
    f'others ({one_line(error)[:300]}); start the same command in all '
    'processes again: the run goes on from its last checkpoint',
    1,
  )
  return 1


def one_line(error):
  text = ' '.join(str(error).split()).removeprefix('ValueError: ')
  return text or type(error).__name__


def say_error(text):
  if is_one_of_several():
    end(f'error: {text}', 2)
  sys.stderr.write(f'error: {text}\n')
  return 2


def end(text, code) -> NoReturn:
  """Ends the program; one of several processes waits for no other."""
  if text:
    sys.stderr.write(f'{text}\n')
  sys.stderr.flush()
  if is_one_of_several():
    os._exit(code)
  sys.exit(code)


def is_one_of_several():
  if 'jax' not in sys.modules:
    return False
  import jax

  return jax.distributed.is_initialized() and jax.process_count() > 1
