"""The sizes of a benchmark's step and its data, the same for every side."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

MEAN, STD = 0.45, 0.25


class Problem(NamedTuple):
  """Sizes of one step.

  Attributes:
    method: `'idc'`, `'dc'` or `'dm'`.
    image_shape: `(H, W, D)`.
    width: channels of the ConvNet.
    depth: blocks of the ConvNet.
    classes: `C`.
    ipc: stored images of a class.
    factor: multi-formation factor; 1 for the images themselves.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    network_batches: updates of the network after the image step (IDC).
    network_batch_size: images in an update: real ones (IDC), synthetic (DC).
    epochs: of the network over the synthetic set after the image step (DC).
    learning_rate: of the images; small, so that any number of steps is safe.
  """

  method: str = 'idc'
  image_shape: tuple[int, int, int] = (32, 32, 3)
  width: int = 128
  depth: int = 3
  classes: int = 10
  ipc: int = 10
  factor: int = 2
  batch_real: int = 64
  most_synthetic: int = 128
  network_batches: int = 8
  network_batch_size: int = 64
  epochs: int = 1
  learning_rate: float = 1e-3

  def options(self, **more: Any) -> dict[str, Any]:
    """Returns `{'problem': ...}` and more, as an `Alternative` takes them."""
    return {'problem': self._asdict(), **more}


def problem_from(options: dict[str, Any]) -> Problem:
  """Makes a `Problem` of what `Problem.options` wrote and JSON read."""
  problem = Problem(**options)
  return problem._replace(image_shape=tuple(problem.image_shape))


def idc_problem(**sizes: Any) -> Problem:
  """IDC's step: factor 2, batches of 64, squared distance."""
  return Problem(method='idc', **sizes)


def dc_problem(**sizes: Any) -> Problem:
  """DC's step: the images themselves, real batches of 256, cosine distance."""
  published = {
    'factor': 1,
    'batch_real': 256,
    'most_synthetic': 10**6,
    'network_batch_size': 256,
  }
  return Problem(method='dc', **{**published, **sizes})


def dm_problem(**sizes: Any) -> Problem:
  """DM's step: as DC's, a new network each, which is never trained."""
  return dc_problem(**sizes)._replace(method='dm', epochs=0)


class Data(NamedTuple):
  """What a step works on.

  Attributes:
    images: real images, uint8 `[M, H, W, D]`.
    labels: `[M]`.
    stored: images to start from, float32 `[C, ipc, H, W, D]` in [0, 1].
    mean: of each channel.
    std: of each channel.
  """

  images: np.ndarray
  labels: np.ndarray
  stored: np.ndarray
  mean: tuple[float, ...]
  std: tuple[float, ...]


def drawn(problem: Problem) -> Data:
  """Draws the data of a step that is only timed."""
  channels = problem.image_shape[2]
  return Data(
    *real_images(problem),
    stored_images(problem),
    (MEAN,) * channels,
    (STD,) * channels,
  )


def real_images(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
  """Draws the real set, one batch of each class, class after class.

  No more, so that peak memory is that of the step.

  Returns:
    uint8 images `[M, H, W, D]` and labels `[M]`.
  """
  shape = (problem.classes * problem.batch_real, *problem.image_shape)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, shape, np.uint8)
  return images, np.repeat(np.arange(problem.classes), problem.batch_real)


def stored_images(problem: Problem) -> np.ndarray:
  """Draws the stored images to start from, float32 `[C, ipc, H, W, D]`."""
  shape = (problem.classes, problem.ipc, *problem.image_shape)
  return np.random.default_rng(1).random(shape, np.float32)


def parse_shape(text: str) -> tuple[int, int, int]:
  """Reads `'28x28x1'`.

  Raises:
    ValueError: if it is not three whole numbers of at least 1.
  """
  parts = text.split('x')
  if len(parts) != 3 or not all(p.isdigit() and int(p) for p in parts):
    raise ValueError(f'shape {text!r}: must be ROWSxCOLUMNSxCHANNELS')
  h, w, d = map(int, parts)
  return h, w, d


def parse_counts(field: str, texts: Sequence[str], least: int = 1) -> list[int]:
  """Reads whole numbers.

  Raises:
    ValueError: naming the field if one is not a number of at least `least`.
  """
  for text in texts:
    if not text.isdigit() or int(text) < least:
      raise ValueError(f'{field} {text!r}: must be whole numbers >= {least}')
  return [int(text) for text in texts]


def shape_name(shape: Sequence[int]) -> str:
  """Returns `'28x28x1'`."""
  return 'x'.join(map(str, shape))
