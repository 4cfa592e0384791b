"""What an artefact costs to keep."""

import io
import math

import jax
import numpy as np

from dcjax.artefact import _file
from dcjax.artefact._types import Artefact


def storage(artefact: Artefact) -> dict[str, dict[str, int]]:
  """Counts the numbers and bytes of an artefact.

  Returns:
    Five entries: 'images' (stored images and every other parameter that is
    neither a label nor the decoder), 'labels' (0 for hard labels, which the
    class axis implies), 'decoder' (networks needed to decode), 'preprocessing'
    (the ZCA whitening that test images need; 0 without one) and 'total'.
    Each is a dict of 'numbers' (stored numbers), 'float32_bytes' (4 bytes each,
    the field's common measure) and 'disk_bytes' (in the dtype stored; for
    'total' the whole file with its description).
  """
  groups = {'images': [], 'labels': [], 'decoder': []}
  for name, value in artefact.params.items():
    group = name if name in groups else 'images'
    groups[group] += jax.tree.leaves(value)
  if artefact.labels is not None:
    groups['labels'].append(artefact.labels)
  groups['preprocessing'] = list(artefact.zca or ())
  sizes = {name: _sizes(arrays) for name, arrays in groups.items()}
  total = {
    unit: sum(size[unit] for size in sizes.values())
    for unit in ('numbers', 'float32_bytes')
  }
  stream = io.BytesIO()
  _file.write(stream, artefact)
  return sizes | {'total': total | {'disk_bytes': stream.tell()}}


def _sizes(arrays: list[np.ndarray]) -> dict[str, int]:
  numbers = sum(math.prod(array.shape) for array in arrays)
  return {
    'numbers': numbers,
    'float32_bytes': 4 * numbers,
    'disk_bytes': sum(array.nbytes for array in arrays),
  }
