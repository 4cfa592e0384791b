"""A condensed set cut into batches of images that are optimised one by one."""

from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array, Key, Metrics, Params
from dcjax.condensing import Condenser
from dcjax.inner import InnerData
from dcjax.utils import check_at_least, check_choice

ORDERS = ('class', 'round')


def image_batches(
  num_classes: int, ipc: int, batch_size: int, order: str = 'class'
) -> list[np.ndarray]:
  """Cuts a condensed set into the batches that are optimised one by one.

  Memory of a step is that of a batch, whatever the number of classes.

  Args:
    num_classes: C.
    ipc: images per class.
    batch_size: images in a batch; the last one holds the rest.
    order: `'class'` (EDC: all images of a class, then the next class, so that
      batches hold few classes) or `'round'` (SRe2L: an image of every class,
      then another one of every class).

  Returns:
    Batches `[G, n, 2]` of (class, place in the class). If batches hold whole
    classes, G are the classes; otherwise G is 1.

  Raises:
    ValueError: if the order is unknown or a number is below 1.

  Example:
    >>> [b.shape for b in image_batches(1000, 10, 80)][:2]
    [(8, 10, 2), (8, 10, 2)]
  """
  check_choice('order', order, ORDERS)
  for name, value in (
    ('num_classes', num_classes),
    ('ipc', ipc),
    ('batch_size', batch_size),
  ):
    check_at_least(name, value, 1)
  slots = np.stack(np.indices((num_classes, ipc)), axis=-1)
  if order == 'round':
    slots = slots.swapaxes(0, 1)
  slots = slots.reshape(-1, 2)
  batches = np.split(slots, range(batch_size, len(slots), batch_size))
  whole = order == 'class' and batch_size % ipc == 0
  return [b.reshape(-1, ipc, 2) if whole else b[None] for b in batches]


def cut_batch(images: Array, slots: np.ndarray, tiles: int = 1) -> Params:
  """Returns the stored numbers of one image batch.

  Args:
    images: `[C, N, H, W, D]`, the whole set.
    slots: `[G, n, 2]`; see `image_batches`.
    tiles: of the formation, each of which is an image with a label.

  Returns:
    `{'images': [G, n, H, W, D], 'labels': [G, tiles * n, C]}`, labels one-hot.
  """
  labels = jnp.eye(images.shape[0])[slots[..., 0]]
  labels = jnp.tile(labels, (1, tiles, 1))
  return {'images': images[slots[..., 0], slots[..., 1]], 'labels': labels}


def put_batch(images: Array, slots: np.ndarray, params: Params) -> Array:
  """Puts an image batch back into the whole set `[C, N, H, W, D]`."""
  return images.at[slots[..., 0], slots[..., 1]].set(params['images'])


def synthesise(
  condenser: Condenser,
  images: Array,
  data: InnerData,
  key: Key,
  *,
  batches: Sequence[np.ndarray],
  iterations: int,
  inner_steps: int,
  tiles: int = 1,
) -> Iterator[tuple[Array, Metrics]]:
  """Optimises a whole set, batch after batch.

  Args:
    condenser: `edc` or one like it.
    images: `[C, N, H, W, D]` in [0, 1], where they start.
    data: with observers and targets.
    key: the run's.
    batches: see `image_batches`.
    iterations: steps of each batch; the recipe's.
    inner_steps: steps of a period; the recipe's.
    tiles: see `cut_batch`.

  Yields:
    After every batch the whole set as it then is, and the metrics of the
    batch's last period, `[inner_steps]` each.
  """
  images = jnp.asarray(images)
  period = jax.jit(condenser.period, donate_argnums=1)
  state = None
  for slots in batches:
    params = cut_batch(images, slots, tiles)
    state = (
      condenser.init(key, params, data)
      if state is None
      else condenser.restart(state, params)
    )
    for _ in range(iterations // inner_steps):
      state, metrics = period(key, state, data)
    images = put_batch(images, slots, state.params)
    yield images, metrics
