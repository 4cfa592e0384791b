"""Terms beside the statistics: EDC's flatness and G-VBSM's densification."""

import jax
import jax.numpy as jnp
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
) -> Array:
  """How far the logits of images are from those of their average over steps.

  EDC, section 3.2, "flatness regularisation":
  `KL(softmax(averaged / t) || softmax(logits / t))`, without a factor `t^2`.

  Args:
    logits: `[B, K]`.
    averaged: `[B, K]`; constant.
    temperature: `t`, positive.
    reduction: `'batch'` (mean over images) or `'elements'` (also divided by K).

  Returns:
    `[]`, in nats.
  """
  teacher = jax.nn.log_softmax(lax.stop_gradient(averaged) / temperature)
  student = jax.nn.log_softmax(logits / temperature)
  terms = jnp.exp(teacher) * (teacher - student)
  return jnp.mean(terms if reduction == 'elements' else terms.sum(axis=-1))


def densification(images: Array) -> Array:
  """How unlike the images of a class are: G-VBSM's data densification.

  With `l` the eigenvalues of the Gram matrix of the images of a class,
  `KL(softmax(l / 4) || softmax(l))`, summed over classes, which makes the
  eigenvalues equal. Images larger than 32 pixels are scaled down to 32.
  Deviation: the Gram matrix is divided by the number of values of an image, so
  that the softmax does not depend on the image size.

  Args:
    images: `[C, N, H, W, D]`, N of one class each.

  Returns:
    `[]`, in nats; 0 for one image per class.
  """
  c, n, h, w, d = images.shape
  size = (min(h, _DENSIFICATION_SIDE), min(w, _DENSIFICATION_SIDE))
  if size != (h, w):
    images = jax.image.resize(images, (c, n, *size, d), 'linear')
  flat = images.reshape(c, n, -1)
  gram = jnp.einsum('cnf,cmf->cnm', flat, flat, precision='highest')
  values = jnp.linalg.eigvalsh(gram / flat.shape[-1])
  soft = jax.nn.log_softmax(values / _DENSIFICATION_TEMPERATURE)
  sharp = jax.nn.log_softmax(values)
  return jnp.sum(jnp.exp(soft) * (soft - sharp))
