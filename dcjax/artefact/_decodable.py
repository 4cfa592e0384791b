"""Whether a spec decodes the numbers beside it, told without decoding them.

`dcjax.formations` is imported inside the functions: reading and writing
artefacts must not begin with it.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from dcjax import files


def stored_images(spec: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
  """Returns the images that are cut and enlarged; None if there are none.

  Raises:
    ValueError: the spec names no formation, or an option is outside its range;
      packed images are damaged, or a quantised set is not packed.
  """
  from dcjax import formations

  with _saying(spec):
    formations.build(spec)
    formations.numpy_step_size(spec, params)
  if spec['name'] != 'quantised':
    return params.get('images')
  if not formations.is_packed(spec, params):
    raise ValueError(
      f'params hold {", ".join(params)}; those of a quantised set are packed:'
      ' formations.as_stored(formation, params).'
    )
  if spec.get('inner') == 'basis':
    return None
  missing = sorted({'codes', 'scales', 'offsets'} - set(params))
  if missing:
    raise ValueError(f'params lack {", ".join(missing)} of packed images.')
  return formations.numpy_unpacked(spec, params)['images']


def decoded_shape(
  spec: Mapping[str, Any], params: Mapping[str, Any], images: Any
) -> tuple[int, ...]:
  """Returns the shape `[C, M, H, W, D]` of what is decoded.

  Args:
    spec: of a formation that can be built.
    params: its numbers.
    images: as `stored_images` returns them.

  Raises:
    ValueError: the numbers are not those of the spec.
  """
  from dcjax import formations
  from dcjax.formations import _grids

  with _saying(spec):
    if _grids.of_inner(spec)['name'] in _grids.BEYOND_IMAGES:
      decode = formations.build(spec).decode
      return jax.eval_shape(decode, params).images.shape
    if not isinstance(images, np.ndarray):
      raise ValueError('params/images are missing.')
    _grids.check_grid(*_grids.grid(spec), *images.shape[2:4])
    decoded = _grids.decoded_count(spec, images.shape[1])
  return (images.shape[0], decoded, *images.shape[2:])


@contextlib.contextmanager
def _saying(spec: Mapping[str, Any]) -> Iterator[None]:
  """Turns whatever does not fit into one error that names the spec."""
  try:
    yield
  except Exception as error:
    reason = files.one_line(error)
    if isinstance(error, KeyError):
      reason = f'params lack {reason}'
    raise ValueError(f'spec {dict(spec)}: {reason}.') from error
