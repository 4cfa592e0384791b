"""Checks of an artefact's fields, and the one form that they are kept in."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dcjax.artefact import _decodable
from dcjax.whitening import Zca

LABEL_FORMS = ('probabilities', 'nonnegative', 'centred')
DTYPES = (
  'float16',
  'float32',
  'int8',
  'int16',
  'int32',
  'int64',
  'uint8',
  'uint16',
)

# How often the width of their range images may lie outside of it.
_FARTHEST = 100


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
  """Returns an `Artefact`'s fields in canonical form, or raises ValueError."""
  class_names = _names(fields['class_names'])
  params = _arrays('params', fields['params'])
  mean, std = (_floats(name, fields[name]) for name in ('mean', 'std'))
  _check_normalisation(mean, std)
  spec = _spec(fields['spec'])
  labels = _labels(fields['labels'], len(class_names))
  images = _decodable.stored_images(spec, params)
  if images is not None:
    _check_images(images, len(class_names), len(mean))
  shape = _decodable.decoded_shape(spec, params, images)
  _check_decoded(shape, len(class_names), len(mean), labels)
  value_range = _value_range(fields['value_range'])
  if 'images' in params:
    _check_size_of_values(params['images'], value_range)
  regime = fields['label_regime']
  if not isinstance(regime, str) or not regime:
    raise ValueError(f'label_regime must be a non-empty text, got {regime!r}.')
  form = spec.get('labels', 'probabilities')
  if form != 'probabilities' and labels is None:
    raise ValueError(f"labels are None, but spec says 'labels': {form!r}.")
  return {
    'params': params,
    'spec': spec,
    'mean': mean,
    'std': std,
    'class_names': class_names,
    'labels': labels,
    'value_range': value_range,
    'label_regime': regime,
    'protocol': _json_dict('protocol', fields['protocol']),
    'provenance': _json_dict('provenance', fields['provenance']),
    'zca': _zca(fields['zca'], params, len(mean)),
  }


