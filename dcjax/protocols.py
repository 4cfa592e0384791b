"""How networks are trained on a condensed set in the papers."""

from collections.abc import Callable
from typing import NamedTuple

from dcjax.utils import check_at_least


class Protocol(NamedTuple):
  """How a network is trained and tested.

  Attributes:
    epochs: passes over the training set.
    batch_size: the last, shorter batch of a pass is used; it is filled up with
      images of the same pass at weight 0, which only BatchNorm's batch
      statistics see (the references' batch is really shorter).
    learning_rate: at the start.
    momentum: of SGD.
    weight_decay: of SGD.
    drops: fractions of the epochs after which the rate is multiplied by
      `drop_factor`, at whole epochs.
    drop_factor: see `drops`.
    clear_momentum: whether momentum is cleared at the first drop (DC).
    test_points: fractions of the epochs after which the network is tested;
      must end with 1.
  """

  epochs: int = 1000
  batch_size: int = 64
  learning_rate: float = 0.01
  momentum: float = 0.9
  weight_decay: float = 5e-4
  drops: tuple[float, ...] = (2 / 3, 5 / 6)
  drop_factor: float = 0.2
  clear_momentum: bool = False
  test_points: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)


def idc_protocol(epochs: int = 1000) -> Protocol:
  """IDC on small images: rate x0.2 at 2/3 and 5/6, tested four times."""
  return Protocol(epochs=epochs)


def dc_protocol(epochs: int = 300) -> Protocol:
  """DC: batch 256, rate x0.1 and momentum cleared once, just after half-time.

  The reference makes one pass more than it is told, and lowers the rate after
  the pass that it counts, from zero, as `epochs // 2 + 1`.
  """
  passes = epochs + 1
  return Protocol(
    epochs=passes,
    batch_size=256,
    drops=((epochs // 2 + 2) / passes,),
    drop_factor=0.1,
    clear_momentum=True,
    test_points=(1.0,),
  )


def dm_protocol(epochs: int = 1000) -> Protocol:
  """DSA and DM: DC's protocol with 1000 epochs."""
  return dc_protocol(epochs)


_IMAGENET_EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))


def imagenet_epochs(ipc: int, factor: int, num_classes: int) -> int:
  """IDC's epochs on ImageNet subsets, by the number of decoded images.

  Args:
    ipc: stored images per class.
    factor: multi-formation factor; `ipc * factor**2` images are trained on.
    num_classes: from 100 on two thirds, rounded down to hundreds.

  Raises:
    ValueError: if a number is below 1.
  """
  for name, value in (('ipc', ipc), ('factor', factor)):
    check_at_least(name, value, 1)
  check_at_least('num_classes', num_classes, 1)
  decoded = ipc * factor**2
  epochs = next((e for most, e in _IMAGENET_EPOCHS if decoded <= most), 300)
  return epochs if num_classes < 100 else epochs * 2 // 3 // 100 * 100


PROTOCOLS: dict[str, Callable[..., Protocol]] = {
  'idc': idc_protocol,
  'dc': dc_protocol,
  'dsa': dm_protocol,
  'dm': dm_protocol,
}
