"""Real images one window after another, where not all are in memory."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from dcjax.data import Dataset
from dcjax.data._sampling import DeviceData


def steps_of_a_window(dataset: Dataset, batch_size: int) -> int | None:
  """Returns how many batches show the images of a window once.

  Args:
    dataset: the real data.
    batch_size: images of a batch.

  Returns:
    At least 1; None where all images are in memory.
  """
  if dataset.stream is None:
    return None
  return max(1, len(dataset.labels) // batch_size)


def parts_of(
  start: int, stop: int, of_a_window: int | None
) -> Iterator[tuple[int, int]]:
  """Cuts the steps from `start` to `stop` where windows change.

  Args:
    start: steps behind us.
    stop: steps in the end.
    of_a_window: see `steps_of_a_window`.

  Yields:
    Number of a window, and the steps behind us after it.
  """
  while start < stop:
    if of_a_window is None:
      number, end = 0, stop
    else:
      number = start // of_a_window
      end = min(stop, (number + 1) * of_a_window)
    yield number, end
    start = end


def data_at(dataset: Dataset, data: DeviceData, number: int) -> DeviceData:
  """Returns a window on the device; all images where they are in memory.

  Args:
    dataset: the real data.
    data: its first window, or all of it, on the device.
    number: of the window.
  """
  if dataset.stream is None:
    return data
  return data._replace(images=jnp.asarray(dataset.stream.window(number)))


def one_pass(dataset: Dataset) -> Iterator[tuple[int, np.ndarray]]:
  """Yields the windows that show every image, and what is new in each.

  Classes differ in size: windows of the smaller ones go on with images that
  were there already.

  Args:
    dataset: whose images are not all in memory.

  Yields:
    Number of a window, and `[M]` float32: 1 for images seen for the first time,
    0 for others.
  """
  stream = dataset.stream
  labels, held = stream.labels, stream.held
  starts = np.cumsum(held) - held
  places = np.arange(len(labels)) - starts[labels]
  for number in range(stream.windows_per_pass):
    new = number * held[labels] + places < stream.counts[labels]
    yield number, new.astype(np.float32)


def close(dataset: Dataset) -> None:
  """Ends the threads that decode further windows; they can be started again.

  Args:
    dataset: the real data, in windows or not.
  """
  if dataset.stream is not None:
    dataset.stream.close()
