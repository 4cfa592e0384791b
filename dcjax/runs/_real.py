"""The training images of a run, on the devices."""

import functools

import numpy as np

from dcjax import data
from dcjax.data import Dataset, DeviceData
from dcjax.sharding import Placement


class RealData:
  """The training images on the devices: all of them, or window after window."""

  def __init__(self, dataset: Dataset, placement: Placement):
    """Moves the images, or the first window of them, to the devices."""
    self.dataset, self._placement = dataset, placement
    self._images_per_class = functools.cache(self._few)

  @functools.cached_property
  def _whole(self) -> DeviceData:
    return self._placement.data(self.dataset)

  def at(self, number: int = 0, images_per_class: int = 0) -> DeviceData:
    """The images that an iteration sees: all, or its window of a stream.

    Args:
      number: of the iteration.
      images_per_class: the first ones of every class; 0: all.
    """
    if images_per_class:
      return self._images_per_class(images_per_class)
    if self.dataset.stream is None:
      return self._whole
    images = self._placement.window(self.dataset, number)
    return self._whole._replace(images=images)

  def _few(self, images_per_class):
    return self._placement.data(data.at_most(self.dataset, images_per_class))

  @functools.cached_property
  def local(self) -> DeviceData:
    """The images on one device, for what every process computes alone."""
    if self._placement.mesh is None:
      return self._whole
    return Placement().data(self.dataset)

  @property
  def windows(self) -> int:
    """How many windows show every image; 1 where all are in memory."""
    stream = self.dataset.stream
    return 1 if stream is None else stream.windows_per_pass

  @property
  def counts(self) -> np.ndarray:
    """Images of each class in the whole set, in memory or not."""
    stream = self.dataset.stream
    return self.dataset.counts if stream is None else stream.counts

  def close(self) -> None:
    """Ends the threads that decode further windows."""
    if self.dataset.stream is not None:
      self.dataset.stream.close()
