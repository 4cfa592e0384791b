"""Torch-style parameter initialisation, drawn as one flat vector.

One random draw per network, whatever its depth, keeps compile time low: a
random primitive for each tensor costs seconds of compilation.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax.base import Key, Network, PyTree

SCHEMES = ('torch', 'he_fan_out', 'xavier')


class _Leaf(NamedTuple):
  kind: str  # 'uniform', 'normal' or 'constant'
  value: float  # bound, standard deviation or constant


def draw_params(key: Key, shapes: PyTree, scheme: str = 'torch') -> PyTree:
  """Draws a network's parameters.

  Weights and biases are uniform in `±1/sqrt(fan_in)`, scales of normalisation
  layers 1 and their shifts 0, as PyTorch's layers start. Scheme `'he_fan_out'`
  draws convolution kernels from `Normal(0, sqrt(2 / (kh kw O)))` instead, as
  residual networks do. Scheme `'xavier'` draws every kernel from `Normal(0,
  sqrt(2 / (fan_in + fan_out)))` and sets every bias to 0 (Wang et al., 2018).

  Args:
    key: consumed.
    shapes: nested dict of `jax.ShapeDtypeStruct` as linen names parameters:
      `kernel` with `bias`, or `scale` with `bias`, side by side in a layer.
    scheme: `'torch'`, `'he_fan_out'` or `'xavier'`.

  Returns:
    A tree of arrays with the shapes of `shapes`.

  Raises:
    ValueError: if the scheme, or a parameter's name, is unknown.
  """
  if scheme not in SCHEMES:
    raise ValueError(f'initialisation {scheme!r}: must be one of {SCHEMES}')
  leaves, treedef = jax.tree_util.tree_flatten_with_path(shapes)
  rules = [_rule(path, leaf, shapes, scheme) for path, leaf in leaves]
  pools = {
    'uniform': _pool(key, rules, leaves, 'uniform'),
    'normal': _pool(jax.random.fold_in(key, 1), rules, leaves, 'normal'),
  }
  taken = {'uniform': 0, 'normal': 0}
  values = []
  for (_, leaf), rule in zip(leaves, rules, strict=True):
    if rule.kind == 'constant':
      values.append(jnp.full(leaf.shape, rule.value, leaf.dtype))
      continue
    start = taken[rule.kind]
    taken[rule.kind] += leaf.size
    part = pools[rule.kind][start : start + leaf.size] * rule.value
    values.append(part.reshape(leaf.shape).astype(leaf.dtype))
  return jax.tree_util.tree_unflatten(treedef, values)


def drawn_as(network: Network, scheme: str) -> Network:
  """Returns a network whose parameters start by another scheme.

  Args:
    network: its parameters are named as `draw_params` expects.
    scheme: see `draw_params`.

  Raises:
    ValueError: if the scheme is unknown.

  Example:
    >>> network = drawn_as(networks.lenet((28, 28, 1), 10), 'xavier')
  """
  if scheme not in SCHEMES:
    raise ValueError(f'initialisation {scheme!r}: must be one of {SCHEMES}')

  def init(key):
    variables = network.init(key)
    return variables._replace(params=draw_params(key, variables.params, scheme))

  return network._replace(init=init)


def _pool(key, rules, leaves, kind):
  pairs = zip(leaves, rules, strict=True)
  size = sum(leaf.size for (_, leaf), rule in pairs if rule.kind == kind)
  if kind == 'uniform':
    return jax.random.uniform(key, (size,), minval=-1.0)
  return jax.random.normal(key, (size,)) if size else jnp.zeros((0,))


def _rule(path, leaf, shapes, scheme):
  names = [entry.key for entry in path]
  layer = shapes
  for name in names[:-1]:
    layer = layer[name]
  if names[-1] == 'scale':
    return _Leaf('constant', 1.0)
  if names[-1] == 'bias' and 'kernel' not in layer:
    return _Leaf('constant', 0.0)
  if names[-1] not in ('kernel', 'bias'):
    raise ValueError(
      f'parameter {"/".join(names)!r}: the torch scheme knows kernel, bias '
      'and scale; initialise other layers with the module itself'
    )
  kernel = layer['kernel']
  if scheme == 'xavier':
    if names[-1] == 'bias':
      return _Leaf('constant', 0.0)
    area = math.prod(kernel.shape[:-2])
    fans = area * (kernel.shape[-2] + kernel.shape[-1])
    return _Leaf('normal', math.sqrt(2 / fans))
  if scheme == 'he_fan_out' and names[-1] == 'kernel' and leaf.ndim == 4:
    fan_out = leaf.shape[0] * leaf.shape[1] * leaf.shape[3]
    return _Leaf('normal', math.sqrt(2 / fan_out))
  return _Leaf('uniform', 1 / math.sqrt(math.prod(kernel.shape[:-1])))
