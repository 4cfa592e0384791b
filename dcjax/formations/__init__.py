"""Formations: how few stored numbers become many synthetic images."""

from collections.abc import Callable, Mapping
from typing import Any

from dcjax import base, specs
from dcjax.formations._codebook import (
  as_stored,
  codebook,
  decode_exactly,
  decode_pairs,
  decode_some,
  generator_size,
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
  in_training,
)
from dcjax.formations._generator import Generator
from dcjax.formations._labels import (
  LABEL_FORMS,
  LABEL_STARTS,
  as_probabilities,
  label_form,
  saying_labels,
  with_labels,
)
from dcjax.formations._learnable import FSRCNN, learnable
from dcjax.formations._numpy import numpy_decode
from dcjax.formations._patches import (
  bound,
  identity,
  multiscale,
  time_axis,
  uniform,
)
from dcjax.formations._plan import decoded_count
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
  'STEP_SIZES',
  'Generator',
  'as_probabilities',
  'as_stored',
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
  'in_training',
  'label_form',
  'learnable',
  'multiscale',
  'numpy_decode',
  'numpy_step_size',
  'time_axis',
  'uniform',
  'with_embeddings',
  'with_labels',
  'with_step_size',
]

FORMATIONS: dict[str, Callable[..., base.Formation]] = {
  'bound': bound,
  'codebook': codebook,
  'identity': identity,
  'learnable': learnable,
  'multiscale': multiscale,
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
      `with_step_size`.

  Returns:
    The formation; `build(formation.spec).spec == formation.spec`.

  Raises:
    ValueError: if the name or an option is unknown, a required option is
      missing, or a value is outside its range.

  Example:
    >>> build({'name': 'uniform', 'factor': 2}).cells
    4
  """
  spec = dict(spec)
  step_size = spec.pop('step_size', None)
  if step_size is not None:
    return with_step_size(build(spec), form=step_size)
  labels = spec.pop('labels', None)
  formation = specs.call('formation', FORMATIONS, spec)
  if labels is None:
    return formation
  return formation._replace(spec=saying_labels(formation.spec, labels))
