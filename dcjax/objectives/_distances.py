"""Distances between gradients: one tensor each, or one vector of all.

The output axis of a weight is the last one here (`[kh, kw, I, O]` kernels,
`[I, O]` classifier), where channels-first code has it first.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from dcjax.base import Array

_EPSILON = 1e-6

TensorDistance = Callable[[Array, Array], Array]


def squared(real: Array, synthetic: Array) -> Array:
  """Sum of squared differences (IDC's `mse`; a sum, not a mean).

  Args:
    real: gradient of any shape.
    synthetic: gradient of the same shape.

  Returns:
    `[]`. Kim et al. (2022), equation 5 with the squared distance.
  """
  return jnp.sum(jnp.square(real - synthetic))


def l1(real: Array, synthetic: Array) -> Array:
  """Sum of absolute differences (IDC's `l1`); see `squared` for shapes."""
  return jnp.sum(jnp.abs(real - synthetic))


def l1_mean(real: Array, synthetic: Array) -> Array:
  """Sum over outputs of the mean absolute difference of each output's weights.

  See `squared` for shapes; the output axis is the last.
  """
  difference = jnp.abs(real - synthetic)
  return jnp.sum(jnp.mean(difference, axis=tuple(range(difference.ndim - 1))))


def cosine(real: Array, synthetic: Array) -> Array:
  """Sum over outputs of one minus the cosine of each output's weights.

  Zhao et al. (2021), equation 10: the layer- and output-wise distance. The
  product of norms is floored by adding 1e-6, so a zero gradient costs 1.
  See `squared` for shapes; the output axis is the last.
  """
  real = real.reshape(-1, real.shape[-1])
  synthetic = synthetic.reshape(-1, synthetic.shape[-1])
  return jnp.sum(1 - _cosine_similarity(real, synthetic))


def whole_squared(real: Sequence[Array], synthetic: Sequence[Array]) -> Array:
  """Squared distance of two gradients seen as one vector each (DC's `mse`).

  Args:
    real: tensors of any shape.
    synthetic: tensors of the same shapes.

  Returns:
    `[]`.
  """
  pairs = zip(real, synthetic, strict=True)
  return sum((squared(r, s) for r, s in pairs), start=jnp.zeros(()))


def whole_cosine(real: Sequence[Array], synthetic: Sequence[Array]) -> Array:
  """One minus the cosine of two gradients seen as one vector each.

  DC's `cos`; see `whole_squared` for shapes.
  """
  real_vector = jnp.concatenate([r.ravel() for r in real])
  synthetic_vector = jnp.concatenate([s.ravel() for s in synthetic])
  return 1 - _cosine_similarity(real_vector, synthetic_vector)


def _cosine_similarity(a, b):
  """Cosine along the first axis, safe in derivatives at zero vectors."""
  norms = _norm(a) * _norm(b)
  return jnp.sum(a * b, axis=0) / (norms + _EPSILON)


def _norm(vectors):
  total = jnp.sum(jnp.square(vectors), axis=0)
  positive = total > 0
  return jnp.where(positive, jnp.sqrt(jnp.where(positive, total, 1.0)), 0.0)


PER_TENSOR: dict[str, TensorDistance] = {
  'squared': squared,
  'l1': l1,
  'l1_mean': l1_mean,
  'cosine': cosine,
}
WHOLE_VECTOR = {
  'whole_squared': whole_squared,
  'whole_cosine': whole_cosine,
}
