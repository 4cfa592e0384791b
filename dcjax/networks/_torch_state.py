"""Reads the state dicts of the PyTorch references into `Variables`."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Network, Variables
from dcjax.utils import check_choice

Names = str | Mapping[str, str] | Callable[[str], str]

_STATISTICS = {'running_mean': 'mean', 'running_var': 'var'}
_IGNORED = 'num_batches_tracked'
# What data-parallel and compiled networks put before every name.
_ALWAYS = re.compile(r'^(?:module/|_orig_mod/)+')
_RESIDUAL = re.compile(
  r'layer(?P<stage>\d+)/(?P<block>\d+)/'
  r'(?:(?P<kind>conv|bn)(?P<index>\d)|(?:downsample|shortcut)/(?P<part>\d))'
)


def from_torch_state(
  network: Network,
  state_dict: Mapping[str, np.ndarray],
  names: Names,
  *,
  feature_shape: tuple[int, int, int] | None = None,
) -> Variables:
  """Turns a PyTorch state dict into the variables of a network.

  Convolution kernels `[O, I, kh, kw]` become `[kh, kw, I, O]`, linear weights
  `[O, I]` become `[I, O]`, and layer norm's `[D, H, W]` become `[H, W, D]`. The
  first linear layer of the dict sees features flattened in the order D, H, W
  there and H, W, D here: its inputs are reordered.

  Args:
    network: made with the options of the stored one.
    state_dict: arrays by name, `layer.weight` or `layer/weight`, in the order
      of the modules. `num_batches_tracked` is ignored, and so are the prefixes
      `module.` and `_orig_mod.` of data-parallel and compiled networks.
    names: `'convnet'` (IDC's `layers.conv.0`, DC's `features.0`), `'resnet'`
      (IDC's `layer1.0.downsample.0`, DC's `layer1.0.shortcut.0`), or, for other
      networks, the path of this network's layer by torch layer, as a mapping
      `{'fc_1': 'dense0', ...}` or a function. Torch layers are written with
      slashes, paths too: `'stage1_block0/conv1'`.
    feature_shape: `(H, W, D)` of what the first linear layer sees flattened.
      None: square, with the channels of the last convolution before it.

  Returns:
    float32 `Variables`; copies, which training the stored network further
    leaves alone. Numbers that PyTorch does not store, as EfficientNet's dropout
    key, are 0.

  Raises:
    ValueError: if an array is missing, not known, of another shape, or if the
      first linear layer's inputs need a `feature_shape`.

  Example:
    >>> state_dict = torch.load('convnet.pth')  # doctest: +SKIP
    >>> stored = {k: v.numpy() for k, v in state_dict.items()}  # doctest: +SKIP
    >>> network = convnet((32, 32, 3), 10)
    >>> from_torch_state(network, stored, 'convnet')  # doctest: +SKIP
  """
  arrays = _normalised(state_dict)
  variables = jax.eval_shape(network.init, jax.random.key(0))
  expected = {path: leaf.shape for path, leaf in paths(variables)}
  layers = list(dict.fromkeys(name.rpartition('/')[0] for name in arrays))
  path_of = _rule(names, arrays, layers)
  flattened = _flattened(arrays, feature_shape)
  found = {}
  for name, array in arrays.items():
    layer, _, kind = name.rpartition('/')
    path = _leaf_path(path_of(layer), kind, expected)
    if path not in expected or path in found:
      raise ValueError(
        f'state dict entry {name!r}: the network {network.name} has no '
        f'parameter for it (it would be {"/".join(path[1:])!r}); names: '
        f'{names if isinstance(names, str) else "custom"}'
      )
    features = flattened[1] if flattened and name == flattened[0] else None
    found[path] = _fitted(name, transposed(array, features), expected[path])
  return assembled(network, variables, found)


def _normalised(state_dict):
  arrays = {}
  for name, array in state_dict.items():
    name = _ALWAYS.sub('', name.replace('.', '/'))
    if not name.endswith(_IGNORED):
      arrays[name] = np.asarray(array)
  return arrays


def paths(variables: Variables) -> Iterator[tuple[tuple[str, ...], Any]]:
  """Yields path and leaf; a path starts with 'params' or 'batch_stats'."""
  tree = {'params': variables.params, **variables.state}
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    yield tuple(entry.key for entry in path), leaf


def _rule(names, arrays, layers) -> Callable[[str], str]:
  if callable(names):
    return names
  if isinstance(names, str):
    check_choice('names', names, ('convnet', 'resnet'))
    if names == 'resnet':
      return _resnet_layer
    names = _convnet_layers(arrays, layers)
  table = {key.replace('.', '/'): path for key, path in names.items()}
  return lambda layer: table.get(layer, layer)


def _convnet_layers(arrays, layers):
  """IDC numbers convolutions and norms apart, DC numbers all layers."""
  table = {}
  counts = {'conv': 0, 'norm': 0}
  numbered = [layer for layer in layers if layer.startswith('features/')]
  for layer in sorted(numbered, key=lambda layer: int(layer.split('/')[1])):
    kind = 'conv' if arrays[f'{layer}/weight'].ndim == 4 else 'norm'
    table[layer] = f'{kind}{counts[kind]}'
    counts[kind] += 1
  for layer in layers:
    match = re.fullmatch(r'layers/(conv|norm)/(\d+)', layer)
    if match:
      table[layer] = f'{match[1]}{match[2]}'
  return table


def _resnet_layer(layer):
  match = _RESIDUAL.fullmatch(layer)
  if match:
    block = f'stage{match["stage"]}_block{match["block"]}'
    if match['part']:
      # The convolution comes first; pooling may stand between it and the norm.
      part = 'conv' if match['part'] == '0' else 'norm'
      return f'{block}/shortcut_{part}'
    kind = 'conv' if match['kind'] == 'conv' else 'norm'
    return f'{block}/{kind}{match["index"]}'
  known = {
    'layer0/conv1': 'stem_conv',
    'layer0/bn1': 'stem_norm',
    'conv1': 'stem_conv',
    'bn1': 'stem_norm',
    'fc': 'classifier',
  }
  return known.get(layer, layer)


def _leaf_path(layer_path, kind, expected):
  layer = tuple(layer_path.split('/'))
  if kind in _STATISTICS:
    return ('batch_stats', *layer, _STATISTICS[kind])
  if kind == 'weight':
    scale = ('params', *layer, 'scale')
    return scale if scale in expected else ('params', *layer, 'kernel')
  return ('params', *layer, kind)


def _flattened(arrays, feature_shape):
  """Name and `(H, W, D)` inputs of the first linear weight, if it has any."""
  names = list(arrays)
  linear = [name for name in names if arrays[name].ndim == 2]
  if not linear:
    return None
  name = linear[0]
  before = names[: names.index(name)]
  kernels = [arrays[other] for other in before if arrays[other].ndim == 4]
  inputs = arrays[name].shape[1]
  if feature_shape is None:
    if not kernels:
      return None
    channels = kernels[-1].shape[0]
    size = math.isqrt(inputs // channels)
    feature_shape = (size, size, channels)
  if math.prod(feature_shape) != inputs:
    raise ValueError(
      f'state dict entry {name!r}: {inputs} inputs are no features of shape '
      f'{tuple(feature_shape)}; pass feature_shape=(H, W, D)'
    )
  return name, feature_shape


def transposed(
  array: np.ndarray, feature_shape: tuple[int, int, int] | None
) -> np.ndarray:
  """Turns an array of PyTorch into this package's order of axes.

  Args:
    array: kernel, linear weight, layer norm's affine, or a vector.
    feature_shape: `(h, w, channels)` of the map that a linear weight sees
      flattened, in the order channels, h, w there; None keeps its inputs.
  """
  if array.ndim == 4:
    return array.transpose(2, 3, 1, 0)
  if array.ndim == 3:
    return array.transpose(1, 2, 0)
  if array.ndim != 2:
    return array
  if feature_shape is not None:
    h, w, channels = feature_shape
    array = array.reshape(-1, channels, h, w).transpose(0, 2, 3, 1)
    array = array.reshape(array.shape[0], -1)
  return array.T


def _fitted(name, array, shape):
  if array.shape != shape:
    raise ValueError(
      f'state dict entry {name!r}: shape {array.shape} after transposing, the '
      f'network has {shape}'
    )
  array = np.array(array, np.float32)  # a copy: JAX may share its memory
  if not np.isfinite(array).all():
    raise ValueError(
      f'state dict entry {name!r}: holds NaN or infinite numbers'
    )
  return jnp.asarray(array)


def assembled(
  network: Network, shapes: Variables, found: Mapping[tuple, Any]
) -> Variables:
  """Puts arrays into the places of a network's variables.

  Args:
    network: for messages.
    shapes: what its `init` would return.
    found: arrays by path; a path starts with `'params'` or `'batch_stats'`.

  Raises:
    ValueError: if arrays are missing; other state than statistics is 0.
  """
  tree = {'params': shapes.params, **shapes.state}
  missing = []

  def fill(path, leaf):
    path = tuple(entry.key for entry in path)
    if path in found:
      return found[path]
    if path[0] in ('params', 'batch_stats'):
      missing.append('/'.join(path[1:]))
    return jnp.zeros(leaf.shape, leaf.dtype)

  tree = jax.tree_util.tree_map_with_path(fill, tree)
  if missing:
    raise ValueError(
      f'state dict: nothing for {missing} of the network {network.name}'
    )
  return Variables(tree.pop('params'), tree)
