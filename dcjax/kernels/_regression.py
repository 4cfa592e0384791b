"""Kernel ridge regression: a condensed set classifies images by itself."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dcjax.base import Array, Augment, Batch
from dcjax.kernels._types import Kernel
from dcjax.utils import check_at_least, check_choice

LABEL_FORMS = ('probabilities', 'centred')


def centred(labels: Array, form: str = 'probabilities') -> Array:
  """Labels around zero, as regression takes them: one-hot minus 1 / K.

  Args:
    labels: `[..., K]`.
    form: `'probabilities'`, which 1 / K is subtracted from, or `'centred'`,
      which stay as they are.

  Raises:
    ValueError: if the form is unknown.
  """
  check_choice('label_form', form, LABEL_FORMS)
  if form == 'centred':
    return labels
  return labels - 1 / labels.shape[-1]


def regression_weights(
  within: Array,
  labels: Array,
  regularisation: float = 1e-6,
  weights: Array | None = None,
) -> Array:
  """Solves `(K + r tr(K) / n I) alpha = Y` (KIP, FRePo).

  The ridge is a part `r` of the mean of the diagonal, so that no scale of the
  kernel or of its images matters.

  Args:
    within: `K`, `[n, n]`, the support's kernel.
    labels: `Y`, `[n, K]`, centred.
    regularisation: `r`, above 0.
    weights: `[n]`, 0 for images that do not count; or None.

  Returns:
    `alpha`, `[n, K]`.
  """
  count = within.shape[0]
  if weights is not None:
    # A zero row of the kernel leaves the other images' solution as it is.
    within = within * weights[:, None] * weights[None]
    labels = labels * weights[:, None]
    count = jnp.sum(weights)
  ridge = regularisation * jnp.trace(within) / count
  within = within + ridge * jnp.eye(within.shape[0], dtype=within.dtype)
  return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(within), labels)


def predict(
  kernel: Kernel,
  support: Batch,
  images: np.ndarray | Array,
  *,
  regularisation: float = 1e-6,
  label_form: str = 'probabilities',
  normalise: Augment | None = None,
  scale: float = 1.0,
  batch_size: int = 500,
) -> Array:
  """Kernel ridge regression on a set, asked about other images.

  `K_ts (K_ss + r tr(K_ss) / n I)^-1 Y` with centred labels `Y`. Calculates in
  the floating type of the support: inside `jax.enable_x64(True)`, a support of
  float64 images and labels is regressed in float64.

  Args:
    kernel: see `fully_connected`, `convolutional` and `of_features`.
    support: images `[n, H, W, D]` in [0, 1], labels `[n, K]`; weights are
      heeded.
    images: `[M, H, W, D]`, uint8 or float; divided by `scale`.
    regularisation: `r`, above 0.
    label_form: of the support's labels, see `centred`.
    normalise: applied to both sides.
    scale: 255 for uint8 images.
    batch_size: images at a time, at least 1.

  Returns:
    `[M, K]`, about one-hot minus 1 / K; the largest is the class.

  Raises:
    ValueError: if an argument is out of range.

  Example:
    >>> support = dcjax.Batch(images, jnp.eye(10) - 0.1)
    >>> predict(fully_connected(), support, images,
    ...         label_form='centred').argmax(-1).shape
    (10,)
  """
  check_at_least('batch_size', batch_size, 1)
  dtype = support.images.dtype

  def prepared(raw):
    raw = raw.astype(dtype)
    return raw if normalise is None else normalise(jax.random.key(0), raw)

  known = prepared(support.images)
  alpha = regression_weights(
    kernel.apply(known, None),
    centred(support.labels, label_form).astype(dtype),
    regularisation,
    support.weights,
  )
  if support.weights is not None:
    alpha = alpha * support.weights[:, None]

  def answer(image):
    asked = prepared(image[None].astype(dtype) / scale)
    return (kernel.apply(asked, known) @ alpha)[0]

  return lax.map(answer, jnp.asarray(images), batch_size=batch_size)


def accuracy(
  kernel: Kernel,
  support: Batch,
  images: np.ndarray | Array,
  labels: np.ndarray | Sequence[int],
  **options: object,
) -> Array:
  """The part of images that `predict` classifies right: KIP's evaluation.

  Args:
    kernel: see `predict`.
    support: see `predict`.
    images: see `predict`.
    labels: `[M]` integers.
    **options: of `predict`.

  Returns:
    `[]`, in [0, 1]; NaN where the regression has no solution, as in float32
    where the kernel of features has far fewer features than images.
  """
  predicted = predict(kernel, support, images, **options)
  right = jnp.mean(jnp.argmax(predicted, -1) == jnp.asarray(labels))
  return jnp.where(jnp.all(jnp.isfinite(predicted)), right, jnp.nan)
