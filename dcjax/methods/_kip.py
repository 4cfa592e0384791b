"""KIP: images that a closed-form kernel regression learns well from."""

from collections.abc import Sequence

import jax
import numpy as np
import optax

from dcjax import formations, inner, kernels, objectives, optimizers
from dcjax.base import Augment, Formation
from dcjax.condensing import Condenser, Source, condenser, real_batches
from dcjax.data.sampling import gathered


def kip(
  kernel: kernels.Kernel,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float | optax.Schedule = 0.04,
  regularisation: float = 1e-6,
  optimizer: optax.GradientTransformation | None = None,
  match_augment: Augment | None = None,
  target_augment: Augment | None = None,
  inner_steps: int = 100,
  batch_real: int = 500,
  most_synthetic: int = 10**6,
) -> Condenser:
  """KIP: kernel ridge regression on the synthetic set, tested on real images.

  Nguyen, Chen & Lee, "Dataset Meta-Learning from Kernel Ridge-Regression" (ICLR
  2021) and Nguyen et al., "Dataset Distillation with Infinitely Wide
  Convolutional Networks" (NeurIPS 2021). There is no network: kernels are those
  of infinitely wide ones. Images, and labels if the formation stores them, are
  stepped by Adam in normalised units and never clipped. What is learned is
  tested by `kernels.accuracy`.

  The published runs are in float64: give float64 params inside
  `jax.enable_x64(True)`. Float32 reaches the same accuracies with small sets.

  Args:
    kernel: `kernels.fully_connected()` for "KIP FC",
      `kernels.convolutional()` for "ConvVec".
    formation: `identity()`, or `with_labels(identity(), 'hard', 'centred')` to
      learn labels too.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of images and labels; Adam.
    regularisation: see `objectives.kernel_regression`.
    optimizer: replaces the optimiser altogether, and takes the stored numbers
      as they are.
    match_augment: normalisation.
    target_augment: of real images alone, before `match_augment`; all images of
      a step in one batch.
    inner_steps: in one compiled call.
    batch_real: real images of a class in a step; 5000 of ten classes in the
      papers.
    most_synthetic: decoded images of a class in a step, at most.

  Example:
    >>> method = kip(kernels.fully_connected(), formation, dataset.counts,
    ...              dataset.std, match_augment=normalise)
  """
  if optimizer is None:
    optimizer = optimizers.in_normalised_units(
      optax.adam(learning_rate), std, formation.stored_images
    )
  source = real_batches(counts, batch_real)
  if target_augment is not None:
    source = _augmented(source, target_augment)
  return condenser(
    None,
    formation=formation,
    objective=objectives.kernel_regression(
      kernel,
      regularisation=regularisation,
      label_form=formations.label_form(formation),
    ),
    source=source,
    inner=inner.none(),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    project='never',
  )


def _augmented(source: Source, augment: Augment) -> Source:
  """Augments what a source of image batches gives."""

  def next_batch(key, state, data):
    draw_key, augment_key = jax.random.split(key)
    state, batch = source.next(draw_key, state, data)
    batch = gathered(batch)
    images = batch.images.reshape(-1, *batch.images.shape[2:])
    images = augment(augment_key, images).reshape(batch.images.shape)
    return state, batch._replace(images=images)

  return Source(source.init, next_batch)
