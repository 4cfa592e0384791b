"""DC and DSA: gradients matched on networks trained on the synthetic set."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network, Objective, StatefulObjective
from dcjax.condensing import Condenser, Source, condenser, real_batches
from dcjax.inner import InnerLoop
from dcjax.matching import ClassStrategy
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


def dc(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float | optax.Schedule = 0.1,
  momentum: float = 0.5,
  optimizer: optax.GradientTransformation | None = None,
  distance: str = 'cosine',
  tensors: str = 'weights',
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
  inner_steps: int = 10,
  epochs: int = 50,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  network_batch_size: int = 256,
  network_learning_rate: float = 0.01,
  normalise: Augment | None = None,
  statistics_images: int = 16,
  classes: ClassStrategy = 'auto',
  objective: Objective | StatefulObjective | None = None,
  source: Source | None = None,
  loop: InnerLoop | None = None,
) -> Condenser:
  """DC: gradients matched on networks trained on the synthetic set.

  Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR
  2021), Algorithm 1. DSA is the same with siamese augmentation in
  `match_augment` and its per-sample form in `train_augment`. Images are stepped
  in normalised units and never clipped. Networks with running statistics
  (BatchNorm) get them from real images of all classes before every image step
  and are matched in eval mode; see `inner.with_real_statistics`.

  Args:
    network: what judges the images.
    formation: `identity()` in the paper.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units; may be a schedule.
    momentum: of the images.
    optimizer: replaces the image optimiser altogether, and takes the stored
      numbers as they are.
    distance: see `objectives.gradient_matching`.
    tensors: see `objectives.gradient_matching`.
    match_augment: normalisation and siamese augmentation.
    train_augment: normalisation and per-sample augmentation.
    inner_steps: for each network; see `dc_loops`.
    epochs: of the network over the synthetic set after each image step.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    network_batch_size: synthetic images in a network update.
    network_learning_rate: of the networks; plain SGD.
    normalise: of the images behind running statistics, which the reference
      does not augment; None treats them with `match_augment`.
    statistics_images: real images of each class behind running statistics;
      networks without any ignore it.
    classes: see `matching.over_classes`.
    objective: replaces the method's own.
    source: replaces the method's own.
    loop: where networks come from, in place of the method's own.

  Raises:
    ValueError: if a name is unknown, or `statistics_images` is below 1.
  """
  if optimizer is None:
    optimizer = optimizers.in_normalised_units(
      optimizers.sgd(learning_rate, momentum=momentum),
      std,
      formation.stored_images,
    )
  networks = inner.train_on_synthetic(
    network,
    optimizers.sgd(network_learning_rate, momentum=0.0),
    epochs=epochs,
    batch_size=network_batch_size,
    augment=train_augment,
  )
  return condenser(
    network,
    formation=formation,
    # The same for networks without running statistics, where train mode is
    # kept: dropout depends on it.
    objective=objective
    or objectives.gradient_matching(
      distance, tensors=tensors, train=not inner.tracks_statistics(network)
    ),
    source=source or real_batches(counts, batch_real),
    inner=loop
    or inner.with_real_statistics(
      networks,
      network,
      counts,
      images_per_class=statistics_images,
      augment=normalise or match_augment,
    ),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    classes=classes,
    project='never',
  )
