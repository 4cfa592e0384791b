"""Condensation methods: recipes that fill the axes of `condenser`."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.matching import ClassStrategy
from dcjax.training import Mix
from dcjax.utils import check_at_least


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
) -> Condenser:
  """IDC: multi-formation, gradients matched on networks trained on real data.

  Kim et al., "Dataset Condensation via Efficient Synthetic-Data
  Parameterization" (ICML 2022), Algorithm 1. Defaults are the reference's for
  small images; `network_batches` is 8 (512 images) or 32 (2048) there.

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
    objective=objectives.gradient_matching(distance, tensors=tensors),
    source=real_batches(counts, batch_real),
    inner=inner_loop,
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    classes=classes,
  )


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
  learning_rate: float = 0.1,
  momentum: float = 0.5,
  distance: str = 'cosine',
  tensors: str = 'weights',
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
  image_steps: int = 10,
  epochs: int = 50,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  network_batch_size: int = 256,
  network_learning_rate: float = 0.01,
  classes: ClassStrategy = 'auto',
) -> Condenser:
  """DC: gradients matched on networks trained on the synthetic set.

  Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching" (ICLR
  2021), Algorithm 1. DSA is the same with siamese augmentation in
  `match_augment` and its per-sample form in `train_augment`. Images are stepped
  in normalised units and never clipped.

  Args:
    network: what judges the images.
    formation: `identity()` in the paper.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units.
    momentum: of the images.
    distance: see `objectives.gradient_matching`.
    tensors: see `objectives.gradient_matching`.
    match_augment: normalisation and siamese augmentation.
    train_augment: normalisation and per-sample augmentation.
    image_steps: for each network; see `dc_loops`.
    epochs: of the network over the synthetic set after each image step.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    network_batch_size: synthetic images in a network update.
    network_learning_rate: of the networks; plain SGD.
    classes: see `matching.over_classes`.
  """
  optimizer = optimizers.in_normalised_units(
    optimizers.sgd(learning_rate, momentum=momentum), std
  )
  return condenser(
    network,
    formation=formation,
    objective=objectives.gradient_matching(distance, tensors=tensors),
    source=real_batches(counts, batch_real),
    inner=inner.train_on_synthetic(
      network,
      optimizers.sgd(network_learning_rate, momentum=0.0),
      epochs=epochs,
      batch_size=network_batch_size,
      augment=train_augment,
    ),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=image_steps,
    most_synthetic=most_synthetic,
    classes=classes,
    project='never',
  )


def dm(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float = 1.0,
  momentum: float = 0.5,
  match_augment: Augment | None = None,
  image_steps: int = 100,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  classes: ClassStrategy = 'auto',
) -> Condenser:
  """DM: class means of embeddings matched under random networks.

  Zhao & Bilen, "Dataset Condensation with Distribution Matching" (WACV 2023),
  Algorithm 1: a new network for every image step, never trained. Images are
  stepped in normalised units and never clipped. With `uniform(2)` it is the
  DM + multi-formation of IDC's Table 13.

  Args:
    network: must expose an embedding.
    formation: `identity()` in the paper.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units.
    momentum: of the images.
    match_augment: normalisation and siamese augmentation.
    image_steps: in one compiled call.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    classes: see `matching.over_classes`.
  """
  optimizer = optimizers.in_normalised_units(
    optimizers.sgd(learning_rate, momentum=momentum), std
  )
  return condenser(
    network,
    formation=formation,
    objective=objectives.distribution_matching(),
    source=real_batches(counts, batch_real),
    inner=inner.resample(network),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=image_steps,
    most_synthetic=most_synthetic,
    classes=classes,
    project='never',
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