def flatten(name: str, value: Any) -> dict[str, Any]:
  """Returns `{'name/key/...': leaf}` of nested dicts."""
  if not isinstance(value, Mapping):
    return {name: value}
  leaves = {}
  for key, child in value.items():
    leaves.update(flatten(f'{name}/{key}', child))
  return leaves


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the nested dict whose `flatten` gave `leaves`."""
  tree = {}
  for name, leaf in leaves.items():
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
      if not isinstance(node, dict):
        raise ValueError(f'{name} lies inside another array.')
    if last in node:
      raise ValueError(f'{name} is both an array and a group.')
    node[last] = leaf
  return tree


def _arrays(name: str, value: Any) -> Any:
  if isinstance(value, Mapping):
    if not value:
      raise ValueError(f'{name} is empty, it must hold at least one array.')
    for key in value:
      if not isinstance(key, str) or not key or '/' in key:
        raise ValueError(
          f'{name} has the key {key!r}, keys are non-empty texts without "/".'
        )
    return {key: _arrays(f'{name}/{key}', value[key]) for key in value}
  if name == 'params':
    raise ValueError(
      f'params must be a dict of arrays, got {type(value).__name__}.'
    )
  if not hasattr(value, 'dtype'):
    raise ValueError(f'{name} must be an array, got {type(value).__name__}.')
  return _array(name, value)


def _array(name: str, value: Any) -> np.ndarray:
  array = np.asarray(value, order='C')
  if array.dtype.name not in DTYPES:
    raise ValueError(
      f'{name} has dtype {array.dtype.name}, allowed are {", ".join(DTYPES)}.'
    )
  if array.dtype.kind == 'f' and not np.isfinite(array).all():
    raise ValueError(f'{name} holds NaN or infinite values.')
  # Files are the same bytes on every machine: always little-endian.
  return array.astype(array.dtype.newbyteorder('<'), copy=False)


def _check_images(images: Any, num_classes: int, num_channels: int):
  if not isinstance(images, np.ndarray) or images.ndim != 5:
    shape = getattr(images, 'shape', type(images).__name__)
    raise ValueError(
      f'params/images must have shape [C, N, H, W, D], got {shape}.'
    )
  if not images.size:
    raise ValueError(f'params/images is empty: shape {images.shape}.')
  if images.shape[0] != num_classes:
    raise ValueError(
      f'params/images holds {images.shape[0]} classes, class_names'
      f' {num_classes}; they must agree.'
    )
  if images.shape[-1] != num_channels:
    raise ValueError(
      f'mean has {num_channels} values, params/images {images.shape[-1]}'
      ' channels; they must agree.'
    )


def _check_decoded(
  shape: tuple[int, ...],
  num_classes: int,
  num_channels: int,
  labels: np.ndarray | None,
):
  if (shape[0], shape[-1]) != (num_classes, num_channels):
    raise ValueError(
      f'params decode to {shape[0]} classes and {shape[-1]} channels,'
      f' class_names are {num_classes} and mean has {num_channels} values.'
    )
  if labels is not None and labels.shape[1] != shape[1]:
    raise ValueError(
      f'labels have shape {labels.shape}, the formation decodes {shape[1]}'
      ' images a class; they must agree.'
    )


def _check_size_of_values(
  images: np.ndarray, value_range: tuple[float | None, float | None]
):
  """Refuses images that diverged; those never clipped stay near the range."""
  low, high = value_range
  if low is None or high is None or images.dtype.kind != 'f':
    return
  reach = _FARTHEST * (high - low)
  found = float(images.min()), float(images.max())
  if found[0] < low - reach or found[1] > high + reach:
    raise ValueError(
      f'params/images holds {found[0]:.3g}..{found[1]:.3g}, more than'
      f' {_FARTHEST} times beyond value_range {value_range}: they diverged.'
    )


def _zca(zca: Any, params: Mapping[str, Any], num_channels: int) -> Zca | None:
  if zca is None:
    return None
  if not isinstance(zca, Zca):
    raise ValueError(f'zca must be a Zca or None, got {type(zca).__name__}.')
  arrays = {
    name: np.asarray(value)
    for name, value in zca._asdict().items()
    if value is not None
  }
  size = arrays['mean'].size
  shapes = {'mean': (size,), 'vectors': (size, size), 'values': (size,)}
  shapes['channels'] = (2, num_channels)
  for name, array in arrays.items():
    if array.dtype.kind != 'f' or array.shape != shapes[name]:
      raise ValueError(
        f'zca/{name} must hold floats {shapes[name]}, got {array.dtype}'
        f' {array.shape}.'
      )
  if 'images' in params and size != math.prod(params['images'].shape[2:]):
    raise ValueError(
      f'zca/mean has {size} values, params/images have shape'
      f' {params["images"].shape}; H * W * D must agree.'
    )
  checked = {
    name: _array(f'zca/{name}', array.astype(np.float32))
    for name, array in arrays.items()
  }
  if not (checked['values'] > 0).all():
    raise ValueError(
      f'zca/values must be positive, got {checked["values"].min()}.'
    )
  return Zca(**checked)


def _labels(labels: Any, num_classes: int) -> np.ndarray | None:
  if labels is None:
    return None
  labels = np.asarray(labels)
  if labels.dtype.kind not in 'fiu':
    raise ValueError(f'labels must hold numbers, got dtype {labels.dtype}.')
  if labels.ndim != 3 or labels.shape[0] != num_classes or not labels.size:
    raise ValueError(
      f'labels must have shape [C, M, K] with C = {num_classes}, got'
      f' {labels.shape}.'
    )
  return _array('labels', labels.astype(np.float32))


def _names(names: Any) -> tuple[str, ...]:
  sequence = isinstance(names, (list, tuple))
  if not sequence or not all(isinstance(name, str) for name in names):
    raise ValueError(f'class_names must be a sequence of texts, got {names!r}.')
  if not names or len(set(names)) != len(names):
    raise ValueError(f'class_names must be different names, got {names!r}.')
  return tuple(names)


def _floats(name: str, values: Any) -> tuple[float, ...]:
  values = np.asarray(values)
  if values.ndim != 1 or not values.size or values.dtype.kind not in 'fiu':
    raise ValueError(
      f'{name} must be a sequence of one number per channel, got {values!r}.'
    )
  if not np.isfinite(values).all():
    raise ValueError(f'{name} holds NaN or infinite values: {values}.')
  return tuple(float(value) for value in values)


def _check_normalisation(mean: tuple[float, ...], std: tuple[float, ...]):
  if len(mean) != len(std):
    raise ValueError(
      f'mean has {len(mean)} values and std {len(std)}; one per channel each.'
    )
  if min(std) <= 0:
    raise ValueError(f'std must be positive, got {std}.')


def _value_range(value_range: Any) -> tuple[float | None, float | None]:
  if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
    raise ValueError(f'value_range must hold two values, got {value_range!r}.')
  try:
    low, high = (None if v is None else float(v) for v in value_range)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f'value_range must hold numbers or None, got {value_range!r}.'
    ) from error
  if not all(v is None or math.isfinite(v) for v in (low, high)):
    raise ValueError(
      f'value_range must hold finite numbers or None, got {value_range!r}.'
    )
  if low is not None and high is not None and low >= high:
    raise ValueError(f'value_range must increase, got {value_range!r}.')
  return low, high


def _spec(spec: Any) -> dict[str, Any]:
  spec = _json_dict('spec', spec)
  if not isinstance(spec.get('name'), str):
    raise ValueError(f"spec must name a formation under 'name', got {spec!r}.")
  if spec.get('labels', 'centred') not in LABEL_FORMS:
    raise ValueError(
      f'spec has labels {spec["labels"]!r}, allowed are'
      f' {", ".join(LABEL_FORMS)}.'
    )
  return spec


def _json_dict(name: str, value: Any) -> dict[str, Any]:
  if not isinstance(value, Mapping):
    raise ValueError(f'{name} must be a dict, got {type(value).__name__}.')
  return _json(name, value)


def _json(name: str, value: Any) -> Any:
  """Returns `value` as JSON reads it back: dicts, lists and plain scalars."""
  if isinstance(value, Mapping):
    return {str(key): _json(f'{name}.{key}', v) for key, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_json(f'{name}[{i}]', v) for i, v in enumerate(value)]
  if value is None or isinstance(value, (bool, int, str)):
    return value
  if hasattr(value, 'tolist'):
    return _json(name, value.tolist())
  if isinstance(value, float):  # JSON knows neither NaN nor infinity.
    return value if math.isfinite(value) else None
  raise ValueError(
    f'{name} must be JSON-able, got a {type(value).__name__}: {value!r}.'
  )
