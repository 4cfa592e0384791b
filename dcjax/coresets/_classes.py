"""One selection, mapped over classes that are padded to the largest."""

import functools
from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array, Key
from dcjax.data import sampling
from dcjax.utils import check_count


def select_by_class(
  select: Callable[..., Array],
  features: Array,
  labels: np.ndarray,
  ipc: int,
  *settings: Hashable,
  key: Key | None = None,
) -> Array:
  """Maps `select(features [n, F], valid [n], (key,) ipc, *settings)`.

  Args:
    select: `[n, F]` and the mark of what is no padding -> positions `[ipc]`.
      A module's function, not a lambda: compiled once for each.
    features: `[M, F]`, finite.
    labels: `[M]` integers, every class of `0..C-1` present.
    ipc: images to keep in each class.
    *settings: further arguments of `select`, fixed at compile time.
    key: if given, every class gets one of its own as third argument.

  Returns:
    `[C, ipc]` int32 positions within each class.

  Raises:
    ValueError: if features are not finite `[M, F]`, labels are not integers, or
      a class holds fewer than `ipc` images.
  """
  ipc = check_count('ipc', ipc)
  labels = _checked_labels(labels)
  features = jnp.asarray(features, jnp.float32)
  if features.ndim != 2 or features.shape[0] != labels.shape[0]:
    raise ValueError(
      f'features {features.shape}: must be [M, F] with M = {labels.shape[0]}'
    )
  if not jnp.all(jnp.isfinite(features)):
    raise ValueError('features hold NaN or infinity: all must be finite')
  order, starts, counts = class_index(labels)
  for label, count in enumerate(counts):
    if count < ipc:
      raise ValueError(f'ipc {ipc}: class {label} holds only {count} images')
  longest = np.arange(counts.max())
  members = order[starts[:, None] + np.minimum(longest, counts[:, None] - 1)]
  valid = longest < counts[:, None]
  keys = () if key is None else (jax.random.split(key, len(counts)),)
  return _over_classes(
    select, (ipc, *settings), features, members, valid, *keys
  )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _over_classes(select, settings, features, members, valid, *keys):
  def one_class(inputs):
    members, *others = inputs
    return select(features[members], *others, *settings).astype(jnp.int32)

  return jax.lax.map(one_class, (members, valid, *keys))


def class_index(
  labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Groups image numbers by class as `to_device` groups images.

  Args:
    labels: `[M]` integers.

  Returns:
    Image numbers sorted by class `[M]`, where each class starts `[C]`, how many
    images it has `[C]`.
  """
  numbers = np.arange(labels.shape[0], dtype=np.int32)
  grouped = sampling.to_device(numbers, labels, 1.0)
  return (
    np.asarray(grouped.images),
    np.asarray(grouped.starts),
    np.asarray(grouped.counts),
  )


def to_dataset_indices(chosen: Array, labels: np.ndarray) -> np.ndarray:
  """Turns positions within classes into positions in the data set.

  Args:
    chosen: `[C, ipc]` positions within each class.
    labels: `[M]` integers.

  Returns:
    `[C, ipc]` int32 indices into the data set.

  Raises:
    ValueError: if labels are not integers from 0.
  """
  order, starts, _ = class_index(_checked_labels(labels))
  return order[starts[:, None] + np.asarray(chosen)]


def _checked_labels(labels):
  labels = np.asarray(labels)
  if labels.ndim != 1 or labels.dtype.kind not in 'iu' or not labels.size:
    raise ValueError(
      f'labels {labels.dtype} {labels.shape}: must be integers [M], M >= 1'
    )
  if labels.min() < 0:
    raise ValueError(f'labels go down to {labels.min()}: must be at least 0')
  return labels
