"""Observers from torchvision-style state dicts, and back."""

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import _torch_files
from dcjax.base import Network, Variables
from dcjax.networks._registry import build, options_of
from dcjax.networks._torch_names import Dialect, dialect
from dcjax.networks._torch_state import assembled, paths, transposed

_KINDS = {
  'kernel': 'weight',
  'scale': 'weight',
  'bias': 'bias',
  'mean': 'running_mean',
  'var': 'running_var',
}
_IGNORED = 'num_batches_tracked'
_WRAPPERS = ('state_dict', 'model_state_dict', 'model', 'net')
# What data-parallel and compiled networks put before every name.
_ALWAYS = re.compile(r'^(?:module\.|_orig_mod\.)+')
_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')
_SHOWN = 5


class _Entry(NamedTuple):
  """Where an array belongs, and how PyTorch stores it."""

  path: tuple[str, ...]
  shape: tuple[int, ...]
  features: tuple[int, int, int] | None  # (h, w, channels) that are flattened


def load_torch(
  source: str | os.PathLike | Mapping[str, Any],
  network_spec: Mapping[str, Any],
  image_shape: tuple[int, int, int],
  num_classes: int,
) -> Variables:
  """Reads a PyTorch state dict into the variables of a network.

  Names are torchvision's for `resnet`, `mobilenet_v2`, `shufflenet_v2`,
  `efficientnet_b0` (form `'torchvision'`), `alexnet` and `vgg11` (form
  `'imagenet'`); those of the distillation literature for the CIFAR forms and
  `wide_resnet`; those of DC and IDC for `convnet` and the forms `'dc'`. The
  prefixes that wrappers give all names (`module.`, `_orig_mod.`, `model.`, ...)
  are stripped, and `num_batches_tracked` ignored. For other names see
  `from_torch_state`.

  Args:
    source: a `.pth`, `.pt` or `.bin` file (needs the package `torch`; only
      arrays are unpickled), a `.safetensors` file, or a mapping of arrays or
      tensors by name. A checkpoint that holds the state dict as `state_dict`,
      `model_state_dict`, `model` or `net` is unwrapped.
    network_spec: what `build` takes.
    image_shape: `(H, W, D)`.
    num_classes: `K`.

  Returns:
    float32 `Variables`. Numbers that PyTorch does not store, as dropout keys,
    are 0.

  Raises:
    FileNotFoundError: if there is no such file.
    ImportError: if PyTorch is needed and missing.
    ValueError: if the file is damaged, or holds anything but arrays; if entries
      are missing, not known, or of another shape (all in one message), or not
      finite; or if the network or the kind of file is unknown. One line that
      names the file.

  Example:
    >>> spec = {'name': 'resnet', 'depth': 18, 'norm': 'batch'}
    >>> variables = load_torch(  # doctest: +SKIP
    ...   'resnet18.pth', spec, (224, 224, 3), 1000)
    >>> network = build(spec, (224, 224, 3), 1000)
    >>> outputs, _ = network.apply(variables, images, False)  # doctest: +SKIP
  """
  network = build(network_spec, image_shape, num_classes)
  language = _dialect_of(network_spec, image_shape)
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  entries = _entries(network, shapes, language, image_shape)
  where = 'state dict'
  if not isinstance(source, Mapping):
    where = f'state dict {os.fspath(source)!r}'
  state = _state_of(where, _read(source, where))
  arrays = _spelled(state, language, set(entries))
  _check_entries(where, network, entries, arrays)
  found = {
    entry.path: jnp.asarray(
      transposed(_as_array(where, name, arrays[name]), entry.features)
    )
    for name, entry in entries.items()
  }
  return assembled(network, shapes, found)


def to_torch(
  variables: Variables,
  network_spec: Mapping[str, Any],
  image_shape: tuple[int, int, int],
  num_classes: int,
) -> dict[str, np.ndarray]:
  """Returns a PyTorch state dict of NumPy arrays; `load_torch` undone.

  `load_state_dict` takes it after `torch.from_numpy` of every array; it adds
  the `num_batches_tracked` that are not here.

  Args:
    variables: of the network.
    network_spec: what `build` takes.
    image_shape: `(H, W, D)`.
    num_classes: `K`.

  Raises:
    ValueError: if no PyTorch names are known for the network.
  """
  network = build(network_spec, image_shape, num_classes)
  language = _dialect_of(network_spec, image_shape)
  leaves = dict(paths(variables))
  entries = _entries(network, variables, language, image_shape)
  return {
    name: _torch_order(np.asarray(leaves[entry.path]), entry.features)
    for name, entry in entries.items()
  }


def _dialect_of(network_spec, image_shape) -> Dialect:
  return dialect(options_of(network_spec), network_spec['name'], image_shape)


def _entries(network: Network, variables: Variables, language, image_shape):
  """`_Entry` by PyTorch name, for all that PyTorch stores of the variables."""
  entries = {}
  for path, leaf in paths(variables):
    if path[0] not in ('params', 'batch_stats'):
      continue
    layer = '/'.join(path[1:-1])
    features = None
    if layer == language.flattened and path[-1] == 'kernel':
      features = _last_map(network, variables, image_shape)
    name = f'{language.layer(layer)}.{_KINDS[path[-1]]}'
    entries[name] = _Entry(path, _torch_shape(leaf.shape), features)
  return entries


