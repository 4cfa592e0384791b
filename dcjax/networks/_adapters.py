"""Adapters that turn Flax modules into a `Network`."""

import inspect
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError

from dcjax.base import Network, Variables
from dcjax.networks._adapter_checks import check_network, outputs_of
from dcjax.networks._initialise import draw_params

# Drop masks use one generator everywhere, so that a saved key means the same.
_GENERATOR = 'threefry2x32'
# Arguments that select training, by what they are then.
_MODES = {
  'train': True,
  'training': True,
  'is_training': True,
  'deterministic': False,
  'use_running_average': False,
}


def from_linen(
  module: Any,
  image_shape: tuple[int, int, int],
  *,
  init: str = 'module',
  name: str | None = None,
  dropout: bool = False,
  independent: bool | None = None,
  num_classes: int | None = None,
) -> Network:
  """Wraps a Flax linen module, after one dry evaluation without numbers.

  Args:
    module: called with images `[B, H, W, D]`; returns logits `[B, K]` or an
      `Outputs`. Whether it trains is said by that one of `train`, `training`,
      `is_training` (True) or `deterministic`, `use_running_average` (False)
      that its call, or else its fields, name; of `nn.Sequential`, the fields
      of its layers. Running statistics live in `batch_stats`.
    image_shape: `(H, W, D)`.
    init: `'module'` lets the module's own initialisers draw the parameters;
      `'torch'` or `'he_fan_out'` draw them as PyTorch does, from one flat
      vector (faster to compile; needs the usual kernel/bias/scale names).
    name: for reports; the module's class name if None.
    dropout: whether training needs random numbers (`nn.Dropout`,
      `make_rng('dropout')`).
    independent: whether each image is seen alone in train mode, see `Network`;
      None: found out.
    num_classes: `K` that the logits must have; None: any from 2.

  Returns:
    A `Network`. `Network.apply` takes no key, so with `dropout` the state
    carries one, in `state['dropout']['key']` (`[2]` uint32, drawn by `init`):
    a training step uses it and leaves the next one. Steps that throw the new
    state away, such as those of `match`, therefore share one mask.

  Raises:
    ValueError: if the module cannot be evaluated on such images, returns
      anything but logits of that width, asks for random numbers that it does
      not get (names the stream), or tracks statistics that nothing can switch.

  Example:
    >>> network = from_linen(MyModule(num_classes=10), (32, 32, 3))
    >>> variables = network.init(jax.random.key(0))
  """
  if not isinstance(module, nn.Module):
    raise ValueError(
      f'module {module!r}: must be an instance of flax.linen.Module, as '
      'MyModule(num_classes=10)'
    )
  network = wrap_linen(
    module,
    image_shape,
    init=init,
    name=name,
    dropout=dropout,
    independent=independent,
  )
  variables = check_network(network, image_shape, num_classes)
  if 'batch_stats' in variables.state and not _has_mode(module):
    raise ValueError(
      f'network {network.name!r}: has running statistics, but its call takes '
      f'none of {", ".join(_MODES)}, so that they would never be trained'
    )
  return network


def wrap_linen(
  module: Any,
  image_shape: tuple[int, int, int],
  *,
  init: str = 'module',
  name: str | None = None,
  dropout: bool = False,
  independent: bool | None = None,
) -> Network:
  """`from_linen` of a module that is known to be right: nothing is evaluated.

  Args:
    module: see `from_linen`.
    image_shape: see `from_linen`.
    init: see `from_linen`.
    name: see `from_linen`.
    dropout: see `from_linen`.
    independent: see `from_linen`.
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
  def full_init(key):
    called, options = _in_mode(module, False)
    variables = dict(called.init(key, jnp.zeros((1, *image_shape)), **options))
    if 'params' not in variables:
      raise ValueError('it has no parameters')
    return variables

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
    called, options = _in_mode(module, train)
    options['rngs'] = keys
    state = variables.state
    try:
      if train and variables.state:
        options['mutable'] = list(variables.state)
        result, state = called.apply(tree, images, **options)
        state = dict(state)
      else:
        result = called.apply(tree, images, **options)
    except InvalidRngError as error:
      raise _unserved(name, train, bool(keys), error) from error
    return outputs_of(result, name, images.shape[0]), state

  return apply_fn


def _unserved(name, train, has_keys, error) -> ValueError:
  """The error about a random stream that a module asks for in vain."""
  found = re.search(r'PRNG for "([^"]+)"', str(error))
  stream = found[1] if found else 'dropout'
  when = 'training' if train else 'evaluation, without a switch for it'
  remedy = 'give from_linen dropout=True'
  if stream != 'dropout':
    remedy = f"it asks for {stream!r}, and only 'dropout' is served"
  elif has_keys or not train:
    remedy = f'only training is given any; take one of {", ".join(_MODES)}'
  return ValueError(
    f'network {name!r} draws random numbers in {when}; {remedy}.'
  )


def _arguments(function) -> set[str]:
  """Names of what can be passed by name; `**kwargs` is no consent."""
  return {
    p.name
    for p in inspect.signature(function).parameters.values()
    if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
  }


def _mode(module, train) -> dict[str, bool]:
  """Returns the arguments of a call that say whether it trains."""
  known = _arguments(type(module).__call__) & set(_MODES)
  return {name: _MODES[name] == train for name in known}


def _has_mode(module) -> bool:
  if isinstance(module, nn.Sequential):
    return any(map(_has_mode, module.layers))
  return bool(_mode(module, True) or _mode_fields(module))


def _mode_fields(module) -> set[str]:
  """Names of a linen module's fields that select training."""
  return set(getattr(module, '__dataclass_fields__', {})) & set(_MODES)


