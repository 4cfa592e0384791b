"""FRePo: kernel regression on features of networks of a pool."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optax

from dcjax import formations, inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches


class Pool(NamedTuple):
  """FRePo's networks, which learn by Adam from the set; see `inner.pool`.

  Attributes:
    pool_size: networks that take turns.
    network_age: updates of a network before another one takes its place.
    network_images: synthetic images in an update, at most.
    network_steps: updates of a network in an image step, at most.
    network_learning_rate: of the updates.
    train_augment: normalisation (and per-sample augmentation).
  """

  pool_size: int = 10
  network_age: int = 100
  network_images: int = 1000
  network_steps: int = 1
  network_learning_rate: float = 3e-4
  train_augment: Augment | None = None


_NETWORKS = Pool()


def frepo(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  mean: Sequence[float],
  std: Sequence[float],
  *,
  steps: int = 500_000,
  learning_rate: float = 3e-4,
  regularisation: float = 1e-6,
  margin: bool = True,
  mirror: bool = True,
  optimizer: optax.GradientTransformation | None = None,
  match_augment: Augment | None = None,
  inner_steps: int = 100,
  batch_real: int = 102,
  most_synthetic: int = 10**6,
  networks: Pool = _NETWORKS,
) -> Condenser:
  """FRePo: ridge regression on features, through a pool of networks.

  Zhou, Nezhadarya & Ba, "Dataset Distillation using Neural Feature Regression"
  (NeurIPS 2022). The last layer is solved for in closed form, so that images
  and labels get their gradient through features alone; LAMB steps them in
  normalised units, with a cosine that ends at a tenth. Test networks learn by
  `protocols.frepo_protocol`.

  Deviations from the published code: a real batch holds as many images of each
  class, 102 being 1020 images of ten classes (1024); the published network has
  its own order of layers (norm before convolution), here it is the ConvNet with
  the same widths, `convnet(width=(128, 256, 512), norm='batch')`.

  Args:
    network: must expose an embedding; its BatchNorm uses running statistics
      when it judges images.
    formation: `with_labels(identity(), 'hard', 'centred')`; K classes start at
      the scale `(10 / K) ** 0.5`.
    counts: `[C]` real images of each class.
    mean: `[D]` and
    std: `[D]` of the normalisation.
    steps: image steps of the whole run, which the cosine is spread over.
    learning_rate: of images and labels, at the start.
    regularisation: see `objectives.kernel_regression`.
    margin: see `objectives.kernel_regression`.
    mirror: see `objectives.kernel_regression`; True for CIFAR-10 in the paper,
      False for digits, clothes and large sets.
    optimizer: replaces the optimiser altogether, and takes the stored numbers
      as they are.
    match_augment: normalisation (and siamese augmentation; none in the paper).
    inner_steps: in one compiled call.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    networks: the pool of networks.

  Example:
    >>> method = frepo(network, formation, dataset.counts, dataset.mean,
    ...                dataset.std, steps=3000, match_augment=normalise,
    ...                networks=Pool(train_augment=normalise))
  """
  form = formations.label_form(formation)
  if optimizer is None:
    rate = optax.cosine_decay_schedule(learning_rate, steps, alpha=0.1)
    optimizer = optimizers.in_normalised_units(
      optax.lamb(rate), std, formation.stored_images, mean
    )
  return condenser(
    network,
    formation=formation,
    objective=objectives.kernel_regression(
      regularisation=regularisation,
      label_form=form,
      reduction='sum',
      margin=margin,
      mirror=mirror,
    ),
    source=real_batches(counts, batch_real),
    inner=inner.pool(
      network,
      optax.adam(networks.network_learning_rate),
      size=networks.pool_size,
      age=networks.network_age,
      most=networks.network_images,
      most_steps=networks.network_steps,
      label_form=form,
      mirror=mirror,
      augment=networks.train_augment,
    ),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    project='never',
  )
