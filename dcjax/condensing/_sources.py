"""Where the targets of a condensation come from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Batch, InTurns, Key, PyTree
from dcjax.data import sampling
from dcjax.utils import check_at_least

# Of a draw's key, that the walk consumes.
_CLASSES_FOLD = 1


class Source(NamedTuple):
  """Where targets come from.

  Attributes:
    init: `key -> state`.
    next: `(key, state, data) -> (state, target)`.
    observe: `(key, state, data, variables) -> state`, before every draw, of a
      source that asks the network of the moment what to draw; None: it does
      not.
  """

  init: Callable[[Key], PyTree]
  next: Callable[[Key, PyTree, Any], tuple[PyTree, Any]]
  observe: Callable[[Key, PyTree, Any, Any], PyTree] | None = None


def real_batches(
  counts: np.ndarray, batch_size: int, classes_per_step: int = 0
) -> Source:
  """Batches of real images of every class, without replacement.

  Each class is walked through in its own random order and reshuffled when it
  has fewer images left than a batch; a class smaller than the batch gives all
  its images, and repeats them with weight 0.

  Args:
    counts: `[C]` images of each class.
    batch_size: images of each class in a batch.
    classes_per_step: classes of a batch, at random; 0 for all.

  Raises:
    ValueError: if `classes_per_step` is negative.
  """
  check_at_least('classes_per_step', classes_per_step, 0)
  num_classes = len(counts)
  walk = sampling.shuffler(int(max(counts)), batch_size)
  padded = min(counts) < min(batch_size, max(counts))

  def init(key):
    return walk.init(key, jnp.asarray(counts, jnp.int32))

  def next_fn(key, state, data):
    state, positions, weights = walk.next(key, data.real.counts, state)
    weights = weights if padded else None
    if not 0 < classes_per_step < num_classes:
      return state, sampling.class_batch(
        data.real, positions, weights, num_classes
      )
    order_key = jax.random.fold_in(key, _CLASSES_FOLD)
    chosen = jax.random.permutation(order_key, num_classes)[:classes_per_step]
    places = data.real.starts[chosen, None] + positions[chosen]
    shape = (*places.shape, num_classes)
    labels = jnp.broadcast_to(jnp.eye(num_classes)[chosen, None], shape)
    return state, Batch(
      sampling.fetch(data.real, places),
      labels,
      weights if weights is None else weights[chosen],
      classes=chosen,
    )

  return Source(init, next_fn)


def stored_targets() -> Source:
  """The targets that come with the data, the same ones in every step."""
  return Source(
    lambda key: (), lambda key, state, data: (state, InTurns(data.targets))
  )
