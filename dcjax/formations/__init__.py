"""Formations: how few stored numbers become many synthetic images."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from dcjax import base, specs
from dcjax.formations import _grids
from dcjax.formations._basis import basis
from dcjax.formations._codebook import (
  codebook,
  decode_exactly,
  decode_pairs,
  decode_some,
  generator_size,
  in_stored_type,
)
from dcjax.formations._codebook_start import (
  CODES,
  calibrate,
  draw_codes,
  with_embeddings,
)
from dcjax.formations._codebook_training import (
  decode_in_training,
  generate_in_training,
  with_drawn_codes,
)
from dcjax.formations._generator import Generator
from dcjax.formations._grids import decoded_count
from dcjax.formations._labels import (
  LABEL_FORMS,
  LABEL_STARTS,
  as_probabilities,
  label_form,
  saying_labels,
  with_labels,
)
from dcjax.formations._learnable import FSRCNN, learnable
from dcjax.formations._numpy import numpy_decode, numpy_mixed
from dcjax.formations._patches import (
  bound,
  identity,
  multiscale,
  time_axis,
  uniform,
)
from dcjax.formations._quantised import (
  SCALES,
  is_packed,
  numpy_unpacked,
  packed,
  quantised,
  stored_spec,
)
from dcjax.formations._step_size import (
  STEP_SIZES,
  numpy_step_size,
  with_step_size,
)

__all__ = [
  'CODES',
  'FORMATIONS',
  'FSRCNN',
  'LABEL_FORMS',
  'LABEL_STARTS',
  'SCALES',
  'STEP_SIZES',
  'Generator',
  'as_probabilities',
  'as_stored',
  'basis',
  'bound',
  'build',
  'calibrate',
  'codebook',
  'decode_exactly',
  'decode_in_training',
  'decode_pairs',
  'decode_some',
  'decoded_count',
  'draw_codes',
  'generate_in_training',
  'generator_size',
  'identity',
  'is_packed',
  'label_form',
  'learnable',
  'multiscale',
  'numpy_decode',
  'numpy_mixed',
  'numpy_step_size',
  'numpy_unpacked',
  'quantised',
  'stored_spec',
  'time_axis',
  'uniform',
  'with_drawn_codes',
  'with_embeddings',
  'with_labels',
  'with_step_size',
]

FORMATIONS: dict[str, Callable[..., base.Formation]] = {
  'basis': basis,
  'bound': bound,
  'codebook': codebook,
  'identity': identity,
  'learnable': learnable,
  'multiscale': multiscale,
  'quantised': quantised,
  'time_axis': time_axis,
  'uniform': uniform,
}


def build(spec: Mapping[str, Any]) -> base.Formation:
  """Builds a formation from its name and options.

  Args:
    spec: `{'name': ..., option: value, ...}`, for example the `spec` of a
      formation after a trip through JSON. Options left out get their default.
      `'labels'`, which says the form of labels stored elsewhere (see
      `with_labels`), goes with any name and changes no image.
      `'step_size': 'plain'` or `'softplus'` is one of any formation, see
      `with_step_size`. `'quantised'` takes the options of its `'inner'`, a
      name, beside its own.

  Returns:
    The formation; `build(formation.spec).spec == formation.spec`.

  Raises:
    ValueError: if the name or an option is unknown, a required option is
      missing, or a value is outside its range.

  Example:
    >>> build({'name': 'uniform', 'factor': 2}).tiles
    4
  """
  spec = dict(spec)
  step_size = spec.pop('step_size', None)
  if step_size is not None:
    return with_step_size(build(spec), form=step_size)
  labels = spec.pop('labels', None)
  if spec.get('name') == 'quantised':
    formation = _quantised(spec)
  else:
    formation = specs.call('formation', FORMATIONS, spec)
  if labels is None:
    return formation
  return formation._replace(spec=saying_labels(formation.spec, labels))


def _quantised(spec: Mapping[str, Any]) -> base.Formation:
  of_inner = _grids.of_inner(spec)
  own = {n: v for n, v in spec.items() if n not in of_inner}
  said = {n: v for n, v in own.items() if n != 'inner'} | {'name': 'quantised'}
  made = functools.partial(quantised, inner=build(of_inner))
  return specs.call('formation', {'quantised': made}, said)


def as_stored(formation: base.Formation, params: base.Params) -> base.Params:
  """The numbers of a set in the type in which they are kept.

  Args:
    formation: any.
    params: its numbers.

  Returns:
    Params that `build(stored_spec(formation, params))` decodes to the same
    images: of a `codebook` projected, float16 leaves if its `stored` says so;
    of a `quantised` formation packed; of others as they are.

  Example:
    >>> stored = as_stored(formation, params)
    >>> batch = build(stored_spec(formation, params)).decode(stored)
  """
  if formation.spec['name'] == 'codebook':
    return in_stored_type(formation, params)
  if formation.spec['name'] == 'quantised':
    return packed(formation.spec, params)
  return params
