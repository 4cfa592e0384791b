"""IDC: gradients matched on networks that learn from real data."""

from typing import NamedTuple

import numpy as np

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.matching import ClassStrategy
from dcjax.methods._settings import OWN, Instead
from dcjax.training import Mix


class OnReal(NamedTuple):
  """How IDC's networks are trained on real images, between image steps.

  Attributes:
    network_batches: updates after each image step; 8 (512 images) or 32 (2048)
      in the reference.
    network_batch_size: real images in an update.
    network_learning_rate: of the updates; momentum 0.9.
    network_weight_decay: of the updates.
    early_batches: updates before the first image step of a network.
    train_augment: normalisation and per-sample augmentation.
    train_mix: CutMix of the batches.
  """

  network_batches: int = 8
  network_batch_size: int = 64
  network_learning_rate: float = 0.01
  network_weight_decay: float = 5e-4
  early_batches: int = 0
  train_augment: Augment | None = None
  train_mix: Mix | None = None


_NETWORKS = OnReal()


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
  match_augment: Augment | None = None,
  inner_steps: int = 100,
  batch_real: int = 64,
  most_synthetic: int = 128,
  networks: OnReal = _NETWORKS,
  classes: ClassStrategy = 'auto',
  instead: Instead = OWN,
) -> Condenser:
  """IDC: multi-formation, gradients matched on networks trained on real data.

  Kim et al., "Dataset Condensation via Efficient Synthetic-Data
  Parameterization" (ICML 2022), Algorithm 1. Defaults are the reference's for
  small images.

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
    match_augment: normalisation and siamese augmentation.
    inner_steps: image steps (of all classes) for each network.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    networks: how they are trained.
    classes: see `mapping.over_classes`.
    instead: what takes the place of the method's own.
  """
  counts = np.asarray(counts)
  optimizer = instead.optimizer
  if optimizer is None:
    optimizer = (
      optimizers.sweep_sgd(learning_rate, momentum)
      if sweep
      else optimizers.sgd(learning_rate, momentum=momentum)
    )
  inner_loop = inner.train_on_real(
    network,
    optimizers.sgd(
      networks.network_learning_rate,
      momentum=0.9,
      weight_decay=networks.network_weight_decay,
    ),
    num_images=int(counts.sum()),
    num_classes=len(counts),
    batch_size=networks.network_batch_size,
    num_batches=networks.network_batches,
    early_batches=networks.early_batches,
    augment=networks.train_augment,
    mix=networks.train_mix,
  )
  return condenser(
    instead.observers or network,
    formation=formation,
    objective=instead.objective
    or objectives.gradient_matching(distance, tensors=tensors),
    source=instead.source or real_batches(counts, batch_real),
    inner=instead.loop or inner_loop,
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
