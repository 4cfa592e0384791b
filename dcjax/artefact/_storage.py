"""What an artefact costs to keep."""

import io
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dcjax.artefact import _checks, _file
from dcjax.artefact._types import Artefact

_CODEBOOK = {
  'codes': 'codes',
  'embeddings': 'embeddings',
  'generator': 'decoder',
  'statistics': 'decoder',
}


def storage(artefact: Artefact) -> dict[str, dict[str, int]]:
  """Counts the numbers and bytes of an artefact.

  Returns:
    Five entries: 'images' (stored images and every other parameter that is
    neither a label nor the decoder), 'labels' (0 for hard labels, which the
    class axis implies), 'decoder' (networks needed to decode), 'preprocessing'
    (the ZCA whitening that test images need; 0 without one) and 'total'. A
    learned step size is a sixth, 'step_size'.
    Each is a dict of 'numbers' (stored numbers), 'float32_bytes' (4 bytes each,
    the field's common measure) and 'disk_bytes' (in the dtype stored; for
    'total' the whole file with its description). A codebook has two entries
    more, 'codes' and 'embeddings', and no images; see `codebook_bytes` for what
    it replaces. A basis has 'bases' and 'coefficients' instead of images. Of a
    quantised set, these or the images count the 'numbers' that are packed, and
    there is one entry more, 'scales' (and offsets).
  """
  from dcjax import formations

  groups = {'images': [], 'labels': [], 'decoder': []}
  places, spec, params = {}, artefact.spec, artefact.params
  if 'step_size' in params:
    groups['step_size'] = []
  if spec['name'] == 'codebook':
    places = _CODEBOOK
    groups |= {'codes': [], 'embeddings': []}
  if 'basis' in (spec['name'], spec.get('inner')):
    groups |= {'bases': [], 'coefficients': []}
  packed = formations.is_packed(spec, params)
  if packed:
    groups |= {'scales': []}
  for place, array in _checks.flatten('params', params).items():
    name = place.split('/')[1]
    group = places.get(name, name if name in groups else 'images')
    if packed and place.endswith(('/scales', '/offsets')):
      group = 'scales'
    groups[group].append(array)
  if artefact.labels is not None:
    groups['labels'].append(artefact.labels)
  groups['preprocessing'] = jax.tree.leaves(artefact.zca)
  sizes = {name: _sizes(arrays) for name, arrays in groups.items()}
  if packed:
    whole = formations.numpy_unpacked(spec, params)
    for name in {'images', 'bases', 'coefficients'} & set(whole):
      count = whole[name].size
      sizes[name] |= {'numbers': count, 'float32_bytes': 4 * count}
  total = {
    unit: sum(size[unit] for size in sizes.values())
    for unit in ('numbers', 'float32_bytes')
  }
  stream = io.BytesIO()
  _file.write(stream, artefact)
  return sizes | {'total': total | {'disk_bytes': stream.tell()}}


def codebook_bytes(spec: Mapping[str, Any], ipc: int) -> dict[str, float]:
  """Counts the bytes of a codebook beside those of the images it replaces.

  A generator has a fixed price: below the break-even ipc the images themselves
  are the smaller set.

  Args:
    spec: of a `formations.codebook`; says in which precision it is stored.
    ipc: images of a class.

  Returns:
    Bytes of 'generator' (its projection and statistics included), 'codes',
    'embeddings' and 'total'; 'pixels_float32' and 'pixels_uint8' of the `C *
    ipc` images; and 'break_even_float32' and 'break_even_uint8', the ipc from
    which on the codebook is the smaller one (infinite where a code is as large
    as the images of all classes).

  Raises:
    ValueError: if the spec is not one of a codebook.

  Example:
    >>> spec = formations.codebook(10, (32, 32, 3), embedding_dim=128).spec
    >>> round(codebook_bytes(spec, 10)['break_even_float32'])
    47
  """
  from dcjax import formations

  if spec.get('name') != 'codebook':
    raise ValueError(f"formation {spec.get('name')!r}: must be 'codebook'")
  classes, shape = spec['num_classes'], tuple(spec['image_shape'])
  blank = jax.ShapeDtypeStruct((classes, ipc, *shape), np.float32)
  key = jax.eval_shape(lambda: jax.random.key(0))
  params = jax.eval_shape(formations.build(spec).init, key, blank)
  size = np.dtype(spec['stored']).itemsize
  found = dict.fromkeys(('generator', 'codes', 'embeddings'), 0.0)
  for name, value in params.items():
    group = 'generator' if name == 'statistics' else name
    found[group] += size * sum(x.size for x in jax.tree.leaves(value))
  pixels = float(classes * math.prod(shape))
  fixed, code = found['generator'] + found['embeddings'], found['codes'] / ipc

  def break_even(image):
    return fixed / (image - code) if image > code else math.inf

  return {
    **found,
    'total': sum(found.values()),
    'pixels_float32': 4 * pixels * ipc,
    'pixels_uint8': pixels * ipc,
    'break_even_float32': break_even(4 * pixels),
    'break_even_uint8': break_even(pixels),
  }


def _sizes(arrays: list[np.ndarray]) -> dict[str, int]:
  numbers = sum(math.prod(array.shape) for array in arrays)
  return {
    'numbers': numbers,
    'float32_bytes': 4 * numbers,
    'disk_bytes': sum(array.nbytes for array in arrays),
  }