def _in_mode(module, train):
  """Returns a linen module and the arguments of its call, for one mode."""
  if isinstance(module, nn.Sequential):
    layers = [_layer_in_mode(layer, train) for layer in module.layers]
    return module.clone(layers=layers), {}
  options = _mode(module, train)
  return (module if options else _with_fields(module, train)), options


def _with_fields(module, train):
  fields = _mode_fields(module)
  return module.clone(**{n: _MODES[n] == train for n in fields})


def _layer_in_mode(layer, train):
  """Returns a layer of `nn.Sequential`, which passes no arguments on."""
  if isinstance(layer, nn.Sequential):
    return _in_mode(layer, train)[0]
  if not isinstance(layer, nn.Module):
    return layer
  if _mode(layer, train) and not _mode_fields(layer):
    raise ValueError(
      f'nn.Sequential does not pass {", ".join(_mode(layer, train))} on to its '
      f'{type(layer).__name__}; make it a field of that module'
    )
  return _with_fields(layer, train)


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


def from_nnx(
  make_module: Any,
  *,
  name: str = 'nnx',
  image_shape: tuple[int, int, int] | None = None,
  num_classes: int | None = None,
) -> Network:
  """Wraps a Flax nnx module.

  Args:
    make_module: `nnx.Rngs -> nnx.Module`; the module is called with images
      `[B, H, W, D]`, and told whether it trains as `from_linen` does where its
      call names one of those arguments; it returns logits `[B, K]` or an
      `Outputs`.
    name: for reports.
    image_shape: `(H, W, D)`: a dry evaluation checks the network at once; None:
      the first use does.
    num_classes: `K` that the logits must have; None: any from 2.

  Returns:
    A `Network` whose `state` holds everything that is not an `nnx.Param`, such
    as running statistics and the random streams of `nnx.Dropout`. `train`
    calls the module's `train()`/`eval()` mode where it has one.

  Raises:
    ValueError: as `from_linen`.

  Example:
    >>> network = from_nnx(lambda rngs: MyModule(10, rngs=rngs))
  """
  from flax import nnx

  def build(key):
    if isinstance(make_module, nnx.Module):
      raise _no_maker('is a', make_module)
    module = make_module(nnx.Rngs(key))
    if not isinstance(module, nnx.Module):
      raise _no_maker('makes a', module)
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
    result = module(images, **_mode(module, train))
    outputs = outputs_of(result, name, images.shape[0])
    _, _, state = nnx.split(module, nnx.Param, ...)
    return outputs, nnx.to_pure_dict(state) if train else variables.state

  def _states(build, variables):
    _, params, state = jax.eval_shape(build, jax.random.key(0))
    nnx.replace_by_pure_dict(params, variables.params)
    nnx.replace_by_pure_dict(state, variables.state)
    return params, state

  network = Network(init_fn, apply_fn, name)
  if image_shape is not None:
    check_network(network, image_shape, num_classes)
  elif num_classes is not None:
    raise ValueError('num_classes: can only be checked with an image_shape')
  return network


def _no_maker(what: str, given) -> ValueError:
  return ValueError(
    f'make_module {what} {type(given).__name__}; must be a function that makes '
    'a flax.nnx.Module, as lambda rngs: MyModule(10, rngs=rngs)'
  )
