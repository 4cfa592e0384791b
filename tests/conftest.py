"""Shared test set-up: CPU, persistent compilation cache, golden files."""

import gc
import importlib.metadata
import os
import pathlib
import signal
import sys

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Compiling takes most of the time here, and a third less so; what is computed
# stays the same up to rounding. Processes that tests start inherit it.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')
# And two thirds less with these; releases end at flags that they do not know.
os.environ['XLA_FLAGS'] = ' '.join(
  (
    '--xla_cpu_parallel_codegen_split_count=1',
    '--xla_cpu_use_fusion_emitters=false'
    if importlib.metadata.version('jaxlib').startswith('0.10.')
    else '',
    os.environ.get('XLA_FLAGS', ''),
  )
)
# Every program is kept: many tests and programs compile the same small ones.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR',
  os.environ.get(
    'DCJAX_CACHE_DIR',
    str(pathlib.Path(__file__).resolve().parent.parent / '.jax_cache'),
  ),
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
# Nobody looks up our lines in a lowered program: 7 % of a small run's time.
os.environ.setdefault('JAX_TRACEBACK_IN_LOCATIONS_LIMIT', '0')

import numpy as np
import pytest

# Where Python keeps no byte code, every program that tests start would compile
# all libraries: two thirds of its start.
if sys.dont_write_bytecode:
  kept = os.environ['JAX_COMPILATION_CACHE_DIR']
  sys.pycache_prefix = os.path.join(kept, 'bytecode')
  sys.dont_write_bytecode = False
  os.environ['PYTHONPYCACHEPREFIX'] = sys.pycache_prefix
  os.environ.pop('PYTHONDONTWRITEBYTECODE', None)

# Tracing leaves many objects behind that are no garbage.
gc.set_threshold(200_000, 50, 1000)

# Files that take minutes: begun first, they do not keep one worker busy alone
# in the end.
_LONG = (
  'test_benchmarks',
  'test_processes',
  'test_sharding',
  'test_smoke_runs',
  'test_tables',
  'test_trajectories',
  'test_unrolled',
)


def pytest_collection_modifyitems(items):
  """Puts the longest files first; the order within a file stays."""
  items.sort(key=lambda item: item.path.stem not in _LONG)


@pytest.fixture(scope='session')
def golden():
  """Returns a reader of `tests/golden/<name>.npz`."""

  def read(name):
    path = pathlib.Path(__file__).parent / 'golden' / f'{name}.npz'
    with np.load(path, allow_pickle=False) as file:
      return dict(file)

  return read


@pytest.fixture
def called(capsys):
  """Returns a function that runs a command line: code, stdout, stderr."""
  from absl import flags
  from absl.testing import flagsaver

  from dcjax.runs import command

  command.define_flags()
  heard = signal.getsignal(signal.SIGINT)

  def call(*words):
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as caught:
      flags.FLAGS.unparse_flags()
      command.main(['run.py', *words], 'run.py')
    return caught.value.code, *capsys.readouterr()

  yield call
  signal.signal(signal.SIGINT, heard)
