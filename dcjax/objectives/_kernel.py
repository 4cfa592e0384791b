"""Kernel ridge regression from the synthetic set to real images."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import lax

from dcjax import kernels
from dcjax.base import (
  Array,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  Variables,
  mixed,
)
from dcjax.objectives._feature import mean_feature
from dcjax.utils import check_choice

REDUCTIONS_OF_CLASSES = ('mean', 'sum')


def kernel_regression(
  kernel: kernels.Kernel | Mapping[str, Any] | None = None,
  *,
  regularisation: float = 1e-6,
  label_form: str = 'probabilities',
  reduction: str = 'mean',
  margin: bool = False,
  mirror: bool = False,
  train: bool = False,
) -> Objective:
  """Makes kernel ridge regression on the synthetic set classify real images.

  `K_ts (K_ss + r tr(K_ss) / n I)^-1 Y` shall be the centred targets, one-hot
  minus 1 / K. With a closed-form kernel this is KIP (Nguyen, Chen & Lee, ICLR
  2021; Nguyen et al., NeurIPS 2021), with features of a network FRePo (Zhou,
  Nezhadarya & Ba, NeurIPS 2022), whose gradient reaches the images through
  their features alone. Labels get a gradient too.

  Args:
    kernel: see `dcjax.kernels`, or what its `build` takes; None for inner
      products of the network's embeddings. With a kernel the network is not
      asked for anything and may be None.
    regularisation: `r`, above 0 and finite.
    label_form: of the synthetic labels: `'probabilities'` (hard labels, or what
      `formations.with_labels` stores) or `'centred'` (its labels of that form).
    reduction: of squared errors over the classes: `'mean'` (KIP: half of the
      mean over images and classes) or `'sum'` (FRePo: the mean over images of
      half of the sum).
    margin: whether the mean over synthetic images of `min(largest - second
      label, 1 / K)` is subtracted (FRePo), which keeps learned labels peaked.
    mirror: whether the synthetic images are used twice, as they are and
      mirrored left to right, under the same labels (FRePo).
    train: whether the network's BatchNorm uses batch statistics; FRePo uses
      the running ones.

  Returns:
    A joint objective. Its metrics are `loss`, `accuracy` of the regression on
    the real batch, and `margin` if there is one.

  Raises:
    ValueError: if an option is unknown or out of range; when called, if the
      network exposes no embedding.

  Example:
    >>> objective = kernel_regression(dcjax.kernels.fully_connected())
    >>> loss, metrics = dcjax.match(
    ...   None, None, real, synthetic, key, objective=objective)
  """
  if isinstance(kernel, Mapping):
    kernel = kernels.build(kernel)
  if not 0 < regularisation < float('inf'):
    raise ValueError(
      f'regularisation {regularisation!r}: must be above 0 and finite'
    )
  check_choice('label_form', label_form, kernels.LABEL_FORMS)
  check_choice('reduction', reduction, REDUCTIONS_OF_CLASSES)

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    used = kernel or kernels.of_features(network, variables, train=train)
    real, fake = mixed(target), mixed(synthetic)
    # Real images are float32 wherever they come from.
    images = real.images.astype(fake.images.dtype)
    labels = kernels.centred(fake.labels, label_form)
    fake = fake._replace(labels=labels)
    predicted = _predicted(
      used, images, mirrored(fake) if mirror else fake, regularisation
    )
    error = predicted - kernels.centred(real.labels)
    value = mean_feature(_HALF[reduction](error), real.weights)
    right = predicted.argmax(-1) == real.labels.argmax(-1)
    metrics = {
      'accuracy': mean_feature(right.astype(error.dtype), real.weights)
    }
    if margin:
      metrics['margin'] = mean_feature(label_margin(labels), fake.weights)
      value = value - metrics['margin']
    return value, {'loss': value, **metrics}

  return Objective(loss, joint=True)


_HALF = {
  'mean': lambda error: jnp.mean(error**2, -1) / 2,
  'sum': lambda error: jnp.sum(error**2, -1) / 2,
}


def _predicted(kernel, images, support, regularisation):
  between = kernel.apply(images, support.images)
  alpha = kernels.regression_weights(
    kernel.apply(support.images, None),
    support.labels,
    regularisation,
    support.weights,
  )
  if support.weights is not None:
    alpha = alpha * support.weights[:, None]
  return between @ alpha


def mirrored(batch: Batch) -> Batch:
  """Appends the images mirrored left to right, with the same labels.

  Args:
    batch: without a class axis: images `[B, H, W, D]`.

  Returns:
    A batch of `2 B` images.
  """

  def twice(x):
    return None if x is None else jnp.concatenate([x, x])

  flipped = jnp.flip(batch.images, axis=-2)
  images = jnp.concatenate([batch.images, flipped])
  return Batch(images, twice(batch.labels), twice(batch.weights))


def label_margin(labels: Array, most: float | None = None) -> Array:
  """How far the largest label is above the second, at most 1 / K.

  Args:
    labels: `[B, K]`, centred or not.
    most: instead of 1 / K.

  Returns:
    `[B]`.
  """
  largest, second = jnp.moveaxis(lax.top_k(labels, 2)[0], -1, 0)
  most = 1 / labels.shape[-1] if most is None else most
  return jnp.minimum(largest - second, most)
