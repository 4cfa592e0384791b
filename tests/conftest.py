"""Shared test set-up: CPU, persistent compilation cache, golden files."""

import os
import pathlib

os.environ.setdefault('JAX_PLATFORMS', 'cpu')
# Compiling takes most of the time here, and a third less so; what is computed
# stays the same up to rounding. Processes that tests start inherit it.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')

import jax
import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent

jax.config.update(
  'jax_compilation_cache_dir',
  os.environ.get('DCJAX_CACHE_DIR', str(_ROOT / '.jax_cache')),
)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


@pytest.fixture(scope='session')
def golden():
  """Returns a reader of `tests/golden/<name>.npz`."""

  def read(name):
    path = pathlib.Path(__file__).parent / 'golden' / f'{name}.npz'
    with np.load(path, allow_pickle=False) as file:
      return dict(file)

  return read
