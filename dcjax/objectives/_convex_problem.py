"""A linearised network that learns a set: a convex problem."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dcjax import kernels
from dcjax.base import Array, Batch, Metrics, Network, Params, Variables
from dcjax.losses import cross_entropy
from dcjax.objectives._feature import mean_feature
from dcjax.objectives._kernel import label_margin, mirrored

CLASSIFIER = 'classifier'


class ConvexProblem(NamedTuple):
  """The training of a linearised network, but for images and labels.

  Attributes:
    linear: see `linearised`.
    ridge: of the regression and of the moves.
    label_form: of the synthetic labels.
    mirror: whether mirrored images count too.
    margin: whether labels are rewarded for their margin.
  """

  linear: Callable[[Params, Array], tuple[Array, Array]]
  ridge: float
  label_form: str
  mirror: bool
  margin: bool


def linearised(
  network: Network, variables: Variables
) -> Callable[[Params, Array], tuple[Array, Array]]:
  """A network's first-order expansion in its parameters.

  Args:
    network: exposes an embedding and is differentiable forward; BatchNorm uses
      its running statistics.
    variables: where it is expanded.

  Returns:
    `(moves, images [B, H, W, D]) -> (embeddings [B, F] before the moves, how
    the moves change the logits [B, K])`; `moves` are shaped as the parameters.

  Raises:
    ValueError: when called, if the network is not as it must be.
  """
  if CLASSIFIER not in variables.params:
    raise ValueError(
      f'network {network.name}: its last layer must be called {CLASSIFIER!r}'
    )

  def linear(moves, images):
    def said(params):
      outputs, _ = network.apply(
        variables._replace(params=params), images, False
      )
      if outputs.embedding is None:
        raise ValueError(f'network {network.name}: must expose an embedding')
      return outputs.logits, outputs.embedding

    try:
      (_, embedding), (logits, _) = jax.jvp(said, (variables.params,), (moves,))
    except (NotImplementedError, TypeError) as error:
      if 'custom_' not in str(error):
        raise
      raise ValueError(
        f'network {network.name}: must be differentiable forward; take '
        'conv_form=forward'
      ) from error
    return embedding, logits

  return linear


def _seen(problem, images, labels):
  batch = Batch(images, kernels.centred(labels, problem.label_form))
  return mirrored(batch) if problem.mirror else batch


def _product(left, right):
  # Rounded products (the default on some GPUs) can make it indefinite.
  return jnp.matmul(left, right, precision=lax.Precision.HIGHEST)


def _regressed(problem, features, left):
  """The kernel, and the weights of its regression to what is left."""
  kernel = _product(features, features.T)
  ridge = problem.ridge * jnp.eye(len(kernel), dtype=kernel.dtype)
  return kernel, jnp.linalg.solve(kernel + ridge, left)


def training_loss(
  problem: ConvexProblem, moves: Params, images: Array, labels: Array
) -> Array:
  """Half of squared errors and of squared weights; quadratic in the moves.

  Args:
    problem: whose last layer is solved for.
    moves: of the parameters.
    images: `[B, H, W, D]`.
    labels: `[B, K]`.

  Returns:
    `[]`, a mean over images and classes.
  """
  batch = _seen(problem, images, labels)
  features, moved = problem.linear(moves, batch.images)
  left = batch.labels - moved
  kernel, alpha = _regressed(problem, features, left)
  explained = _product(kernel, alpha)
  weights = jnp.sum(alpha * explained) + _square(moves)
  errors = jnp.sum((left - explained) ** 2)
  return (errors + problem.ridge * weights) / 2 / batch.labels.size


def _square(tree):
  return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


def test_loss(
  problem: ConvexProblem,
  real: Batch,
  moves: Params,
  learned: tuple[Array, Array],
  log_temperature: Array,
) -> tuple[Array, Metrics]:
  """Cross-entropy of real images under the network that has learned a set.

  Args:
    problem: whose last layer is solved for.
    real: `[B, ...]`.
    moves: of the parameters.
    learned: images and labels of the set.
    log_temperature: of the logits.

  Returns:
    The loss, less the margin, and metrics.
  """
  batch = _seen(problem, *learned)
  features, moved = problem.linear(moves, batch.images)
  _, alpha = _regressed(problem, features, batch.labels - moved)
  unseen, shift = problem.linear(moves, real.images.astype(features.dtype))
  logits = shift + _product(_product(unseen, features.T), alpha)
  value = cross_entropy(logits * jnp.exp(log_temperature), real)
  right = logits.argmax(-1) == real.labels.argmax(-1)
  accuracy = mean_feature(right.astype(logits.dtype), real.weights)
  metrics = {'accuracy': accuracy}
  if problem.margin:
    most = 0.5 / batch.labels.shape[-1]
    metrics['margin'] = label_margin(batch.labels, most).mean()
    value = value - metrics['margin']
  return value, metrics


def along(
  problem: ConvexProblem,
  moves: Params,
  direction: Params,
  learned: tuple[Array, Array],
) -> Array:
  """How fast the training loss changes along a direction of the moves."""
  return jax.jvp(
    lambda moves: training_loss(problem, moves, *learned),
    (moves,),
    (direction,),
  )[1]
