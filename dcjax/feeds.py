"""Feeds: what networks are trained on, batch by batch.

`labelled` images are one; `labelling` makes those that teachers label, and
`applications` those of networks that hold on to what they were.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array, Augment, Batch, Key, PyTree
from dcjax.data import sampling
from dcjax.losses import Loss
from dcjax.training import Mix, augmenting


class Feed(NamedTuple):
  """Where the batches of a training come from, and what is learned of them.

  Attributes:
    init: `(key, data) -> state`.
    next: `(key, state, data) -> (state, batch)`, of images as the network sees
      them.
    steps: `data -> []`, batches in a pass; may be traced.
    loss: of the logits and a batch; None: cross-entropy.
    own: a prefix of `data`, True where every network has numbers of its own,
      along a leading axis; False: all of them share all data.
  """

  init: Callable[[Key, Any], PyTree]
  next: Callable[[Key, PyTree, Any], tuple[PyTree, Any]]
  steps: Callable[[Any], Array | int]
  loss: Loss | None = None
  own: PyTree = False


class TrainingSet(NamedTuple):
  """Images to train on, padded so that sets of several sizes share a program.

  Padding is never drawn. A set smaller than the batch fills it up with copies
  of its own images at weight 0; see `Protocol.batch_size`.

  Attributes:
    images: `[M, H, W, D]` in [0, 1].
    labels: `[M, K]` probabilities, or centred.
    count: `[]` int32; images after it are padding.
  """

  images: Array
  labels: Array
  count: Array


def training_set(
  images: np.ndarray | Array,
  labels: np.ndarray | Array,
  num_classes: int,
  padded_to: int | None = None,
  *,
  centred: bool = False,
) -> TrainingSet:
  """Makes a `TrainingSet`.

  Args:
    images: `[M, H, W, D]` float in [0, 1].
    labels: `[M]` integers or `[M, K]`, taken as they are.
    num_classes: `K`.
    padded_to: at least `M`; None for no padding.
    centred: whether integers become one-hot minus 1 / K (for the loss
      `'squared'`).

  Raises:
    ValueError: if images and labels do not fit, or `padded_to` is too small.
  """
  images, labels = jnp.asarray(images, jnp.float32), jnp.asarray(labels)
  if images.ndim != 4 or images.shape[0] != labels.shape[0]:
    raise ValueError(
      f'images {images.shape} and labels {labels.shape}: must be [M, H, W, D] '
      'and [M] or [M, K] with the same M'
    )
  if labels.ndim == 1:
    if labels.min() < 0 or labels.max() >= num_classes:
      raise ValueError(
        f'labels {labels.min()}..{labels.max()}: must be in 0..'
        f'{num_classes - 1}'
      )
    labels = jax.nn.one_hot(labels, num_classes) - centred / num_classes
  if labels.shape[1] != num_classes:
    raise ValueError(
      f'labels have {labels.shape[1]} columns: must be {num_classes}'
    )
  count = images.shape[0]
  padding = (padded_to or count) - count
  if padding < 0:
    raise ValueError(f'padded_to {padded_to}: must be at least {count}')
  return TrainingSet(
    jnp.pad(images, ((0, padding), (0, 0), (0, 0), (0, 0))),
    jnp.pad(labels, ((0, padding), (0, 0))),
    jnp.asarray(count, jnp.int32),
  )


def shuffled(batch_size: int) -> Feed:
  """The images of a `TrainingSet` as they are, each once in a pass.

  Args:
    batch_size: `B`, or that of the set if it is less; the last batch of a pass
      may be short.
  """

  def walk(data):
    return sampling.shuffler(data.images.shape[0], batch_size, keep_last=True)

  def init(key, data):
    return walk(data).init(key, data.count[None])

  def next_fn(key, state, data):
    state, positions, weights = walk(data).next(key, data.count[None], state)
    chosen = positions[0]
    return state, Batch(data.images[chosen], data.labels[chosen], weights[0])

  def steps(data):
    size = min(batch_size, data.images.shape[0])
    return -(-data.count // jnp.minimum(size, data.count))

  return Feed(init, next_fn, steps)


def labelled(
  batch_size: int,
  *,
  augment: Augment | None = None,
  mix: Mix | None = None,
  loss: Loss | None = None,
) -> Feed:
  """Hard labels, or one soft label per image, of a `TrainingSet`.

  Args:
    batch_size: see `shuffled`.
    augment: normalisation and augmentation.
    mix: CutMix or the like, after augmentation.
    loss: see `Feed`.
  """
  plain = shuffled(batch_size)

  def next_fn(key, state, data):
    def draw(key, state):
      return plain.next(key, state, data)

    return augmenting(draw, augment, mix)(key, state)

  return plain._replace(next=next_fn, loss=loss)
