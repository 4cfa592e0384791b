"""Terms beside the statistics: EDC's flatness and G-VBSM's densification."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dcjax.base import Array

REDUCTIONS = ('batch', 'elements')
_DENSIFICATION_SIDE = 32
_DENSIFICATION_TEMPERATURE = 4.0


def flatness(
  logits: Array,
  averaged: Array,
  temperature: float = 4.0,
  reduction: str = 'batch',
  *,
  constant: bool = True,
) -> Array:
  """How far the logits of images are from those of their average over steps.

  EDC, section 3.2, "flatness regularisation":
  `KL(softmax(averaged / t) || softmax(logits / t))`, without a factor `t^2`.

  Args:
    logits: `[B, K]`.
    averaged: `[B, K]`.
    temperature: `t`, positive.
    reduction: `'batch'` (mean over images) or `'elements'` (also divided by K).
    constant: whether `averaged` gets no gradient, as in the paper's code.

  Returns:
    `[]`, in nats.
  """
  if constant:
    averaged = lax.stop_gradient(averaged)
  teacher = jax.nn.log_softmax(averaged / temperature)
  student = jax.nn.log_softmax(logits / temperature)
  terms = jnp.exp(teacher) * (teacher - student)
  return jnp.mean(terms if reduction == 'elements' else terms.sum(axis=-1))


def densification(images: Array) -> Array:
  """How unlike the images of a class are: G-VBSM's data densification.

  With `l` the eigenvalues of the Gram matrix of the images of a class,
  `KL(softmax(l / 4) || softmax(l))`, summed over classes, which makes the
  eigenvalues equal; the first, the teacher, gets no gradient. Sides of more
  than 32 pixels are averaged down to 32. Nothing divides the Gram matrix: of
  images that are far apart both softmaxes are 1 and 0, and the term is off.

  Args:
    images: `[C, N, H, W, D]`, N of one class each.

  Returns:
    `[]`, in nats; 0 for one image per class.
  """
  for axis in (2, 3):
    images = _averaged_down(images, axis)
  flat = images.reshape(*images.shape[:2], -1)
  gram = jnp.einsum('cnf,cmf->cnm', flat, flat, precision='highest')
  values = jnp.linalg.eigvalsh(gram)
  soft = jax.nn.log_softmax(
    lax.stop_gradient(values) / _DENSIFICATION_TEMPERATURE
  )
  sharp = jax.nn.log_softmax(values)
  return jnp.sum(jnp.exp(soft) * (soft - sharp))


def _averaged_down(images, axis):
  """Adaptive average pooling of one axis to 32; shorter ones stay."""
  size, side = images.shape[axis], _DENSIFICATION_SIDE
  if size <= side:
    return images
  means = np.zeros((side, size), np.float32)
  for i in range(side):
    window = slice(i * size // side, -(-(i + 1) * size // side))
    means[i, window] = 1 / (window.stop - window.start)
  pooled = jnp.tensordot(images, means, (axis, 1), precision='highest')
  return jnp.moveaxis(pooled, -1, axis)
