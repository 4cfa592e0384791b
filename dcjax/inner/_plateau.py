"""Label distillation's networks: each is used until it stops getting better."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax.base import Array, Augment, Batch, Network, PyTree, mixed
from dcjax.data import sampling
from dcjax.inner._types import InnerLoop, InnerState
from dcjax.training import augmented, start_from, train_step
from dcjax.utils import check_at_least

_REMEMBERED = 3  # networks whose updates are averaged, as published


class PlateauState(NamedTuple):
  """What is known of the network in use and of those before it.

  Attributes:
    walk: where the walk through the real images stands.
    errors: `[patience]`, the latest error rates of this network, 0 where there
      is none yet.
    updates: `[]` int32, of this network.
    lowest: `[]`, the lowest sum of `errors` so far.
    since: `[]` int32, updates since then.
    lives: `[3]`, updates at the lowest sum of the latest networks, the last one
      first; 0 where there was none.
  """

  walk: PyTree
  errors: Array
  updates: Array
  lowest: Array
  since: Array
  lives: Array


def until_plateau(
  network: Network,
  optimizer: optax.GradientTransformation,
  *,
  num_images: int,
  num_classes: int,
  batch_size: int = 50,
  seen: int = 1024,
  patience: int = 50,
  augment: Augment | None = None,
  real_augment: Augment | None = None,
) -> InnerLoop:
  """Networks trained on the synthetic set, one until its error stops falling.

  Bohdal, Yang & Hospedales (2020), Algorithm 1: after an image (label) step the
  network takes one on a random part of the synthetic set. Its error rates on
  real images are averaged over the last `patience` steps; when that has not
  been at its lowest for more than `patience` steps, a new network takes its
  place. Nothing happens between periods.

  The metric `updates` is how many steps the last three networks had made when
  they were at their best, on average, which is how many the paper trains test
  networks for; 0 before the first was replaced.

  Args:
    network: the network.
    optimizer: of each network, rebuilt when it is drawn anew.
    num_images: size of the real set.
    num_classes: `K`.
    batch_size: synthetic images in a network step, or all if there are fewer.
    seen: real images that an error rate is measured on, or all.
    patience: steps, at least 1.
    augment: normalisation and per-sample augmentation of synthetic images.
    real_augment: of the real ones; normalisation.

  Raises:
    ValueError: if a number is below 1.

  Example:
    >>> loop = until_plateau(network, optax.adam(1e-3), num_images=60_000,
    ...                      num_classes=10)
  """
  for name, value in (
    ('batch_size', batch_size),
    ('seen', seen),
    ('patience', patience),
  ):
    check_at_least(name, value, 1)
  walk = sampling.shuffler(num_images, min(seen, num_images))
  whole = jnp.asarray([num_images], jnp.int32)

  def new(key):
    return start_from(network.init(key), optimizer)

  def init(key, data):
    del data
    network_key, walk_key = jax.random.split(key)
    unknown = _unwatched(
      walk.init(walk_key, whole), patience, jnp.zeros(_REMEMBERED)
    )
    return InnerState(new(network_key), unknown)

  def reset(key, state, data):
    del key, data
    return state

  def error_rate(key, variables, real, place):
    draw_key, seen_key = jax.random.split(key)
    place, positions, _ = walk.next(draw_key, whole, place)
    batch = sampling.mixed_batch(real, positions[0], None, num_classes)
    batch = augmented(seen_key, batch, real_augment)
    outputs, _ = network.apply(variables, batch.images, False)
    right = jnp.argmax(outputs.logits, -1) == jnp.argmax(batch.labels, -1)
    return place, 1 - jnp.mean(right.astype(jnp.float32))

  def update(key, state, data, synthetic):
    part_key, step_key, error_key, network_key = jax.random.split(key, 4)
    batch = augmented(step_key, _part(part_key, synthetic, batch_size), augment)
    trained, metrics = train_step(network, optimizer, state.train, batch)
    place, error = error_rate(
      error_key, trained.variables, data.real, state.source.walk
    )
    watched = _watched(state.source._replace(walk=place), error)
    worn = watched.since > patience
    train, source = lax.cond(
      worn,
      lambda: (
        new(network_key),
        _unwatched(watched.walk, patience, _remembered(watched)),
      ),
      lambda: (trained, watched),
    )
    lives = source.lives
    mean = jnp.sum(lives) / jnp.maximum(jnp.sum(lives > 0), 1)
    return InnerState(train, source), {
      **metrics,
      'error': error,
      'updates': mean,
    }

  return InnerLoop(init, reset, update)


def _part(key, synthetic, batch_size) -> Batch:
  images, labels = mixed(synthetic)[:2]
  chosen = jax.random.permutation(key, images.shape[0])[:batch_size]
  return Batch(images[chosen], labels[chosen])


def _unwatched(walk, patience, lives) -> PlateauState:
  zero = jnp.zeros((), jnp.int32)
  errors = jnp.zeros(patience, jnp.float32)
  lowest = jnp.full((), jnp.inf, jnp.float32)
  return PlateauState(walk, errors, zero, lowest, zero, lives)


def _watched(state: PlateauState, error: Array) -> PlateauState:
  """Takes the error rate after one more update to the others."""
  patience = state.errors.shape[0]
  errors = state.errors.at[state.updates % patience].set(error)
  updates = state.updates + 1
  total = jnp.sum(errors)
  better = (updates >= patience) & (total < state.lowest)
  still_filling = updates < patience
  return state._replace(
    errors=errors,
    updates=updates,
    lowest=jnp.where(better, total, state.lowest),
    since=jnp.where(better | still_filling, 0, state.since + 1),
  )


def _remembered(state: PlateauState) -> Array:
  life = (state.updates - state.since).astype(jnp.float32)
  return jnp.concatenate([life[None], state.lives[:-1]])