def _last_map(network, variables, image_shape):
  """`(h, w, channels)` of the last tap."""

  def run(variables):
    images = jnp.zeros((1, *image_shape))
    return network.apply(variables, images, False)[0].taps[-1]

  return jax.eval_shape(run, variables).shape[1:]


def _torch_shape(shape):
  if len(shape) == 4:
    return (shape[3], shape[2], *shape[:2])
  if len(shape) == 3:
    return (shape[2], *shape[:2])
  return shape[::-1]


def _torch_order(array, features):
  if array.ndim == 4:
    return array.transpose(3, 2, 0, 1)
  if array.ndim == 3:
    return array.transpose(2, 0, 1)
  array = array.T
  if features is None:
    return array
  outputs = array.shape[0]
  return (
    array.reshape(outputs, *features).transpose(0, 3, 1, 2).reshape(outputs, -1)
  )


def _state_of(where: str, state: Any) -> dict[str, Any]:
  """Returns arrays or tensors by name, without what a checkpoint wraps."""
  for _ in _WRAPPERS:
    inside = [
      w
      for w in _WRAPPERS
      if isinstance(state, Mapping) and isinstance(state.get(w), Mapping)
    ]
    if len(inside) > 1:
      raise ValueError(
        f'{where}: holds several state dicts ({", ".join(inside)}); give one'
      )
    if not inside:
      break
    state = state[inside[0]]
  if not isinstance(state, Mapping):
    raise ValueError(
      f'{where}: holds a {type(state).__name__}, not arrays by name'
    )
  for name, array in state.items():
    if not isinstance(name, str) or not hasattr(array, 'shape'):
      raise ValueError(
        f'{where}: holds {name!r}, a {type(array).__name__}; a state dict '
        'holds arrays by name'
      )
  return {name.replace('/', '.'): array for name, array in state.items()}


def _spelled(
  state: Mapping[str, Any], language: Dialect, wanted: set[str]
) -> dict[str, Any]:
  """Returns arrays in the spelling of the dialect.

  A prefix that all names share is stripped if the rest fits; those of
  data-parallel and compiled networks always are.
  """
  kept = {
    _ALWAYS.sub('', name): array
    for name, array in state.items()
    if not name.endswith(_IGNORED)
  }
  plain = {language.canonical(name): array for name, array in kept.items()}
  names = kept
  while names and set(plain) != wanted:
    shared = {name.partition('.')[0] for name in names}
    if len(shared) > 1 or not all('.' in name for name in names):
      break
    names = {name.partition('.')[2]: array for name, array in names.items()}
    stripped = {language.canonical(n): array for n, array in names.items()}
    if set(stripped) == wanted:
      return stripped
  return plain


def _as_array(where: str, name: str, array: Any) -> np.ndarray:
  """Returns float32, if the numbers can be a network's."""
  if hasattr(array, 'detach'):  # a tensor, perhaps of bfloat16
    array = array.detach().cpu()
    array = (array.float() if array.is_floating_point() else array).numpy()
  array = np.asarray(array)
  if array.dtype.kind not in 'fiu':
    raise ValueError(f'{where}: {name!r} has dtype {array.dtype}')
  with np.errstate(over='ignore'):
    array = array.astype(np.float32)
  if not np.isfinite(array).all():
    raise ValueError(
      f'{where}: {name!r} holds NaN or infinite numbers; a network with them '
      'says nothing'
    )
  if name.endswith('.running_var') and (array < 0).any():
    raise ValueError(f'{where}: {name!r} holds variances below 0')
  return array


def _read(source: Any, where: str) -> Any:
  if isinstance(source, Mapping):
    return source
  path = pathlib.Path(source)
  if path.suffix not in _SUFFIXES:
    raise ValueError(f'{where}: must end in {_SUFFIXES}')
  if not path.exists():
    raise FileNotFoundError(f'{where}: there is no such file')
  if path.suffix == '.safetensors':
    return _torch_files.read_safetensors(path)
  return _torch_files.read_torch(path)


def _check_entries(where, network, entries, arrays):
  missing = [repr(name) for name in entries if name not in arrays]
  unknown = [repr(name) for name in arrays if name not in entries]
  misshaped = [
    f'{name!r} {tuple(arrays[name].shape)} instead of {entry.shape}'
    for name, entry in entries.items()
    if name in arrays and tuple(arrays[name].shape) != entry.shape
  ]
  problems = {
    'missing': missing,
    'not known': unknown,
    'of another shape': misshaped,
  }
  said = [
    f'{len(names)} {problem} ({_first(names)})'
    for problem, names in problems.items()
    if names
  ]
  if said:
    raise ValueError(
      f'{where} for {network.name}: of {len(entries)} entries {"; ".join(said)}'
    )


def _first(names):
  more = ', ...' if len(names) > _SHOWN else ''
  return ', '.join(names[:_SHOWN]) + more
