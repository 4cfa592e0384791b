"""The images that a network learns and forgets again."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax.base import Array, Augment, Key, Network, Variables
from dcjax.coresets._classes import select_by_class
from dcjax.coresets._predict import correct
from dcjax.data import sampling
from dcjax.inner import InnerData, InnerLoop, InnerState, train_on_real
from dcjax.training import Mix
from dcjax.utils import check_at_least


def forgetting_events(
  network: Network,
  data: sampling.DeviceData,
  key: Key,
  *,
  optimizer: optax.GradientTransformation,
  epochs: int,
  normalise: Augment,
  batch_size: int = 64,
  augment: Augment | None = None,
  mix: Mix | None = None,
) -> Array:
  """Trains a network on a set and counts how often it forgets each image.

  Toneva et al. (2019), Algorithm 1, the statistics that DC's baseline
  (Zhao et al., 2021, section 4.1) selects by. They look at an image when it is
  part of a batch, once in an epoch; here the network as it is after the epoch
  looks at all images, not augmented, in evaluation mode. So each image is seen
  as often, by the same network as all others. Training and counting are one
  compiled program.

  Args:
    network: trained from a random start.
    data: the set, `M` images.
    key: decides network, order of images and augmentation.
    optimizer: the network's.
    epochs: passes over the set, each followed by a look at all images.
    normalise: applied to the images that are looked at.
    batch_size: of training; the incomplete last batch of a pass is dropped.
    augment: normalisation and per-sample augmentation of training images;
      `normalise` if None.
    mix: CutMix or the like, in training.

  Returns:
    `[M]` int32 in the order of `data`: 0..epochs/2, or `epochs + 1` for images
    that were never classified right.

  Raises:
    ValueError: if `epochs` is below 2 or `batch_size` below 1.

  Example:
    >>> events = forgetting_events(
    ...   network, data.real, key, optimizer=optimizers.sgd(0.01), epochs=20,
    ...   normalise=normalise)
  """
  check_at_least('epochs', epochs, 2)
  loop = forgetting_loop(
    network,
    optimizer,
    num_images=data.images.shape[0],
    num_classes=data.counts.shape[0],
    normalise=normalise,
    batch_size=batch_size,
    augment=augment,
    mix=mix,
  )

  @jax.jit
  def train(key, data):
    real = InnerData(data)

    def epoch(state, _):
      return loop.update(key, state, real, None)[0], None

    return jax.lax.scan(epoch, loop.init(key, real), length=epochs)[0]

  return events_of(train(key, data), epochs)


class ForgettingState(NamedTuple):
  """A network in training, and what it forgot so far.

  Attributes:
    inner: the network.
    right: `[M]` bool, images that it classified right after the last epoch.
    learnt: `[M]` bool, those that it ever did.
    events: `[M]` int32, how often each was right and then wrong.
  """

  inner: InnerState
  right: Array
  learnt: Array
  events: Array

  @property
  def variables(self) -> Variables:
    """The network's numbers."""
    return self.inner.variables


def forgetting_loop(
  network: Network,
  optimizer: optax.GradientTransformation,
  *,
  num_images: int,
  num_classes: int,
  normalise: Augment,
  batch_size: int = 64,
  augment: Augment | None = None,
  mix: Mix | None = None,
) -> InnerLoop:
  """The training of `forgetting_events`, an epoch at a time.

  Args:
    network: see `forgetting_events`.
    optimizer: see `forgetting_events`.
    num_images: `M`.
    num_classes: `C`.
    normalise: see `forgetting_events`.
    batch_size: see `forgetting_events`.
    augment: see `forgetting_events`.
    mix: see `forgetting_events`.

  Returns:
    A loop whose `update` is an epoch and a look, on a `ForgettingState`; the
    same key for every epoch. `events_of` reads the state.

  Raises:
    ValueError: if `batch_size` is below 1.
  """
  check_at_least('batch_size', batch_size, 1)
  loop = train_on_real(
    network,
    optimizer,
    num_images=num_images,
    num_classes=num_classes,
    batch_size=batch_size,
    num_batches=max(1, num_images // batch_size),
    augment=normalise if augment is None else augment,
    mix=mix,
  )

  def init(key, data):
    never = jnp.zeros(num_images, bool)
    start = loop.init(jax.random.split(key)[0], data)
    return ForgettingState(start, never, never, never.astype(jnp.int32))

  def update(key, state, data, synthetic):
    train_key = jax.random.split(key)[1]
    trained, metrics = loop.update(train_key, state.inner, data, synthetic)
    now = correct(network, trained.variables, data.real, normalise)
    forgotten = state.events + (state.right & ~now)
    return ForgettingState(trained, now, state.learnt | now, forgotten), metrics

  return loop._replace(init=init, update=update)


def events_of(state: ForgettingState, epochs: int) -> Array:
  """How often each image was forgotten: `[M]` int32.

  Toneva et al. (2019), section 3: how often it went from right to wrong. An
  image that is never right is never forgotten either; it counts as forgotten
  `epochs + 1` times, more often than any other can be.

  Args:
    state: after so many epochs.
    epochs: that were made.
  """
  return jnp.where(state.learnt, state.events, epochs + 1)


def forgetting(events: Array, labels: np.ndarray, ipc: int) -> Array:
  """The most often forgotten images of every class.

  DC's baseline (Zhao et al., 2021, section 4.1). Images that were never learnt
  come first; images forgotten equally often, in data-set order.

  Args:
    events: `[M]`, see `forgetting_events`; concrete.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.

  Returns:
    `[C, ipc]` int32 positions within each class, in data-set order of the
    class, the most forgotten first.

  Raises:
    ValueError: naming a class that holds fewer than `ipc` images, or if events
      and labels are not `[M]` with the same M.
  """
  if np.shape(events) != np.shape(labels):
    raise ValueError(
      f'events {np.shape(events)}: must be [M] like labels {np.shape(labels)}'
    )
  scores = jnp.asarray(events)[:, None]
  return select_by_class(_most, scores, labels, ipc)


def _most(scores, valid, ipc):
  # Of equal scores, top_k takes the earlier.
  return jax.lax.top_k(jnp.where(valid, scores[:, 0], -jnp.inf), ipc)[1]
