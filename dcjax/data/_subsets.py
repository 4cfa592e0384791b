"""Parts of data sets, and data sets brought to one shape."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from dcjax.data._dataset import Dataset
from dcjax.data._images import resize_array
from dcjax.utils import check_choice


def only_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
  """Returns the images of some classes, numbered in the given order.

  Args:
    dataset: any.
    classes: labels that it has.
  """
  new = np.full(dataset.num_classes, -1, np.int32)
  new[np.asarray(classes)] = np.arange(len(classes))
  labels, tests = new[dataset.labels], new[dataset.test_labels]
  return dataclasses.replace(
    dataset,
    images=dataset.images[labels >= 0],
    labels=labels[labels >= 0],
    test_images=dataset.test_images[tests >= 0],
    test_labels=tests[tests >= 0],
    class_names=tuple(dataset.class_names[c] for c in classes),
  )


def at_most(dataset: Dataset, per_class: int, test: int = 0) -> Dataset:
  """Returns the first images of every class, and some for testing.

  Args:
    dataset: any.
    per_class: training images of each class; 0: all.
    test: test images, drawn at random, always the same; 0: all.
  """
  order, offsets, counts = dataset.class_index()
  rank = np.arange(len(order)) - np.repeat(offsets, counts)
  kept = order[rank < (per_class or len(order))]
  tests = np.random.default_rng(0).permutation(len(dataset.test_labels))
  tests = np.sort(tests[: test or None])
  return dataclasses.replace(
    chosen_images(dataset, np.sort(kept)),
    test_images=dataset.test_images[tests],
    test_labels=dataset.test_labels[tests],
  )


def chosen_images(dataset: Dataset, positions: np.ndarray) -> Dataset:
  """Returns the data set with these training images only."""
  return dataclasses.replace(
    dataset,
    images=dataset.images[positions],
    labels=dataset.labels[positions],
  )


def halves(dataset: Dataset, per_class: int = 0) -> tuple[Dataset, Dataset]:
  """Deals the training images out alternately: members, and others like them.

  Args:
    dataset: any.
    per_class: at most so many of each class in each half; 0: all.

  Raises:
    ValueError: if a class has fewer than two images.
  """
  if dataset.counts.min() < 2:
    name = dataset.class_names[int(dataset.counts.argmin())]
    raise ValueError(
      f'class {name!r} of {dataset.name} holds {dataset.counts.min()} images: '
      'members and others need one each'
    )
  order, offsets, counts = dataset.class_index()
  rank = np.arange(len(order)) - np.repeat(offsets, counts)
  # A last odd image is left out: both halves are of one size.
  whole = rank < np.repeat(counts // 2 * 2, counts)
  first, second = (
    at_most(
      chosen_images(dataset, order[whole & (rank % 2 == side)]), per_class
    )
    for side in (0, 1)
  )
  return first, second


def in_shape(dataset: Dataset, size: int, channels: int) -> Dataset:
  """Returns a data set of uint8 images in another shape, as domains share one.

  Args:
    dataset: of square images; others come out cropped to their middle.
    size: rows and columns.
    channels: 3 repeats grey images; 1 averages colours.

  Raises:
    ValueError: if the images are not uint8, or `channels` is neither 1 nor 3.
  """
  check_choice('channels', channels, (1, 3))
  if dataset.images.dtype != np.uint8:
    raise ValueError(
      f'{dataset.name} has {dataset.images.dtype} images: only uint8 ones can '
      'be brought to one shape'
    )

  def convert(images):
    if images.shape[1:3] != (size, size):
      images = np.stack([resize_array(image, size) for image in images])
    if images.shape[3] == channels:
      return images
    if channels == 3:
      return np.repeat(images[..., :1], 3, axis=3)
    return np.rint(images.mean(-1, keepdims=True)).astype(np.uint8)

  mean, std = (
    (sum(s) / len(s),) * channels if len(s) != channels else s
    for s in (dataset.mean, dataset.std)
  )
  return dataclasses.replace(
    dataset,
    images=convert(dataset.images),
    test_images=convert(dataset.test_images),
    mean=mean,
    std=std,
  )


def images_at(dataset: Dataset, chosen: np.ndarray) -> np.ndarray:
  """Returns real images in [0, 1] at positions within their classes.

  Args:
    dataset: any.
    chosen: `[C, n]` integers; see `initialisation.select`.

  Returns:
    float32 `[C, n, H, W, D]`.
  """
  order, offsets, _ = dataset.class_index()
  indices = order[np.asarray(offsets)[:, None] + np.asarray(chosen)]
  return dataset.images[indices].astype(np.float32) / dataset.scale
