"""What a device can do: a large matrix product and a large copy."""

import time

import jax
import jax.numpy as jnp
from _child import Prepared
from _dcjax_step import PRECISIONS


def matmul(size: int, precision: str = 'float32') -> Prepared:
  """Multiplies two `[size, size]` matrices; facts hold its `flops`.

  Args:
    size: rows and columns.
    precision: see `_dcjax_step.step`.
  """
  kind = jnp.bfloat16 if precision == 'bfloat16' else jnp.float32
  first = jax.random.normal(jax.random.key(0), (size, size), kind)
  # The scale keeps the product of the next step finite.
  facts = {'flops': 2.0 * size**3}
  with jax.default_matmul_precision(PRECISIONS[precision]):
    return _repeated(lambda x: (first @ x) / size, first, facts)


def copy(mib: int) -> Prepared:
  """Reads and writes an array of `mib` MiB; facts hold the `bytes` moved."""
  array = jnp.ones((mib * 2**18,), jnp.float32)
  return _repeated(lambda x: x + 1, array, {'bytes': 2.0 * array.nbytes})


def _repeated(function, array, facts):
  began = time.perf_counter()
  compiled = jax.jit(function).lower(array).compile()
  facts['compile_seconds'] = time.perf_counter() - began
  held = [array]

  def run():
    held[0] = jax.block_until_ready(compiled(held[0]))
    return 0.0

  return Prepared(run, facts)
