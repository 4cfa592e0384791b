"""Labels stored beside the crops they belong to (FKD)."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import augment, trees
from dcjax.base import Array, Augment, Key, Network, Variables
from dcjax.data import sampling
from dcjax.feeds import Feed, TrainingSet
from dcjax.labelling._ensemble import LabelledBatch, ensemble_logits
from dcjax.losses import Loss
from dcjax.utils import check_at_least

_HOLDS = 'stored labels'
_MOST_PIXELS = 2**16


class StoredLabels(NamedTuple):
  """Views of a condensed set, step by step, and their logits.

  Attributes:
    images: `[T, B]` int32, which image of the set.
    weights: `[T, B]` uint8, 0 marks padding of the last batch of an epoch.
    boxes: `[T, B, 4]` uint16 pixels: first row, first column, rows, columns.
    flips: `[T, B]` bool, whether the crop is mirrored.
    partners: `[T, B]` int32, the place in the batch that CutMix takes from.
    cuts: `[T, 4]` uint16 pixels: first and last rows and columns of CutMix.
    logits: `[T, B, K]` float16, the teachers' mean.
  """

  images: Array
  weights: Array
  boxes: Array
  flips: Array
  partners: Array
  cuts: Array
  logits: Array

  @property
  def batch_size(self) -> int:
    """`B`: CutMix pairs belong to a batch, so students must use the same."""
    return self.images.shape[1]

  @property
  def nbytes(self) -> int:
    """Bytes of all arrays."""
    return sum(np.asarray(array).nbytes for array in self)


class StoredSet(NamedTuple):
  """Images and the labels stored beside their crops; see `replayed`.

  Attributes:
    images: see `evaluation.training_set`, without padding.
    stored: see `store`.
  """

  images: TrainingSet
  stored: StoredLabels


def store(
  networks: Sequence[Network],
  variables: Sequence[Variables],
  images: Array,
  key: Key,
  *,
  epochs: int,
  batch_size: int,
  normalise: Augment,
  scale: tuple[float, float] = (0.5, 1.0),
  flips: bool = True,
) -> StoredLabels:
  """Draws the crops of every epoch and stores the teachers' logits.

  Each epoch is a new random order of the images. Every image is cropped and
  mirrored on its own, then the batch is cut-mixed once with Beta(1, 1), always.
  The labels are raw logits, without temperature (Shen & Xing, "A Fast Knowledge
  Distillation Framework", ECCV 2022, as SRe2L and EDC use it).

  Args:
    networks: the teachers.
    variables: of each network.
    images: `[M, H, W, D]` in [0, 1].
    key: decides every draw.
    epochs: of the student's training.
    batch_size: `B`, of the student's training; at most M are used.
    normalise: applied to the images.
    scale: smallest and largest share of the area that a crop keeps.
    flips: whether half of the crops are mirrored.

  Returns:
    `epochs * ceil(M / B)` steps, on the host.

  Raises:
    ValueError: if a number is below 1, or an image too large.
  """
  for name, value in (('epochs', epochs), ('batch_size', batch_size)):
    check_at_least(name, value, 1)
  count, height, width, _ = images.shape
  if max(height, width) >= _MOST_PIXELS:
    raise ValueError(
      f'images of {height}x{width}: sides must be below {_MOST_PIXELS}'
    )
  walk = sampling.shuffler(count, batch_size, keep_last=True)
  whole = jnp.asarray([count], jnp.int32)
  steps = -(-count // min(batch_size, count))

  @jax.jit
  def epoch(variables, images, key):
    def step(source, step_key):
      source, positions, weights = walk.next(step_key, whole, source)
      crops = _draw_crops(
        step_key, positions[0], weights[0], (height, width), scale, flips
      )
      seen = _make_crops(crops, images, normalise)
      logits = ensemble_logits(networks, variables, seen)
      return source, crops._replace(logits=logits.astype(jnp.float16))

    keys = jax.random.split(jax.random.fold_in(key, 1), steps)
    return jax.lax.scan(step, walk.init(key, whole), keys)[1]

  parts = [
    jax.device_get(
      epoch(tuple(variables), images, jax.random.fold_in(key, number))
    )
    for number in range(epochs)
  ]
  return StoredLabels(
    *(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
  )


def _draw_crops(key, positions, weights, image_size, scale, flips):
  """The crops of one step, without logits."""
  box_key, flip_key, pair_key, share_key, centre_key = jax.random.split(key, 5)
  count = positions.shape[0]
  boxes = augment.draw_boxes(box_key, count, image_size, scale)
  centre = jax.random.randint(centre_key, (2,), 0, jnp.array(image_size))
  cut = augment.box_from(jax.random.uniform(share_key), centre, *image_size)
  return StoredLabels(
    positions,
    weights.astype(jnp.uint8),
    boxes.astype(jnp.uint16),
    flips & jax.random.bernoulli(flip_key, shape=(count,)),
    augment.permute_valid(pair_key, count, weights),
    cut.astype(jnp.uint16),
    jnp.zeros((count, 0)),
  )


def _make_crops(crops, images, normalise):
  """The images `[B, H, W, D]` of one step, as the teachers saw them."""
  chosen = normalise(jax.random.key(0), images[crops.images])
  chosen = augment.crop_boxes(
    chosen, crops.boxes.astype(jnp.float32), images.shape[1:3]
  )
  chosen = augment.flip(chosen, jnp.where(crops.flips, 0.0, 1.0))
  nothing = jnp.zeros((chosen.shape[0], 1))
  mixed, _ = augment.cutmix_apply(
    chosen, nothing, crops.partners, crops.cuts.astype(jnp.int32)
  )
  return mixed


def replay(
  stored: StoredLabels,
  images: Array,
  labels: Array,
  step: Array | int,
  normalise: Augment,
) -> LabelledBatch:
  """Makes the batch of one step again.

  Args:
    stored: see `store`.
    images: `[M, H, W, D]`, those that were labelled.
    labels: `[M, K]` of the images.
    step: may be traced; beyond the last step it starts again.
    normalise: the one that was stored with.
  """
  step = step % stored.images.shape[0]
  crops = jax.tree.map(lambda array: jnp.asarray(array)[step], stored)
  return LabelledBatch(
    _make_crops(crops, images, normalise),
    labels[crops.images],
    crops.weights.astype(jnp.float32),
    crops.logits.astype(jnp.float32),
  )


def check_stored(
  stored: StoredLabels, *, batch_size: int, num_images: int, num_classes: int
) -> None:
  """Raises a ValueError unless labels belong to a set and its training.

  Args:
    stored: see `store`.
    batch_size: of the student's training.
    num_images: M of the set.
    num_classes: K of the set.
  """
  wanted = min(batch_size, num_images)
  if stored.batch_size != wanted:
    raise ValueError(
      f'stored labels: made for batches of {stored.batch_size}; training has '
      f'batches of {wanted}, and CutMix pairs belong to a batch'
    )
  named = 1 + int(np.max(stored.images))
  if named != num_images:
    raise ValueError(
      f'stored labels: made for {named} images; the set has {num_images}'
    )
  if stored.logits.shape[-1] != num_classes:
    raise ValueError(
      f'stored labels: made for {stored.logits.shape[-1]} classes; the set has '
      f'{num_classes}'
    )


def replayed(loss: Loss, normalise: Augment) -> Feed:
  """Views of images with stored labels, step by step as they were stored.

  Args:
    loss: see `student_loss`.
    normalise: the one that was stored with.

  Returns:
    A feed on a `StoredSet`.
  """

  def next_fn(key, step, data):
    del key
    images, labels, _ = data.images
    return step + 1, replay(data.stored, images, labels, step, normalise)

  return Feed(
    lambda key, data: jnp.zeros((), jnp.int32),
    next_fn,
    lambda data: -(-data.images.images.shape[0] // data.stored.batch_size),
    loss,
  )


def save_labels(path: str | pathlib.Path, stored: StoredLabels) -> None:
  """Writes stored labels into an `.npz` file, whole or not at all.

  NumPy alone opens it: the arrays are those of `StoredLabels`, uncompressed.

  Args:
    path: of the file.
    stored: see `store`.

  Raises:
    ValueError: if a logit is NaN or infinite.
    OSError: if the file cannot be written.
  """
  trees.save(path, stored, {'holds': _HOLDS})


def load_labels(path: str | pathlib.Path) -> StoredLabels:
  """Reads what `save_labels` wrote, and checks everything about it.

  Args:
    path: of the file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is damaged, or holds no stored labels; names the file.
  """
  arrays = trees.load(path)
  if set(arrays) != set(StoredLabels._fields):
    raise ValueError(
      f'{path}: holds {sorted(arrays)[:3]} and no stored labels; give the file '
      'that belongs here, or delete it to make it again'
    )
  stored = StoredLabels(**arrays)
  _check_form(path, stored)
  return stored


def _check_form(path, stored: StoredLabels) -> None:
  """Raises a ValueError unless arrays are as `StoredLabels` says."""
  steps, size, classes = (*stored.logits.shape, 0, 0, 0)[:3]
  forms = {
    'images': ('int32', (steps, size)),
    'weights': ('uint8', (steps, size)),
    'boxes': ('uint16', (steps, size, 4)),
    'flips': ('bool', (steps, size)),
    'partners': ('int32', (steps, size)),
    'cuts': ('uint16', (steps, 4)),
    'logits': ('float16', (steps, size, classes)),
  }
  for name, form in forms.items():
    array = getattr(stored, name)
    if (str(array.dtype), array.shape) != form or not array.size:
      raise ValueError(
        f'{path}: {name} is {array.dtype} {array.shape}; stored labels have '
        f'{form[0]} {form[1]}, nothing empty'
      )
  for name, end in (('images', None), ('partners', size), ('weights', 2)):
    array = getattr(stored, name)
    if array.min() < 0 or (end is not None and array.max() >= end):
      raise ValueError(
        f'{path}: {name} holds {array.min()}..{array.max()}; allowed are '
        f'numbers from 0{"" if end is None else f" to {end - 1}"}'
      )
