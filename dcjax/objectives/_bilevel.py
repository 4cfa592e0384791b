"""Objectives that train on the synthetic set and test on real images."""

import jax
import jax.numpy as jnp
from jax import lax

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
from dcjax.losses import cross_entropy
from dcjax.objectives._gradient import network_gradient
from dcjax.objectives._joint import outputs_of

# Where the calibrating factor is looked for, and in how many halvings.
_SCALES = (0.1, 100.0)
_HALVINGS = 24


def unrolled_step(learning_rate: float = 0.01) -> Objective:
  """Makes one training step on the synthetic set good for real images.

  `CE(theta - rate * grad CE(theta; synthetic); real)`: Bohdal, Yang &
  Hospedales, "Flexible Dataset Distillation: Learn Labels Instead of Images"
  (2020), the second-order form. Both cross-entropies are means over all images
  of all classes. The step is differentiated through, so that labels and images
  of the synthetic set receive exact second-order gradients; real images and the
  network's variables do as well.

  The reference steps on a random part of the base images; here the step sees
  all that the condenser compares (its `most_synthetic` bounds them).

  Args:
    learning_rate: of the one step of plain gradient descent.

  Returns:
    A joint objective.

  Raises:
    ValueError: if the rate is not above 0 and finite.

  Example:
    >>> loss, metrics = dcjax.match(
    ...   network, variables, real, synthetic, key, objective=unrolled_step())
  """
  _check_positive('learning_rate', learning_rate)

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    gradient = network_gradient(network, variables, mixed(synthetic))
    params = jax.tree.map(
      lambda p, g: p - learning_rate * g, variables.params, gradient
    )
    real = mixed(target)
    outputs, _ = network.apply(
      variables._replace(params=params), real.images, True
    )
    value = cross_entropy(outputs.logits, real)
    return value, {'loss': value}

  return Objective(loss, joint=True)


def ridge(
  regularisation: float = 1.0, *, scale: float | None = None
) -> Objective:
  """Makes ridge regression on the synthetic set classify real images.

  Bohdal, Yang & Hospedales (2020), the ridge-regression form. With `P` the
  embeddings of the synthetic images and a constant column of ones, and `Y`
  their labels, the classifier is `w = P^T (P P^T + regularisation I)^-1 Y`, the
  logits of real images are `scale * [embedding, 1] w`, and the loss is their
  mean cross-entropy.

  Two deviations from the published code. It mixes `w` into a running mean with
  weight 0.01; here every step uses the `w` of its own network, so that nothing
  is carried along. It learns the scale with Adam, from the loss on its base
  images alone; here the scale is that loss's minimiser (within 0.1 and 100),
  found by bisection in every step. In both, labels get no gradient through the
  scale: with a `scale` of your own all derivatives are exact, in real images
  and in the network's variables too.

  Args:
    regularisation: of the regression; the authors tuned it to 1.
    scale: factor between regression outputs and logits; None for the calibrated
      one.

  Returns:
    A joint objective; its metrics are `loss` and `scale`.

  Raises:
    ValueError: if an option is not above 0 and finite; when called, if the
      network exposes no embedding.

  Example:
    >>> loss, metrics = dcjax.match(
    ...   network, variables, real, synthetic, key, objective=ridge())
  """
  _check_positive('regularisation', regularisation)
  if scale is not None:
    _check_positive('scale', scale)

  def loss(
    network: Network,
    variables: Variables,
    target: Batch,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    del key
    real, fake = mixed(target), mixed(synthetic)
    features = _with_ones(outputs_of(network, variables, synthetic).embedding)
    classifier = ridge_classifier(features, fake, regularisation)
    factor = scale
    if factor is None:
      factor = calibrating_scale(features @ classifier, fake)
    unseen = _with_ones(outputs_of(network, variables, target).embedding)
    value = cross_entropy(factor * unseen @ classifier, real)
    return value, {'loss': value, 'scale': jnp.asarray(factor, jnp.float32)}

  return Objective(loss, joint=True)


def ridge_classifier(
  features: Array, batch: Batch, regularisation: float
) -> Array:
  """Weights of ridge regression from features to labels, in closed form.

  `P^T (P P^T + regularisation I)^-1 Y`, which inverts one number per pair of
  images instead of one per pair of features.

  Args:
    features: `P`, `[B, F]`.
    batch: labels `Y`, `[B, K]`; images of weight 0 do not count.
    regularisation: above 0.

  Returns:
    `[F, K]`.
  """
  labels = batch.labels
  if batch.weights is not None:
    # A zero row of the kernel leaves the other images' solution as it is.
    features = features * batch.weights[:, None]
    labels = labels * batch.weights[:, None]
  # Rounded products (the default on some GPUs) can make it indefinite.
  kernel = jnp.matmul(features, features.T, precision=lax.Precision.HIGHEST)
  kernel += regularisation * jnp.eye(kernel.shape[0], dtype=kernel.dtype)
  factor = jax.scipy.linalg.cho_factor(kernel)
  return features.T @ jax.scipy.linalg.cho_solve(factor, labels)


def calibrating_scale(logits: Array, batch: Batch) -> Array:
  """The factor on logits that minimises the cross-entropy, as a constant.

  The loss is convex in the factor, so the sign of its slope says where the
  minimum is.

  Args:
    logits: `[B, K]`.
    batch: labels `[B, K]`, weights `[B]` or None.

  Returns:
    `[]`, between 0.1 and 100; no gradient flows through it.
  """
  logits, batch = lax.stop_gradient((logits, batch))
  slope = jax.grad(lambda scale: cross_entropy(scale * logits, batch))

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2
    falling = slope(jnp.exp(middle)) < 0
    return jnp.where(falling, middle, low), jnp.where(falling, high, middle)

  bounds = tuple(jnp.log(jnp.asarray(s, logits.dtype)) for s in _SCALES)
  low, high = lax.fori_loop(0, _HALVINGS, halve, bounds)
  return jnp.exp((low + high) / 2)


def _with_ones(embedding):
  ones = jnp.ones((embedding.shape[0], 1), embedding.dtype)
  return jnp.concatenate([embedding, ones], axis=1)


def _check_positive(field, value):
  if not 0 < value < float('inf'):
    raise ValueError(f'{field} {value!r}: must be above 0 and finite')
