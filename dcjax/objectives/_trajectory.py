"""Matching of training trajectories: MTT, and TESLA's approximation of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import (
  Array,
  Augment,
  Batch,
  Key,
  Metrics,
  Network,
  Objective,
  PyTree,
  Variables,
  mixed,
)
from dcjax.objectives._flat import batch_orders, flat_gradient, flat_network
from dcjax.utils import check_at_least


class Segment(NamedTuple):
  """A piece of the way that a network took in training on real images.

  Attributes:
    start: `[P]` its flat parameters where the piece begins.
    end: `[P]` where it ends; see `flat_network` for the order.
  """

  start: Array
  end: Array


def trajectory_matching(
  *,
  steps: int,
  batch_size: int | None = None,
  augment: Augment | None = None,
  relabel: Augment | None = None,
  exact: bool = True,
) -> Objective:
  """Makes training on the synthetic set end where training on real data did.

  Cazenavette et al., "Dataset Distillation by Matching Training Trajectories"
  (CVPR 2022). From an expert's parameters `a`, `steps` steps of plain gradient
  descent on the synthetic set, at its learned step size, lead to `w`; the loss
  is `|w - b|^2 / |a - b|^2`, with `b` where the expert was some epochs later.

  The gradient is exact: every step is recomputed in the backward pass, so that
  memory holds the parameters of all steps and the activations of one. TESLA
  (Cui et al., ICML 2023) drops what a step's gradient owes to the images of the
  steps before it, and then needs no more than one step's parameters; with one
  step the two agree. Its code loses a factor of 2 of the images' gradient, so
  that its printed rates of images are twice those here.

  Args:
    steps: `N`, on the synthetic set.
    batch_size: images in a step, drawn in random order pass by pass; the last
      batch of a pass is short if the set does not divide. None: all.
    augment: normalisation and augmentation of each mini-batch, with draws of
      its own; the condenser's `augment` stays None.
    relabel: normalisation under which the network at the segment's end labels
      the images, as constants, in place of the set's own labels (TESLA).
    exact: False for TESLA's approximation.

  Returns:
    A joint objective for targets that are a `Segment`; its metrics are `loss`
    and `step_size`.

  Raises:
    ValueError: if `steps` or `batch_size` is below 1; when called, if the
      target is no segment of this network or the set has no step size.

  Example:
    >>> objective = trajectory_matching(steps=20)
    >>> synthetic = synthetic._replace(step_size=jnp.array(0.01))
    >>> loss, metrics = dcjax.match(
    ...   network, variables, segment, synthetic, key, objective=objective)
  """
  check_at_least('steps', steps, 1)
  if batch_size is not None:
    check_at_least('batch_size', batch_size, 1)

  def loss(
    network: Network,
    variables: Variables,
    target: Segment,
    synthetic: Batch,
    key: Key,
  ) -> tuple[Array, Metrics]:
    batch, rate = mixed(synthetic), synthetic.step_size
    if rate is None or rate.ndim:
      raise ValueError(
        'synthetic.step_size: must be one number; wrap the formation in '
        'formations.with_step_size'
      )
    order_key, step_key = jax.random.split(key)
    if relabel is not None:
      batch = _labelled_by(network, variables.state, target, batch, relabel)
    indices, weights = batch_orders(
      order_key, batch.images.shape[0], batch_size, steps
    )
    value = trajectory_distance(
      network,
      target,
      batch,
      indices,
      weights,
      step_key,
      state=variables.state,
      augment=augment,
      exact=exact,
    )
    return value, {'loss': value, 'step_size': rate}

  return Objective(loss, joint=True)


def trajectory_distance(
  network: Network,
  segment: Segment,
  batch: Batch,
  indices: Array,
  weights: Array | None,
  key: Key,
  *,
  state: PyTree,
  augment: Augment | None = None,
  exact: bool = True,
) -> Array:
  """The loss of `trajectory_matching` for given mini-batches.

  Args:
    network: trained by plain gradient descent.
    segment: where it starts, and what it should reach.
    batch: images `[M, H, W, D]`, labels `[M, K]`, step size `[]`.
    indices: `[N, B]` images of each step.
    weights: `[N, B]` in {0, 1}, or None.
    key: of the augmentation.
    state: of the network; running statistics do not move.
    augment: see `trajectory_matching`.
    exact: see `trajectory_matching`.

  Returns:
    `[]`, differentiable in `batch`.

  Raises:
    ValueError: if the segment is not one of this network.
  """
  flat = flat_network(network)
  if segment.start.shape != (flat.size,) or segment.end.shape != (flat.size,):
    raise ValueError(
      f'target: a segment of shapes {segment.start.shape} and '
      f'{segment.end.shape}: must be [P] with P = {flat.size}, the parameters '
      f'of {network.name!r}'
    )
  gradient = flat_gradient(network, flat.restore, state)
  draws = (indices, weights, jax.random.split(key, indices.shape[0]))

  def step_gradient(vector, learned, draw):
    chosen, weight, draw_key = draw
    images = learned.images[chosen]
    if augment is not None:
      images = augment(draw_key, images)
    return gradient(vector, Batch(images, learned.labels[chosen], weight))

  gap = segment.end - segment.start
  if exact:
    move, slope = _exact_move(step_gradient, segment, batch, draws), 0.0
  else:
    move, slope = _one_step_move(step_gradient, segment, batch, draws)
  return (jnp.sum((move - gap) ** 2) + slope) / jnp.sum(gap**2)


def _exact_move(step_gradient, segment, batch, draws):
  """Where N steps lead, seen from the start, differentiable through all."""

  @jax.checkpoint
  def step(vector, draw):
    return vector - batch.step_size * step_gradient(vector, batch, draw), None

  return lax.scan(step, segment.start, draws)[0] - segment.start


def _one_step_move(step_gradient, segment, batch, draws):
  """The same move, differentiated as if each step were the only one.

  Returns:
    The move, differentiable in the step size alone, and a zero that carries
    the derivative of `|move - gap|^2` in images and labels.
  """
  fixed = lax.stop_gradient(batch)
  rate = fixed.step_size
  zero = jnp.zeros_like(segment.start)

  def walk(carry, draw):
    vector, total = carry
    found = step_gradient(vector, fixed, draw)
    return (vector - rate * found, total + found), None

  total = lax.scan(walk, (segment.start, zero), draws)[0][1]
  # Only the end says in which direction a gradient should change, so a second
  # walk collects the derivatives as it goes, and nothing is kept of a step.
  miss = -rate * total - (segment.end - segment.start)

  def collect(carry, draw):
    vector, slopes = carry

    def along(learned):
      found = step_gradient(vector, learned, draw)
      return jnp.vdot(miss, found), found

    own, found = jax.grad(along, has_aux=True)(fixed)
    return (vector - rate * found, jax.tree.map(jnp.add, slopes, own)), None

  start = segment.start, jax.tree.map(jnp.zeros_like, fixed)
  slopes = lax.scan(collect, start, draws)[0][1]
  change = sum(
    jnp.vdot(slope, x - lax.stop_gradient(x))
    for slope, x in (
      (slopes.images, batch.images),
      (slopes.labels, batch.labels),
    )
  )
  return -batch.step_size * total, -2 * rate * change


def _labelled_by(network, state, segment, batch, normalise):
  """Labels of the network at a segment's end, as constants."""
  restore = flat_network(network).restore
  # No draw to make: this normalises.
  images = normalise(jax.random.key(0), batch.images)
  outputs, _ = network.apply(
    Variables(restore(segment.end), state), images, True
  )
  labels = lax.stop_gradient(jax.nn.softmax(outputs.logits))
  return batch._replace(labels=labels)
