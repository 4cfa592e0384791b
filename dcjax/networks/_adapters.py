"""Adapters that turn Flax modules into a `Network`."""

from typing import Any

import jax
import jax.numpy as jnp

from dcjax.base import Network, Outputs, Variables
from dcjax.networks._initialise import draw_params


def _as_outputs(result: Any) -> Outputs:
  return result if isinstance(result, Outputs) else Outputs(result)


def from_linen(
  module: Any,
  image_shape: tuple[int, int, int],
  *,
  init: str = 'module',
  name: str | None = None,
) -> Network:
  """Wraps a Flax linen module.

  Args:
    module: called as `module(images [B, H, W, D], train=bool)`; returns logits
      `[B, K]` or an `Outputs`. Running statistics live in `batch_stats`.
    image_shape: `(H, W, D)`.
    init: `'module'` lets the module's own initialisers draw the parameters;
      `'torch'` or `'he_fan_out'` draw them as PyTorch does, from one flat
      vector (faster to compile; needs the usual kernel/bias/scale names).
    name: for reports; the module's class name if None.

  Returns:
    A `Network`. Dropout modules get a fixed key and are deterministic.

  Example:
    >>> network = from_linen(MyModule(num_classes=10), (32, 32, 3))
    >>> variables = network.init(jax.random.key(0))
  """
  blank = jnp.zeros((1, *image_shape))

  def full_init(key):
    return dict(module.init(key, blank, train=False))

  def init_fn(key):
    if init == 'module':
      variables = full_init(key)
      return Variables(variables.pop('params'), variables)
    shapes = jax.eval_shape(full_init, jax.random.key(0))
    params = draw_params(key, shapes.pop('params'), init)
    # Running statistics start at mean 0 and variance 1.
    state = jax.tree_util.tree_map_with_path(_initial_statistic, shapes)
    return Variables(params, state)

  def apply_fn(variables, images, train):
    tree = {'params': variables.params, **variables.state}
    if train and variables.state:
      result, state = module.apply(
        tree, images, train=True, mutable=list(variables.state)
      )
      return _as_outputs(result), dict(state)
    result = module.apply(tree, images, train=train)
    return _as_outputs(result), variables.state

  return Network(init_fn, apply_fn, name or type(module).__name__.lower())


def _initial_statistic(path, leaf):
  value = 1.0 if path[-1].key == 'var' else 0.0
  return jnp.full(leaf.shape, value, leaf.dtype)


def from_nnx(make_module: Any, *, name: str = 'nnx') -> Network:
  """Wraps a Flax nnx module.

  Args:
    make_module: `nnx.Rngs -> nnx.Module`; the module is called with images
      `[B, H, W, D]` and returns logits `[B, K]` or an `Outputs`.
    name: for reports.

  Returns:
    A `Network` whose `state` holds everything that is not an `nnx.Param`.
    `train` calls the module's `train()`/`eval()` mode where it has one.

  Example:
    >>> network = from_nnx(lambda rngs: MyModule(10, rngs=rngs))
  """
  from flax import nnx

  def build(key):
    module = make_module(nnx.Rngs(key))
    return nnx.split(module, nnx.Param, ...)

  graph = build(jax.random.key(0))[0]

  def init_fn(key):
    _, params, state = build(key)
    return Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(state))

  def apply_fn(variables, images, train):
    _, params, state = nnx.split(
      nnx.merge(graph, *_states(build, variables)), nnx.Param, ...
    )
    module = nnx.merge(graph, params, state)
    if hasattr(module, 'train') and hasattr(module, 'eval'):
      module.train() if train else module.eval()
    outputs = _as_outputs(module(images))
    _, _, state = nnx.split(module, nnx.Param, ...)
    return outputs, nnx.to_pure_dict(state) if train else variables.state

  def _states(build, variables):
    _, params, state = jax.eval_shape(build, jax.random.key(0))
    nnx.replace_by_pure_dict(params, variables.params)
    nnx.replace_by_pure_dict(state, variables.state)
    return params, state

  return Network(init_fn, apply_fn, name)
