"""The one training loop: a scan that every part of dcjax trains with."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dcjax.base import (
  Array,
  Augment,
  Batch,
  Key,
  Metrics,
  Network,
  PyTree,
  Variables,
)
from dcjax.losses import Loss, gradient_of, loss_and_gradient

# (key, images [B, H, W, D], labels [B, K], weights [B] or None) -> the mixed
# images and labels.
Mix = Callable[[Key, Array, Array, Array | None], tuple[Array, Array]]

# (key, source) -> (source, batch).
Draw = Callable[[Key, Any], tuple[Any, Any]]


class TrainState(NamedTuple):
  """A network in training.

  Attributes:
    variables: the network's numbers.
    opt_state: the optimiser's.
    step: `[]` int32, updates made.
  """

  variables: Variables
  opt_state: PyTree
  step: Array


def start(
  network: Network, optimizer: optax.GradientTransformation, key: Key
) -> TrainState:
  """Returns a new network ready to be trained."""
  return start_from(network.init(key), optimizer)


def start_from(
  variables: Variables, optimizer: optax.GradientTransformation
) -> TrainState:
  """Returns a given network ready to be trained, with a fresh optimiser."""
  return TrainState(
    variables, optimizer.init(variables.params), jnp.zeros((), jnp.int32)
  )


def train_step(
  network: Network,
  optimizer: optax.GradientTransformation,
  state: TrainState,
  batch: Any,
  loss: Loss | None = None,
) -> tuple[TrainState, Metrics]:
  """One update of a network by cross-entropy, or by another loss.

  Args:
    network: the network.
    optimizer: its optimiser.
    state: where it stands.
    batch: images `[B, H, W, D]`, normalised and augmented, labels `[B, K]` and
      weights `[B]` or None; or what else the loss reads.
    loss: instead of cross-entropy.

  Returns:
    The next state and `{'loss': []}`.
  """
  if loss is None:
    value, tracked, gradient = loss_and_gradient(
      network, state.variables, batch
    )
  else:
    value, tracked, gradient = gradient_of(
      loss, network, state.variables, batch
    )
  updates, opt_state = optimizer.update(
    gradient, state.opt_state, state.variables.params
  )
  params = optax.apply_updates(state.variables.params, updates)
  state = TrainState(Variables(params, tracked), opt_state, state.step + 1)
  return state, {'loss': value}


def augmented(
  key: Key, batch: Batch, augment: Augment | None = None, mix: Mix | None = None
) -> Batch:
  """Augments the images of a batch, then mixes them with their labels.

  Args:
    key: consumed.
    batch: images `[B, H, W, D]` in [0, 1], labels `[B, K]`, weights `[B]`.
    augment: normalisation and per-sample augmentation.
    mix: CutMix or the like, after augmentation.
  """
  augment_key, mix_key = jax.random.split(key)
  if augment is not None:
    batch = batch._replace(images=augment(augment_key, batch.images))
  if mix is not None:
    images, labels = mix(mix_key, batch.images, batch.labels, batch.weights)
    batch = batch._replace(images=images, labels=labels)
  return batch


def augmenting(
  draw: Draw, augment: Augment | None = None, mix: Mix | None = None
) -> Draw:
  """What draws batches and hands them out `augmented`."""

  def draw_augmented(key, source):
    draw_key, own_key = jax.random.split(key)
    source, batch = draw(draw_key, source)
    return source, augmented(own_key, batch, augment, mix)

  return draw_augmented


def fit(
  network: Network,
  optimizer: optax.GradientTransformation,
  state: TrainState,
  source: Any,
  draw: Draw,
  num_steps: int | Array,
  key: Key,
  *,
  loss: Loss | None = None,
) -> tuple[TrainState, Any, Metrics]:
  """Trains a network for a number of steps, in one compiled loop.

  The key of a step is folded with the state's step count, so that training in
  pieces equals training at once.

  Args:
    network: the network.
    optimizer: its optimiser.
    state: where it stands; `start` makes one.
    source: what `draw` carries from batch to batch (a shuffler's state).
    draw: `(key, source) -> (source, batch)` as `train_step` takes it; see
      `augmenting`.
    num_steps: may be traced: one program serves any number.
    key: the same for every piece of one training.
    loss: see `train_step`.

  Returns:
    State, source, and `{'loss': []}`, the mean over the steps.
  """

  def body(_, carry):
    state, source, total = carry
    source, batch = draw(jax.random.fold_in(key, state.step), source)
    state, metrics = train_step(network, optimizer, state, batch, loss)
    return state, source, total + metrics['loss']

  state, source, total = jax.lax.fori_loop(
    0, num_steps, body, (state, source, jnp.zeros(()))
  )
  return state, source, {'loss': total / jnp.maximum(num_steps, 1)}


def in_batches(
  function: Callable[[Array], PyTree], images: Array, batch_size: int = 100
) -> PyTree:
  """Applies a function to images, a batch at a time, one program for all.

  Args:
    function: `[B, H, W, D] -> ` pytree of `[B, ...]`.
    images: `[M, H, W, D]`.
    batch_size: `B`; the last batch is padded.

  Returns:
    The pytree with leaves `[M, ...]`.
  """
  count = images.shape[0]
  batch_size = min(batch_size, count)
  batches = -(-count // batch_size)
  padding = batches * batch_size - count
  images = jnp.pad(images, ((0, padding), *((0, 0),) * (images.ndim - 1)))
  images = images.reshape(batches, batch_size, *images.shape[1:])
  result = jax.lax.map(function, images)
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], result)
