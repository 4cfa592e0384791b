"""A learned step size beside any formation's images."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import base
from dcjax.utils import check_choice

STEP_SIZES = ('softplus', 'plain')


def with_step_size(
  formation: base.Formation,
  start: float | Sequence[float] = 0.01,
  form: str = 'plain',
) -> base.Formation:
  """Stores the rate at which networks learn from the images, to be learned.

  Wang et al., "Dataset Distillation" (2018), learn one for each step of an
  unrolled training, as the softplus of a raw number, which keeps it positive;
  Cazenavette et al., "Dataset Distillation by Matching Training Trajectories"
  (CVPR 2022), learn a plain number.

  Args:
    formation: stored numbers -> images (and labels).
    start: step size at the start, above 0; a sequence of `T` of them for the
      steps of an unrolled training.
    form: `'plain'` or `'softplus'`: what is stored.

  Returns:
    A formation whose params are those of `formation` and `'step_size'`, `[]` or
    `[T]`, and whose batches have a `step_size`. The `spec` gains
    `'step_size': form`.

  Raises:
    ValueError: if `form` is unknown, or a start not above 0 and finite.

  Example:
    >>> formation = with_step_size(identity(), 0.02, 'softplus')
    >>> formation.decode(formation.init(key, real_images)).step_size
    Array(0.02, dtype=float32)
  """
  check_choice('form', form, STEP_SIZES)
  first = np.asarray(start, np.float64)
  if not (np.all(first > 0) and np.isfinite(first).all() and first.ndim < 2):
    raise ValueError(
      f'start {start!r}: must be one number, or one a step, above 0 and finite'
    )
  # log(expm1(x)), the inverse of softplus, without overflow.
  raw = first + np.log(-np.expm1(-first)) if form == 'softplus' else first

  def init(key: base.Key, images: base.Array) -> base.Params:
    stored = jnp.asarray(raw, images.dtype)
    return {**formation.init(key, images), 'step_size': stored}

  def positive(params: base.Params) -> base.Array:
    stored = params['step_size']
    return jax.nn.softplus(stored) if form == 'softplus' else stored

  def decode(params: base.Params) -> base.Batch:
    decoded = formation.decode(_others(params))
    return decoded._replace(step_size=positive(params))

  def project(params: base.Params) -> base.Params:
    inner = formation.project(_others(params))
    return {**inner, 'step_size': params['step_size']}

  def sample(params, key, most, classes=None):
    batch = formation.sample(_others(params), key, most, classes)
    return batch._replace(step_size=positive(params))

  def finish(params):
    return params | formation.finish(_others(params))

  return formation._replace(
    spec={**formation.spec, 'step_size': form},
    init=init,
    decode=decode,
    project=project,
    sample=formation.sample and sample,
    by_class=False,
    finish=formation.finish and finish,
  )


def numpy_step_size(
  spec: Mapping[str, Any], params: Mapping[str, Any]
) -> np.ndarray | None:
  """Decodes a stored step size with NumPy alone.

  Args:
    spec: of the formation.
    params: its numbers.

  Returns:
    float32 `[]` or `[T]`; None if the formation stores none.

  Raises:
    ValueError: if spec and params do not agree on whether there is one.
  """
  form = spec.get('step_size')
  if (form is None) != ('step_size' not in params):
    raise ValueError(
      f'step_size {form!r} in the spec, params {sorted(params)}: both or none '
      'must hold one'
    )
  if form is None:
    return None
  check_choice('step_size', form, STEP_SIZES)
  stored = np.asarray(params['step_size'], np.float32)
  return np.logaddexp(stored, np.float32(0)) if form == 'softplus' else stored


def _others(params: base.Params) -> base.Params:
  return {name: value for name, value in params.items() if name != 'step_size'}
