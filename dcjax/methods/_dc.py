"""DC and DSA: gradients matched on networks trained on the synthetic set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.matching import ClassStrategy
from dcjax.methods._settings import OWN, Instead, OnSynthetic, on_synthetic
from dcjax.utils import check_at_least

_DC_LOOPS = {1: 1, 10: 50, 20: 25, 30: 20, 40: 15, 50: 10, 100: 2}


def dc_loops(ipc: int) -> tuple[int, int]:
  """DC's numbers of image steps and of network epochs after each.

  The reference has them for 1, 10, 20, 30, 40 and 50 images per class (its
  author adds 100) and refuses any other. Here the others get as many image
  steps as images (100 at most) and the epochs of the listed number below (2 to
  9: those of 10).

  Args:
    ipc: stored images per class, at least 1.

  Returns:
    `(image steps, epochs)`, both at least 1.

  Example:
    >>> dc_loops(10)
    (10, 50)
  """
  check_at_least('ipc', ipc, 1)
  if ipc == 1:
    return 1, 1
  listed = max(n for n in _DC_LOOPS if n <= max(ipc, 10))
  return min(ipc, 100), _DC_LOOPS[listed]


class RealStatistics(NamedTuple):
  """Where DC has the running statistics of networks from.

  Attributes:
    normalise: of the images, which the reference does not augment; None treats
      them as they are treated when images are matched.
    statistics_images: real images of each class.
  """

  normalise: Augment | None = None
  statistics_images: int = 16


_NETWORKS = OnSynthetic(epochs=50)


_STATISTICS = RealStatistics()


def dc(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float | optax.Schedule = 0.1,
  momentum: float = 0.5,
  distance: str = 'cosine',
  tensors: str = 'weights',
  match_augment: Augment | None = None,
  inner_steps: int = 10,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  networks: OnSynthetic = _NETWORKS,
  statistics: RealStatistics = _STATISTICS,
  classes: ClassStrategy = 'auto',
  instead: Instead = OWN,
) -> Condenser:
  """DC: gradients matched on networks trained on the synthetic set.

  Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR
  2021), Algorithm 1. DSA is the same with siamese augmentation in
  `match_augment` and its per-sample form in `networks.train_augment`. Images
  are stepped in normalised units and never clipped. Networks with running
  statistics (BatchNorm) get them from real images of all classes before every
  image step and are matched in eval mode; see `inner.with_real_statistics`.

  Args:
    network: what judges the images.
    formation: `identity()` in the paper.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units; may be a schedule.
    momentum: of the images.
    distance: see `objectives.gradient_matching`.
    tensors: see `objectives.gradient_matching`.
    match_augment: normalisation and siamese augmentation.
    inner_steps: for each network; see `dc_loops`.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    networks: how they are trained, by plain SGD; epochs as `dc_loops` says.
    statistics: what running statistics are of; networks without any ignore it.
    classes: see `mapping.over_classes`.
    instead: what takes the place of the method's own.

  Raises:
    ValueError: if a name is unknown, or `statistics_images` is below 1.
  """
  optimizer = instead.optimizer
  if optimizer is None:
    optimizer = optimizers.in_normalised_units(
      optimizers.sgd(learning_rate, momentum=momentum),
      std,
      formation.stored_images,
    )
  return condenser(
    instead.observers or network,
    formation=formation,
    # The same for networks without running statistics, where train mode is
    # kept: dropout depends on it.
    objective=instead.objective
    or objectives.gradient_matching(
      distance, tensors=tensors, train=not inner.tracks_statistics(network)
    ),
    source=instead.source or real_batches(counts, batch_real),
    inner=instead.loop
    or inner.with_real_statistics(
      on_synthetic(network, networks),
      network,
      counts,
      images_per_class=statistics.statistics_images,
      augment=statistics.normalise or match_augment,
    ),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    classes=classes,
    project='never',
  )
