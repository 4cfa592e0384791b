"""Counts the work of a program from its shapes.

The compiler's own count may leave out what it hands to a library, and may count
the body of a loop once. Here the convolutions and matrix products of the traced
program are counted, loops multiplied out: nearly all of the work.
"""

import math
from typing import Any, NamedTuple

import jax
from jax.extend import core


class Count(NamedTuple):
  """Work of all devices together.

  Attributes:
    flops: of convolutions and products.
    bytes: that these read and write, if nothing stays in a cache between them.
  """

  flops: float = 0.0
  bytes: float = 0.0


def count_flops(jaxpr: Any, turns: float = 1) -> float:
  """FLOPs of the convolutions and matrix products of a traced function.

  A product and a sum are two operations. Of the branches of a `cond` the most
  expensive one counts.

  Args:
    jaxpr: of `jax.jit(f).trace(...)` or `jax.make_jaxpr(f)(...)`.
    turns: of a `while`, whose length no shape tells.

  Example:
    >>> count_flops(jax.make_jaxpr(jnp.dot)(jnp.ones(3), jnp.ones(3)))
    6.0
  """
  return count(jaxpr, turns).flops


def count(jaxpr: Any, turns: float = 1) -> Count:
  """FLOPs and bytes, as `count_flops` counts them."""
  if isinstance(jaxpr, core.ClosedJaxpr):
    jaxpr = jaxpr.jaxpr
  found = [_of_equation(equation, turns) for equation in jaxpr.eqns]
  columns = zip(Count(), *found, strict=True)
  return Count(*(float(sum(column)) for column in columns))


def _of_equation(equation, turns):
  name, params = equation.primitive.name, equation.params
  if name == 'dot_general':
    return Count(_of_product(equation), _traffic(equation))
  if name == 'conv_general_dilated':
    return Count(_of_convolution(equation), _traffic(equation))
  if name == 'cond':
    return max(count(branch, turns) for branch in params['branches'])
  times = {'scan': params.get('length', 1), 'while': turns}.get(name, 1)
  if name == 'shard_map':  # the body is one device's
    axes = next(v for n, v in params.items() if n.endswith('manual_axes'))
    times = math.prod(params['mesh'].shape[axis] for axis in axes)
  found = [count(inner, turns) for inner in _inner_jaxprs(params)]
  columns = zip(Count(), *found, strict=True)
  return Count(*(float(times * sum(column)) for column in columns))


def _traffic(equation):
  arrays = [v.aval for v in (*equation.invars, *equation.outvars)]
  return sum(a.size * a.dtype.itemsize for a in arrays)


def _inner_jaxprs(params):
  leaves = jax.tree.leaves(
    list(params.values()),
    is_leaf=lambda leaf: isinstance(leaf, core.Jaxpr | core.ClosedJaxpr),
  )
  return [x for x in leaves if isinstance(x, core.Jaxpr | core.ClosedJaxpr)]


def _of_product(equation):
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  terms = math.prod(left[axis] for axis in contracted)
  return 2 * terms * math.prod(equation.outvars[0].aval.shape)


def _of_convolution(equation):
  # Each output sums over the window and the inputs of its group. Padding
  # counts, as it does in a library; but a window larger than its images, as
  # second derivatives have, meets each of their pixels once, and what lies
  # between pixels that a stride has spread is not counted.
  numbers = equation.params['dimension_numbers']
  images, kernel = (v.aval.shape for v in equation.invars)
  terms = kernel[numbers.rhs_spec[1]] * math.prod(
    min(kernel[k] / spread, images[i])
    for k, i, spread in zip(
      numbers.rhs_spec[2:],
      numbers.lhs_spec[2:],
      equation.params['lhs_dilation'],
      strict=True,
    )
  )
  return 2 * terms * math.prod(equation.outvars[0].aval.shape)
