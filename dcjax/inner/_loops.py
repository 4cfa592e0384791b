"""Networks trained on real images, on the synthetic set, or not at all."""

import jax
import jax.numpy as jnp
import optax

from dcjax.base import Augment, Batch, Network, Variables, mixed
from dcjax.data import sampling
from dcjax.inner._types import InnerLoop, InnerState
from dcjax.training import Mix, augmenting, fit, start_from


def train_on_real(
  network: Network,
  optimizer: optax.GradientTransformation,
  *,
  num_images: int,
  num_classes: int,
  batch_size: int = 64,
  num_batches: int = 8,
  early_batches: int = 0,
  augment: Augment | None = None,
  mix: Mix | None = None,
) -> InnerLoop:
  """IDC's networks: new in each period, trained on real data between steps.

  Kim et al. (2022), Algorithm 1, section 4.2. A period's network is drawn at
  random, or from the pool of pretrained ones if the data hold a pool, then
  trained for `early_batches`. Its batches come from one walk through the real
  set that goes on from call to call.

  Args:
    network: the network.
    optimizer: its optimiser, rebuilt in each period.
    num_images: size of the real set.
    num_classes: `K`.
    batch_size: of real images.
    num_batches: network updates after every image step.
    early_batches: network updates before a period's first image step.
    augment: normalisation and per-sample augmentation.
    mix: CutMix.
  """
  walk = sampling.shuffler(num_images, batch_size)
  whole = jnp.asarray([num_images], jnp.int32)

  def draw_from(real):
    def draw(key, source):
      source, positions, _ = walk.next(key, whole, source)
      return source, sampling.mixed_batch(real, positions[0], None, num_classes)

    return draw

  def train(key, state, real, steps):
    train_state, source, metrics = fit(
      network,
      optimizer,
      state.train,
      state.source,
      augmenting(draw_from(real), augment, mix),
      steps,
      key,
    )
    return InnerState(train_state, source), metrics

  def init(key, data):
    del data
    network_key, walk_key = jax.random.split(key)
    variables = network.init(network_key)
    source = walk.init(walk_key, whole)
    return InnerState(start_from(variables, optimizer), source)

  def reset(key, state, data):
    network_key, early_key = jax.random.split(key)
    variables = _new_variables(network_key, network, data.pool)
    state = InnerState(start_from(variables, optimizer), state.source)
    if early_batches:
      state, _ = train(early_key, state, data.real, early_batches)
    return state

  def update(key, state, data, synthetic):
    del synthetic
    return train(key, state, data.real, num_batches)

  return InnerLoop(init, reset, update)


def _new_variables(key, network, pool):
  if pool is None:
    return network.init(key)
  size = jax.tree.leaves(pool)[0].shape[0]
  member = jax.random.randint(key, (), 0, size)
  return jax.tree.map(lambda leaf: leaf[member], pool)


def frozen(network: Network, variables: Variables | None = None) -> InnerLoop:
  """One network that never changes: DD's known initialisation.

  Args:
    network: the network.
    variables: its numbers; None for those that the run's key draws.
  """
  still = optax.set_to_zero()

  def init(key, data):
    del data
    found = network.init(key) if variables is None else variables
    return InnerState(start_from(found, still), ())

  def reset(key, state, data):
    del key, data
    return state

  def update(key, state, data, synthetic):
    del key, data, synthetic
    return state, {}

  return InnerLoop(init, reset, update)


def resample(network: Network) -> InnerLoop:
  """DM's networks: a new random one for every image step, never trained.

  Args:
    network: the network.
  """
  frozen = optax.set_to_zero()

  def new(key, source):
    return InnerState(start_from(network.init(key), frozen), source)

  def init(key, data):
    del data
    return new(key, ())

  def reset(key, state, data):
    del data
    return new(key, state.source)

  def update(key, state, data, synthetic):
    del data, synthetic
    return new(key, state.source), {}

  return InnerLoop(init, reset, update)


def train_on_synthetic(
  network: Network,
  optimizer: optax.GradientTransformation,
  *,
  epochs: int,
  batch_size: int = 256,
  augment: Augment | None = None,
) -> InnerLoop:
  """DC's networks: new in each period, trained on the synthetic set.

  Zhao et al. (2021), Algorithm 1: after every image step the network makes
  `epochs` passes over the set as it then is.

  Args:
    network: the network.
    optimizer: its optimiser, rebuilt in each period.
    epochs: passes after every image step; 0 leaves the network as drawn.
    batch_size: of synthetic images; the last, shorter batch of a pass is used,
      filled up with images of weight 0 (see `data.shuffler`).
    augment: normalisation and per-sample augmentation (DSA).
  """

  def init(key, data):
    del data
    return InnerState(start_from(network.init(key), optimizer), ())

  def reset(key, state, data):
    del state
    return init(key, data)

  def update(key, state, data, synthetic):
    del data
    images, labels = mixed(synthetic)[:2]
    whole = jnp.asarray([images.shape[0]], jnp.int32)
    walk = sampling.shuffler(images.shape[0], batch_size, keep_last=True)
    walk_key, train_key = jax.random.split(key)

    def draw(key, source):
      source, positions, weights = walk.next(key, whole, source)
      chosen = positions[0]
      return source, Batch(images[chosen], labels[chosen], weights[0])

    train_state, _, metrics = fit(
      network,
      optimizer,
      state.train,
      walk.init(walk_key, whole),
      augmenting(draw, augment),
      epochs * -(-images.shape[0] // min(batch_size, images.shape[0])),
      train_key,
    )
    return InnerState(train_state, ()), metrics

  return InnerLoop(init, reset, update)
