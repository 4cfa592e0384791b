"""The whole real set as a set to train on: what condensing it has cost."""

import builder
import numpy as np

from dcjax import evaluation, formations
from dcjax.base import Batch
from dcjax.data import Dataset

# Fewer passes leave a network on the whole set far from trained.
_LEAST_PASSES = 20


def images(dataset: Dataset) -> Batch:
  """Returns all real images with hard labels.

  Args:
    dataset: of M images.

  Returns:
    Images `[1, M, H, W, D]` in [0, 1] and labels `[1, M, K]`: one class axis of
    length 1, as classes differ in size.

  Raises:
    ValueError: if only a window of the images is in memory.
  """
  if dataset.stream is not None:
    raise ValueError(
      f'whole set: only a window of {dataset.name} is in memory; '
      'data.options.window must be None'
    )
  real = dataset.images.astype(np.float32) / dataset.scale
  labels = np.eye(dataset.num_classes, dtype=np.float32)[dataset.labels]
  return Batch(real[None], labels[None])


def prepared(parts: builder.Run, epochs: int) -> builder.Run:
  """Returns the parts of a run for an evaluation on the whole real set.

  Network, augmentation and protocol stay; images are taken as they are.

  Args:
    parts: of the run.
    epochs: passes over the whole set.
  """
  config = parts.config.copy_and_resolve_references()
  # The whole set is a selection that keeps whole classes.
  config.ipc = int(parts.dataset.counts.max())
  protocol = evaluation.PROTOCOLS[config.evaluation.protocol]
  return parts._replace(
    config=config,
    formation=formations.identity(),
    protocol=protocol(epochs),
  )


def default_epochs(
  small: int, whole: int, *, epochs: int, batch_size: int
) -> int:
  """Passes over the whole set that make as many updates as a small one.

  But at least 20, as a few images make few updates, and never more passes than
  the small set gets.

  Args:
    small: images of the small set.
    whole: images of the whole set.
    epochs: passes over the small set.
    batch_size: of both.

  Example:
    >>> default_epochs(40, 1433, epochs=1000, batch_size=64)
    43
  """
  updates = epochs * _updates(small, batch_size)
  alike = round(updates / _updates(whole, batch_size))
  return min(epochs, max(_LEAST_PASSES, alike))


def _updates(count, batch_size):
  return -(-count // min(count, batch_size))
