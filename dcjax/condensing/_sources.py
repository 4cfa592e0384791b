"""Where the targets of a condensation come from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from dcjax.base import InTurns, Key, PyTree
from dcjax.data import _sampling as sampling


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


def real_batches(counts: np.ndarray, batch_size: int) -> Source:
  """Batches of real images of every class, without replacement.

  Each class is walked through in its own random order and reshuffled when it
  has fewer images left than a batch; a class smaller than the batch gives all
  its images, and repeats them with weight 0.

  Args:
    counts: `[C]` images of each class.
    batch_size: images of each class in a batch.
  """
  num_classes = len(counts)
  walk = sampling.shuffler(int(max(counts)), batch_size)
  padded = min(counts) < min(batch_size, max(counts))

  def init(key):
    return walk.init(key, jnp.asarray(counts, jnp.int32))

  def next_fn(key, state, data):
    state, positions, weights = walk.next(key, data.real.counts, state)
    return state, sampling.class_batch(
      data.real, positions, weights if padded else None, num_classes
    )

  return Source(init, next_fn)


def stored_targets() -> Source:
  """The targets that come with the data, the same ones in every step."""
  return Source(
    lambda key: (), lambda key, state, data: (state, InTurns(data.targets))
  )
