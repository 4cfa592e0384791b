"""IDC: gradients matched on networks that learn from real data."""

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network, Objective, StatefulObjective
from dcjax.condensing import Condenser, Source, condenser, real_batches
from dcjax.inner import InnerLoop
from dcjax.matching import ClassStrategy
from dcjax.training import Mix


def idc(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  learning_rate: float,
  distance: str = 'squared',
  tensors: str = 'conv',
  momentum: float = 0.5,
  sweep: bool = True,
  optimizer: optax.GradientTransformation | None = None,
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
  train_mix: Mix | None = None,
  inner_steps: int = 100,
  batch_real: int = 64,
  most_synthetic: int = 128,
  network_batches: int = 8,
  network_batch_size: int = 64,
  network_learning_rate: float = 0.01,
  network_weight_decay: float = 5e-4,
  early_batches: int = 0,
  classes: ClassStrategy = 'auto',
  objective: Objective | StatefulObjective | None = None,
  source: Source | None = None,
  loop: InnerLoop | None = None,
) -> Condenser:
  """IDC: multi-formation, gradients matched on networks trained on real data.

  Kim et al., "Dataset Condensation via Efficient Synthetic-Data
  Parameterization" (ICML 2022), Algorithm 1. Defaults are the reference's for
  small images; `network_batches` is 8 (512 images) or 32 (2048) there.

  BatchNorm networks stay in train mode, as the reference leaves them: each
  class is matched under the batch statistics of its own images, which works
  badly; see `networks.warn_condensation`.

  Args:
    network: what judges the images.
    formation: `uniform(2)` for IDC, `identity()` for IDC-I.
    counts: `[C]` real images of each class.
    learning_rate: of the images, already scaled; see
      `learning_rate_multiplier`.
    distance: see `objectives.gradient_matching`.
    tensors: see `objectives.gradient_matching`.
    momentum: of the images.
    sweep: True steps the images once a class with one shared momentum, as the
      reference does (`optimizers.sweep_sgd`); False steps all classes at once.
    optimizer: replaces the image optimiser altogether.
    match_augment: normalisation and siamese augmentation.
    train_augment: normalisation and per-sample augmentation.
    train_mix: CutMix of the networks' batches.
    inner_steps: image steps (of all classes) for each network.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    network_batches: network updates after each image step.
    network_batch_size: real images in a network update.
    network_learning_rate: of the networks; momentum 0.9.
    network_weight_decay: of the networks.
    early_batches: network updates before the first image step of a network.
    classes: see `matching.over_classes`.
    objective: replaces the method's own.
    source: replaces the method's own.
    loop: where networks come from, in place of the method's own.
  """
  counts = np.asarray(counts)
  if optimizer is None:
    optimizer = (
      optimizers.sweep_sgd(learning_rate, momentum)
      if sweep
      else optimizers.sgd(learning_rate, momentum=momentum)
    )
  inner_loop = inner.train_on_real(
    network,
    optimizers.sgd(
      network_learning_rate, momentum=0.9, weight_decay=network_weight_decay
    ),
    num_images=int(counts.sum()),
    num_classes=len(counts),
    batch_size=network_batch_size,
    num_batches=network_batches,
    early_batches=early_batches,
    augment=train_augment,
    mix=train_mix,
  )
  return condenser(
    network,
    formation=formation,
    objective=objective
    or objectives.gradient_matching(distance, tensors=tensors),
    source=source or real_batches(counts, batch_real),
    inner=loop or inner_loop,
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    classes=classes,
  )


def learning_rate_multiplier(
  ipc: int, image_size: int, base_size: int = 32
) -> float:
  """IDC's factor on the image learning rate: `ipc/10 (size/base)^2`.

  Args:
    ipc: stored images per class.
    image_size: rows of an image.
    base_size: 28 for MNIST, 64 for speech, 224 for ImageNet, else 32.
  """
  return ipc / 10 * (image_size / base_size) ** 2
