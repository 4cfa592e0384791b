"""The images that a network learns and forgets again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dcjax import inner
from dcjax.base import Array, Augment, Key, Network
from dcjax.coresets._classes import select_by_class
from dcjax.coresets._predict import correct
from dcjax.data import sampling
from dcjax.training import Mix
from dcjax.utils import check_at_least


def count_forgetting(correct: Array) -> Array:
  """Counts how often each image goes from classified right to wrong.

  Toneva et al. (2019), section 3. An image that is never right is never
  forgotten either; it counts as forgotten `T + 1` times, more often than any
  other can be.

  Args:
    correct: `[T, M]` bool, whether image `m` is classified right at time `t`.

  Returns:
    `[M]` int32 in 0..T/2, or `T + 1`.

  Raises:
    ValueError: if `correct` is not `[T, M]`, or not bool.

  Example:
    >>> count_forgetting(jnp.array([[1, 0], [0, 0], [1, 0]], bool))
    Array([1, 4], dtype=int32)
  """
  if correct.ndim != 2 or correct.dtype != bool:
    raise ValueError(
      f'correct {correct.dtype} {correct.shape}: must be bool [T, M]'
    )
  events = jnp.sum(correct[:-1] & ~correct[1:], axis=0, dtype=jnp.int32)
  return jnp.where(jnp.any(correct, axis=0), events, correct.shape[0] + 1)


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
  check_at_least('batch_size', batch_size, 1)
  num_images = data.images.shape[0]
  loop = inner.train_on_real(
    network,
    optimizer,
    num_images=num_images,
    num_classes=data.counts.shape[0],
    batch_size=batch_size,
    num_batches=max(1, num_images // batch_size),
    augment=normalise if augment is None else augment,
    mix=mix,
  )

  @jax.jit
  def train(key, data):
    init_key, train_key = jax.random.split(key)
    real = inner.InnerData(data)

    def epoch(state, _):
      state, _ = loop.update(train_key, state, real, None)
      return state, correct(network, state.variables, data, normalise)

    start = loop.init(init_key, real)
    _, record = jax.lax.scan(epoch, start, length=epochs)
    return count_forgetting(record)

  return train(key, data)


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
