"""FRePo's pool: networks of different ages, trained on the synthetic set."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dcjax.base import Array, Augment, Batch, Network, PyTree, mixed
from dcjax.inner._types import InnerLoop, InnerState
from dcjax.kernels import centred
from dcjax.losses import squared_error
from dcjax.objectives import mirrored
from dcjax.training import TrainState, augmented, start_from, train_step
from dcjax.utils import check_at_least


class PoolState(NamedTuple):
  """The networks that wait for their turn.

  Attributes:
    members: a `TrainState` with leaves of a leading axis `E`; the one in use is
      stale here.
    ages: `[E]` int32, uses since each was drawn (or the age it started with).
    current: `[]` int32, the one in use.
  """

  members: PyTree
  ages: Array
  current: Array


def pool(
  network: Network,
  optimizer: optax.GradientTransformation,
  *,
  size: int = 10,
  age: int = 100,
  most: int = 1000,
  most_steps: int = 1,
  label_form: str = 'probabilities',
  mirror: bool = False,
  augment: Augment | None = None,
) -> InnerLoop:
  """FRePo's networks: a pool of different ages, one of them used in each step.

  Zhou, Nezhadarya & Ba (NeurIPS 2022), Algorithm 1. After an image step its
  network takes one step on the synthetic set, by squared error to the centred
  labels, or is drawn anew if it has been used `age` times; then the next
  network is chosen at random. All networks are new at first, but their ages
  count from different numbers, so that they are not renewed together. Nothing
  happens between periods. The metric `loss` is 0 where `renewed` is True.

  With `most_steps` above 1 it is the pool of RCIG (Loo et al., ICML 2023): all
  start at age 0; a network takes a random number of steps from 1 to that, and
  one that has `age` steps behind it then is drawn anew at once.

  Args:
    network: the network.
    optimizer: of each network, rebuilt when it is drawn anew.
    size: networks `E`, at least 1.
    age: steps of a network before it is drawn anew, at least 1.
    most: synthetic images in a network step; more are drawn from at random.
    most_steps: of a network in a use, at least 1.
    label_form: of the synthetic labels, see `kernels.centred`.
    mirror: whether mirrored images count too, as in
      `objectives.kernel_regression`.
    augment: normalisation and per-sample augmentation.

  Raises:
    ValueError: if a number is below 1; when called, if the form is unknown.

  Example:
    >>> loop = pool(network, optax.adam(3e-4), label_form='centred')
  """
  for name, value in (
    ('size', size),
    ('age', age),
    ('most', most),
    ('most_steps', most_steps),
  ):
    check_at_least(name, value, 1)

  def new(key):
    return start_from(network.init(key), optimizer)

  def init(key, data):
    del data
    member_key, choice_key = jax.random.split(key)
    members = jax.vmap(new)(jax.random.split(member_key, size))
    ages = jnp.arange(size, dtype=jnp.int32) * age // size
    if most_steps > 1:
      ages = jnp.zeros_like(ages)
    return _chosen(choice_key, members, ages)

  def reset(key, state, data):
    del key, data
    return state

  def train(key, state, synthetic):
    draw_key, step_key = jax.random.split(key)
    batch = _drawn(draw_key, synthetic, most, label_form, mirror)
    seen = augmented(step_key, batch, augment)
    return train_step(network, optimizer, state, seen, squared_error)

  def use(key, network_key, trained, used, synthetic):
    """One step, or a new network in its place."""
    old = used >= age
    following, loss = lax.cond(
      old,
      lambda: (new(network_key), jnp.zeros((), jnp.float32)),
      lambda: _with_loss(train(key, trained, synthetic)),
    )
    return following, jnp.where(old, 0, used + 1), loss, old

  def use_for_steps(key, network_key, trained, used, synthetic):
    """A few steps, and a new network if they were its last ones."""
    count_key, step_key = jax.random.split(key)
    count = jax.random.randint(count_key, (), 1, most_steps + 1, jnp.int32)

    def step(i, carry):
      own_key = jax.random.fold_in(step_key, i)
      return _with_loss(train(own_key, carry[0], synthetic))

    first = (trained, jnp.zeros((), jnp.float32))
    trained, loss = lax.fori_loop(0, count, step, first)
    old = used + count >= age
    following = lax.cond(old, lambda: new(network_key), lambda: trained)
    return following, jnp.where(old, 0, used + count), loss, old

  def update(key, state, data, synthetic):
    del data
    network_key, choice_key = jax.random.split(key)
    members, ages, current = state.source
    if most_steps > 1:
      step_key, network_key = jax.random.split(network_key)
      made = use_for_steps
    else:
      step_key, made = network_key, use
    used, grown, loss, old = made(
      step_key, network_key, state.train, ages[current], synthetic
    )
    members = jax.tree.map(
      lambda all_, one: lax.dynamic_update_index_in_dim(all_, one, current, 0),
      members,
      used,
    )
    ages = ages.at[current].set(grown)
    return _chosen(choice_key, members, ages), {'loss': loss, 'renewed': old}

  return InnerLoop(init, reset, update)


def _with_loss(result):
  state, metrics = result
  return state, metrics['loss'].astype(jnp.float32)


def _chosen(key, members: TrainState, ages: Array) -> InnerState:
  """The state whose network is a random one of the pool."""
  current = jax.random.randint(key, (), 0, ages.shape[0], jnp.int32)
  used = jax.tree.map(
    lambda leaf: lax.dynamic_index_in_dim(leaf, current, 0, keepdims=False),
    members,
  )
  return InnerState(used, PoolState(members, ages, current))


def _drawn(key, synthetic, most, label_form, mirror) -> Batch:
  """At most `most` synthetic images, mixed, with centred labels."""
  images, labels = mixed(synthetic)[:2]
  batch = Batch(images, centred(labels, label_form))
  if mirror:
    batch = mirrored(batch)
  count = batch.images.shape[0]
  if count <= most:
    return batch
  chosen = jax.random.permutation(key, count)[:most]
  return Batch(batch.images[chosen], batch.labels[chosen])
