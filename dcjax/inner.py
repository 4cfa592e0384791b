"""Where the networks come from that judge the synthetic images."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax.base import Augment, Batch, Key, Network, PyTree, Variables
from dcjax.data import _sampling as sampling
from dcjax.training import Mix, TrainState, fit, start_from
from dcjax.utils import check_at_least


class InnerState(NamedTuple):
  """The network of this period and what trains it.

  Attributes:
    train: the network in training.
    source: where the walk through its training data stands; it goes on from
      network to network.
  """

  train: TrainState
  source: PyTree

  @property
  def variables(self) -> Variables:
    """The network's numbers."""
    return self.train.variables


def _unprepared(key: Key, state: InnerState, data: Any) -> InnerState:
  del key, data
  return state


class InnerLoop(NamedTuple):
  """A supply of networks.

  Attributes:
    init: `(key, data) -> InnerState`.
    reset: `(key, state, data) -> InnerState`, at the start of a period.
    update: `(key, state, data, synthetic) -> (InnerState, metrics)`, after
      every image step.
    prepare: `(key, state, data) -> InnerState`, before every image step;
      changes nothing by default.
  """

  init: Callable[[Key, Any], InnerState]
  reset: Callable[[Key, InnerState, Any], InnerState]
  update: Callable[[Key, InnerState, Any, Batch], tuple[InnerState, dict]]
  prepare: Callable[[Key, InnerState, Any], InnerState] = _unprepared


class InnerData(NamedTuple):
  """What inner loops draw from.

  Attributes:
    real: the real training set, on the device.
    pool: `Variables` of pretrained networks, leaves with a leading axis `E`,
      or None.
  """

  real: sampling.DeviceData
  pool: Variables | None = None


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
      draw_from(real),
      steps,
      key,
      augment=augment,
      mix=mix,
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
    images = synthetic.images.reshape(-1, *synthetic.images.shape[2:])
    labels = synthetic.labels.reshape(-1, synthetic.labels.shape[-1])
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
      draw,
      epochs * -(-images.shape[0] // min(batch_size, images.shape[0])),
      train_key,
      augment=augment,
    )
    return InnerState(train_state, ()), metrics

  return InnerLoop(init, reset, update)


def tracks_statistics(network: Network) -> bool:
  """Whether a network keeps running statistics, as BatchNorm does.

  Nothing is computed: the answer is known before anything is compiled.

  Args:
    network: any; those with a non-empty `Variables.state` track statistics.

  Example:
    >>> network = networks.convnet((32, 32, 3), 10, norm='batch')
    >>> inner.tracks_statistics(network)
    True
  """
  variables = jax.eval_shape(network.init, jax.random.key(0))
  return bool(jax.tree.leaves(variables.state))


def with_real_statistics(
  loop: InnerLoop,
  network: Network,
  counts: np.ndarray,
  *,
  images_per_class: int = 16,
  augment: Augment | None = None,
) -> InnerLoop:
  """Lets real images update the running statistics before every image step.

  As the code of Zhao et al. (2021) treats BatchNorm networks: random real
  images of all classes go through the network together in train mode, once, so
  that the statistics move by one update of the network's momentum. The match
  that follows should then use eval mode (`gradient_matching(train=False)`), so
  that it never depends on the statistics of one class alone.

  Args:
    loop: where the networks come from.
    network: the loop's; without running statistics `loop` itself is returned.
    counts: `[C]` real images of each class.
    images_per_class: real images of each class, drawn anew every time; those
      of a class that holds fewer come more than once.
    augment: of these images `[C * images_per_class, H, W, D]`; normalisation.

  Raises:
    ValueError: if `images_per_class` is below 1.

  Example:
    >>> loop = train_on_synthetic(network, optax.sgd(0.01), epochs=50)
    >>> loop = with_real_statistics(loop, network, dataset.counts)
  """
  check_at_least('images_per_class', images_per_class, 1)
  if not tracks_statistics(network):
    return loop
  walk = sampling.shuffler(int(np.max(counts)), images_per_class)

  def prepare(key, state, data):
    loop_key, order_key, walk_key, augment_key = jax.random.split(key, 4)
    state = loop.prepare(loop_key, state, data)
    real = data.real
    start = walk.init(order_key, real.counts)
    _, positions, _ = walk.next(walk_key, real.counts, start)
    places = real.starts[:, None] + positions
    images = sampling.fetch(real, places.reshape(-1))
    if augment is not None:
      images = augment(augment_key, images)
    variables = state.variables
    _, tracked = network.apply(variables, images, True)
    variables = variables._replace(state=tracked)
    return state._replace(train=state.train._replace(variables=variables))

  return loop._replace(prepare=prepare)
