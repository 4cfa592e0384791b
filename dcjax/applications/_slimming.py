"""Network slimming: channels with small BatchNorm scales are removed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax.base import Array, Params, PyTree, Variables
from dcjax.networks._registry import options_of
from dcjax.utils import check_at_least

# BatchNorm layer -> `[channels]` bool.
Kept = dict[str, Array]

_STATISTICS = 'batch_stats'


def slimmable_layers(variables: Variables) -> tuple[str, ...]:
  """Names the BatchNorm layers of a chain of convolutions, in order.

  A chain is what the library's ConvNet, VGG-11 and AlexNet are: `conv0`,
  `norm0`, `conv1`, `norm1`, ... and dense layers. Where outputs of layers are
  added or joined, as in a residual network, a channel belongs to several
  layers and cannot be removed from one.

  Args:
    variables: of a network made by flax; shapes alone will do.

  Raises:
    ValueError: if the network has no BatchNorm, or is no such chain.

  Example:
    >>> network = networks.convnet((8, 8, 1), 10, depth=2, norm='batch')
    >>> slimmable_layers(network.init(key))
    ('norm0', 'norm1')
  """
  normalised = variables.state.get(_STATISTICS, {})
  if not normalised:
    raise ValueError(
      'network without BatchNorm: slimming ranks channels by its scales, so '
      "norm must be 'batch'"
    )
  names = [f'norm{i}' for i in range(len(normalised))]
  chain = {*names, *(f'conv{i}' for i in range(len(normalised)))}
  rest = set(variables.params) - chain
  dense = 'classifier' in rest and all(
    name == 'classifier' or name.startswith('dense') for name in rest
  )
  if set(names) != set(normalised) or not dense:
    raise ValueError(
      f'network with layers {sorted(variables.params)}: only a chain of conv0, '
      'norm0, conv1, norm1, ... can be slimmed, such as a convnet or vgg11'
    )
  return tuple(names)


def check_slimmable(network_spec: Mapping[str, Any]) -> None:
  """Raises a ValueError unless networks of a description can be slimmed.

  A removed channel must be silent where it was: with ReLU a BatchNorm of scale
  and bias 0 gives 0, and no gradient.

  Args:
    network_spec: what `networks.build` takes.

  Raises:
    ValueError: if the network is no chain, not with BatchNorm, or not with
      ReLU.
  """
  name, options = network_spec['name'], options_of(network_spec)
  if name not in ('convnet', 'vgg11'):
    raise ValueError(
      f"network {name!r}: cannot be slimmed, must be 'convnet' or 'vgg11'"
    )
  for option, needed in (('norm', 'batch'), ('activation', 'relu')):
    if options.get(option, needed) != needed:
      raise ValueError(
        f'network {name!r} with {option} {options[option]!r}: slimming needs '
        f'{option} {needed!r}'
      )


def select_channels(variables: Variables, ratio: float) -> Kept:
  """Chooses the channels that slimming keeps: one threshold for all layers.

  Liu et al., "Learning Efficient Convolutional Networks through Network
  Slimming" (ICCV 2017), section 3: the absolute scales of all BatchNorm layers
  are sorted in one list, the one at `int(total * ratio)` is the threshold, and
  what is above it stays. A layer that would lose every channel keeps its
  largest one, unlike in the published code, which fails there.

  Args:
    variables: of a chain, see `slimmable_layers`; `jax.vmap` selects in several
      networks at once.
    ratio: share of all channels to remove, in (0, 1).

  Returns:
    BatchNorm layer -> `[channels]` bool.

  Raises:
    ValueError: if the ratio is out of range, or see `slimmable_layers`.
  """
  if not 0 < ratio < 1:
    raise ValueError(f'ratio {ratio!r}: must be above 0 and below 1')
  scales = {
    name: jnp.abs(variables.params[name]['scale'])
    for name in slimmable_layers(variables)
  }
  ranked = jnp.sort(jnp.concatenate(list(scales.values())))
  threshold = ranked[int(ranked.size * ratio)]

  def kept(scale):
    above = scale > threshold
    largest = jnp.arange(scale.size) == jnp.argmax(scale)
    return jnp.where(jnp.any(above), above, largest)

  return {name: kept(scale) for name, scale in scales.items()}


def mask_channels(variables: Variables, kept: Kept) -> Variables:
  """Silences channels: their BatchNorm scale and bias become 0.

  The network keeps its shape, so nothing compiles anew, and several networks
  that keep different channels train together. After ReLU a silent channel is 0
  and gets no gradient: it stays silent in training, which is number for number
  that of the narrow network.

  Args:
    variables: of a chain.
    kept: see `select_channels`.
  """
  params = dict(variables.params)
  for name, mask in kept.items():
    params[name] = {
      leaf: jnp.where(mask, value, 0) for leaf, value in params[name].items()
    }
  return variables._replace(params=params)


def remove_channels(variables: Variables, kept: Kept) -> Variables:
  """Cuts channels out, on the host: the arrays of a narrower network.

  In eval mode its logits are those of `mask_channels`. A convolution loses
  outputs, the next one inputs, a BatchNorm scales, biases and running
  statistics, and the first dense layer the rows of every pixel of a removed
  channel.

  Args:
    variables: of a chain whose convolutions ReLUs follow; masked or not.
    kept: see `select_channels`, at least one channel a layer.

  Returns:
    NumPy arrays, for the network that `slim_spec` describes.

  Raises:
    ValueError: if a layer would lose all its channels, or `kept` does not fit
      the network.

  Example:
    >>> spec = {'name': 'convnet', 'norm': 'batch', 'width': 4, 'depth': 1}
    >>> kept = {'norm0': np.array([True, False, True, False])}
    >>> wide = networks.build(spec, image_shape, 10)
    >>> narrow = networks.build(slim_spec(spec, kept), image_shape, 10)
    >>> variables = remove_channels(wide.init(key), kept)
    >>> variables.params['conv0']['kernel'].shape[-1]
    2
  """
  layers = slimmable_layers(variables)
  _check_kept(layers, variables, kept)
  host = jax.tree.map(np.asarray, variables)
  params, state = dict(host.params), dict(host.state)
  statistics = dict(state[_STATISTICS])
  inputs = slice(None)  # the images' channels all stay
  for name in layers:
    convolution = name.replace('norm', 'conv')
    outputs = np.asarray(kept[name])
    layer = dict(params[convolution])
    layer['kernel'] = layer['kernel'][:, :, inputs][..., outputs]
    if 'bias' in layer:
      layer['bias'] = layer['bias'][outputs]
    params[convolution] = layer
    for tree in (params, statistics):
      tree[name] = {leaf: value[outputs] for leaf, value in tree[name].items()}
    inputs = outputs
  first = 'dense0' if 'dense0' in params else 'classifier'
  params[first] = _without_rows(params[first], inputs)
  return Variables(params, {**state, _STATISTICS: statistics})


def _without_rows(dense, kept):
  """A dense layer that sees a flattened map: channels are the last axis."""
  kernel = dense['kernel']
  by_pixel = kernel.reshape(-1, kept.size, kernel.shape[1])
  return {**dense, 'kernel': by_pixel[:, kept].reshape(-1, kernel.shape[1])}


def _check_kept(layers, variables, kept):
  if set(kept) != set(layers):
    raise ValueError(f'kept names layers {list(kept)}: must be {list(layers)}')
  for name, mask in kept.items():
    channels = variables.params[name]['scale'].shape
    if np.shape(mask) != channels or not np.any(mask):
      raise ValueError(
        f'kept {name}: keeps {int(np.sum(mask))} of {np.shape(mask)} channels; '
        f'must keep at least one of {channels}'
      )


def slim_spec(network_spec: Mapping[str, Any], kept: Kept) -> dict[str, Any]:
  """Describes the narrower network that `remove_channels` makes arrays for.

  Args:
    network_spec: of the whole network, as `networks.build` takes it.
    kept: see `select_channels`.

  Raises:
    ValueError: see `check_slimmable`.

  Example:
    >>> kept = {'norm0': np.array([True, False, True, False])}
    >>> slim_spec({'name': 'convnet', 'norm': 'batch', 'depth': 1}, kept)
    {'name': 'convnet', 'norm': 'batch', 'depth': 1, 'width': (2,)}
  """
  check_slimmable(network_spec)
  # JAX sorts the names of a dict as words: norm10 comes before norm2.
  widths = [int(np.sum(kept[f'norm{i}'])) for i in range(len(kept))]
  return {**network_spec, 'width': tuple(widths)}


def with_sparsity(
  optimizer: optax.GradientTransformation,
  layers: Sequence[str],
  strength: float = 1e-4,
) -> optax.GradientTransformation:
  """Drives BatchNorm scales to 0 while a network trains.

  `s sign(gamma)` is added to the gradient of every scale `gamma` before the
  optimiser sees it: a subgradient of `s sum |gamma|` (Liu et al., 2017,
  equation 1; 1e-4 for VGG, 1e-5 for residual and dense networks).

  Args:
    optimizer: of the parameters; its state stays as it is.
    layers: BatchNorm layers, see `slimmable_layers`.
    strength: `s`, at least 0; 0 changes nothing.

  Raises:
    ValueError: if the strength is negative.
  """
  check_at_least('strength', strength, 0)

  def is_scale(path, leaf):
    del leaf
    names = [getattr(part, 'key', None) for part in path]
    return len(names) == 2 and names[0] in layers and names[1] == 'scale'

  def pull(gradient: Params, params: Params) -> PyTree:
    return jax.tree.map(
      lambda chosen, g, p: g + strength * jnp.sign(p) if chosen else g,
      jax.tree_util.tree_map_with_path(is_scale, params),
      gradient,
      params,
    )

  def update(gradient, state, params=None):
    return optimizer.update(pull(gradient, params), state, params)

  return optax.GradientTransformation(optimizer.init, update)
