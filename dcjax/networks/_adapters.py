"""Adapters that turn Flax modules into a `Network`."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError

from dcjax.base import Network, Outputs, Variables
from dcjax.networks._initialise import draw_params

# Drop masks use one generator everywhere, so that a saved key means the same.
_GENERATOR = 'threefry2x32'


def _as_outputs(result: Any) -> Outputs:
  return result if isinstance(result, Outputs) else Outputs(result)


def from_linen(
  module: Any,
  image_shape: tuple[int, int, int],
  *,
  init: str = 'module',
  name: str | None = None,
  dropout: bool = False,
  independent: bool | None = None,
) -> Network:
  """Wraps a Flax linen module.

  Args:
    module: called as `module(images [B, H, W, D], train=bool)`, or without
      `train` if it has no such argument; returns logits `[B, K]` or an
      `Outputs`. Running statistics live in `batch_stats`.
    image_shape: `(H, W, D)`.
    init: `'module'` lets the module's own initialisers draw the parameters;
      `'torch'` or `'he_fan_out'` draw them as PyTorch does, from one flat
      vector (faster to compile; needs the usual kernel/bias/scale names).
    name: for reports; the module's class name if None.
    dropout: whether training needs random numbers (`nn.Dropout`,
      `make_rng('dropout')`).
    independent: whether each image is seen alone in train mode, see `Network`;
      None: found out.

  Returns:
    A `Network`. `Network.apply` takes no key, so with `dropout` the state
    carries one, in `state['dropout']['key']` (`[2]` uint32, drawn by `init`):
    a training step uses it and leaves the next one. Steps that throw the new
    state away, such as those of `match`, therefore share one mask.

  Raises:
    ValueError: from `apply`, if the module draws random numbers in training
      and `dropout` is False.

  Example:
    >>> network = from_linen(MyModule(num_classes=10), (32, 32, 3))
    >>> variables = network.init(jax.random.key(0))
  """
  name = name or type(module).__name__.lower()
  network = Network(
    _init_of(module, image_shape, init),
    _apply_of(module, name),
    name,
    independent,
  )
  return _with_drop_keys(network) if dropout else network


def _init_of(module, image_shape, init):
  blank = jnp.zeros((1, *image_shape))

  def full_init(key):
    return dict(module.init(key, blank, **_mode(module, False)))

  def init_fn(key):
    if init == 'module':
      variables = full_init(key)
      return Variables(variables.pop('params'), variables)
    shapes = jax.eval_shape(full_init, jax.random.key(0))
    params = draw_params(key, shapes.pop('params'), init)
    # Running statistics start at mean 0 and variance 1.
    state = jax.tree_util.tree_map_with_path(_initial_statistic, shapes)
    return Variables(params, state)

  return init_fn


def _initial_statistic(path, leaf):
  value = 1.0 if path[-1].key == 'var' else 0.0
  return jnp.full(leaf.shape, value, leaf.dtype)


def _apply_of(module, name):
  def apply_fn(variables, images, train, keys=None):
    tree = {'params': variables.params, **variables.state}
    options = {**_mode(module, train), 'rngs': keys}
    try:
      if train and variables.state:
        options['mutable'] = list(variables.state)
        result, state = module.apply(tree, images, **options)
        return _as_outputs(result), dict(state)
      result = module.apply(tree, images, **options)
    except InvalidRngError as error:
      raise ValueError(
        f'network {name!r} draws random numbers in training; give from_linen '
        'dropout=True.'
      ) from error
    return _as_outputs(result), variables.state

  return apply_fn


def _mode(module, train):
  """Returns the keyword arguments of a call: `train` if there is one."""
  parameters = inspect.signature(type(module).__call__).parameters
  takes = 'train' in parameters or any(
    p.kind is p.VAR_KEYWORD for p in parameters.values()
  )
  return {'train': train} if takes else {}


def _with_drop_keys(network):
  """Carries the key of the next training step in the state."""

  def init_fn(key):
    params, state = network.init(key)
    bits = jax.random.bits(jax.random.fold_in(key, 2), (2,), jnp.uint32)
    return Variables(params, {**state, 'dropout': {'key': bits}})

  def apply_fn(variables, images, train):
    state = dict(variables.state)
    carried = {'dropout': state.pop('dropout')}
    keys = None
    if train:
      bits = carried['dropout']['key']
      following, key = jax.random.split(
        jax.random.wrap_key_data(bits, impl=_GENERATOR)
      )
      keys = {'dropout': key}
      carried = {'dropout': {'key': jax.random.key_data(following)}}
    outputs, state = network.apply(
      Variables(variables.params, state), images, train, keys
    )
    return outputs, {**state, **carried}

  return network._replace(init=init_fn, apply=apply_fn)


def from_nnx(make_module: Any, *, name: str = 'nnx') -> Network:
  """Wraps a Flax nnx module.

  Args:
    make_module: `nnx.Rngs -> nnx.Module`; the module is called with images
      `[B, H, W, D]`, and with `train` if it has such an argument; it returns
      logits `[B, K]` or an `Outputs`.
    name: for reports.

  Returns:
    A `Network` whose `state` holds everything that is not an `nnx.Param`, such
    as running statistics and the random streams of `nnx.Dropout`. `train`
    calls the module's `train()`/`eval()` mode where it has one.

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
    outputs = _as_outputs(module(images, **_mode(module, train)))
    _, _, state = nnx.split(module, nnx.Param, ...)
    return outputs, nnx.to_pure_dict(state) if train else variables.state

  def _states(build, variables):
    _, params, state = jax.eval_shape(build, jax.random.key(0))
    nnx.replace_by_pure_dict(params, variables.params)
    nnx.replace_by_pure_dict(state, variables.state)
    return params, state

  return Network(init_fn, apply_fn, name)
