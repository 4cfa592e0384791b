"""DM: class means of embeddings matched under random networks."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.matching import ClassStrategy
from dcjax.methods._settings import OWN, Instead


def dm(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float | optax.Schedule = 1.0,
  momentum: float = 0.5,
  match_augment: Augment | None = None,
  inner_steps: int = 100,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  classes: ClassStrategy = 'auto',
  instead: Instead = OWN,
) -> Condenser:
  """DM: class means of embeddings matched under random networks.

  Zhao & Bilen, "Dataset Condensation with Distribution Matching" (WACV 2023),
  Algorithm 1: a new network for every image step, never trained. Images are
  stepped in normalised units and never clipped. With `uniform(2)` it is the
  DM + multi-formation of IDC's Table 13. Networks with running statistics
  (BatchNorm) see all classes together, in train mode, others class by class.

  Args:
    network: must expose an embedding.
    formation: `identity()` in the paper.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units; may be a schedule.
    momentum: of the images.
    match_augment: normalisation and siamese augmentation.
    inner_steps: in one compiled call.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    classes: see `mapping.over_classes`.
    instead: what takes the place of the method's own.
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
    objective=instead.objective
    or objectives.distribution_matching(joint=inner.tracks_statistics(network)),
    source=instead.source or real_batches(counts, batch_real),
    inner=instead.loop or inner.resample(network),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    classes=classes,
    project='never',
  )
