"""RaT-BPTT: a window of a longer unrolled training is differentiated."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.objectives import Unroll

# Under the root of Adam's second moment. Its derivative is infinite at 0, which
# is where biases before a normalisation stay.
_ROOT_EPSILON = 1e-12


def adam_unroll(
  steps: int = 200,
  learning_rate: float = 1e-3,
  *,
  per_class: int | None = None,
  augment: Augment | None = None,
) -> Unroll:
  """RaT-BPTT's training of networks on the set: Adam at a constant rate.

  Args:
    steps: `T`.
    learning_rate: of Adam; a set's own step size takes its place.
    per_class: images of each class in a step, drawn anew; None for all.
    augment: normalisation and augmentation of each step's images.
  """
  return Unroll(
    steps=steps,
    per_class=per_class,
    shuffled=True,
    optimizer=optax.scale_by_adam(eps_root=_ROOT_EPSILON),
    learning_rate=learning_rate,
    augment=augment,
  )


def rat_bptt(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  std: Sequence[float],
  unroll: Unroll,
  window: int = 60,
  position: str = 'random',
  learning_rate: float | optax.Schedule = 1e-3,
  clip: float = 2.0,
  batch_real: int = 500,
  real_augment: Augment | None = None,
  checkpoint: bool = True,
  inner_steps: int = 10,
) -> Condenser:
  """RaT-BPTT: truncated back-propagation at a random place of a training.

  Feng, Vedantam & Kempe, "Embarrassingly Simple Dataset Distillation" (ICLR
  2024); defaults are those of ten images per class of CIFAR-10. For every image
  step a new network trains on the set by Adam, for `window` to `T` steps, of
  which the last `window` are differentiated. Images, or what a formation stores
  in their place, are stepped by Adam, their gradient's norm clipped at twice
  its running mean; labels and step sizes by Adam alone. Stored numbers are
  projected after every step: labels that are `'nonnegative'` stay so.

  The paper draws a place for ten image steps at a time; here every step draws
  its own. A real batch holds as many images of each class, where the paper
  draws any, and a step of training sees images of all classes, where the paper
  takes 50 of Tiny-ImageNet's. Steps whose gradient is not finite are left out.
  Its sets are whitened and of unit norm: that is the data's affair.

  Args:
    network: drawn anew for every image step.
    formation: `identity(value_range=(None, None))` in the paper, with
      `with_labels(start='hard', form='nonnegative')` for many classes.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    unroll: how networks are trained on the set; see `adam_unroll`.
    window: `W`, steps that are differentiated.
    position: `'random'`, or `'late'`: always the last `W` of `T`.
    learning_rate: of Adam, on images in normalised units and on the rest.
    clip: see `optimizers.clip_by_running_mean`.
    batch_real: real images of a class in a step.
    real_augment: normalisation and augmentation of the real images.
    checkpoint: see `objectives.unrolled`.
    inner_steps: in a period.

  Raises:
    ValueError: if an option is unknown or out of range.

  Example:
    >>> unroll = adam_unroll(200, augment=augment)
    >>> condenser = rat_bptt(network, formation, dataset.counts,
    ...                      std=dataset.std, unroll=unroll,
    ...                      real_augment=augment)
  """
  adam = optax.adam(learning_rate)
  clipped = optax.chain(optimizers.clip_by_running_mean(clip), adam)
  return condenser(
    network,
    formation=formation,
    objective=objectives.unrolled(
      unroll,
      window=window,
      position=position,
      real_augment=real_augment,
      checkpoint=checkpoint,
    ),
    source=real_batches(counts, batch_real),
    inner=inner.resample(network),
    optimizer=optimizers.by_name(
      clipped,
      images=optimizers.in_normalised_units(clipped, std),
      labels=adam,
      step_size=adam,
    ),
    inner_steps=inner_steps,
    most_synthetic=10**9,
    project='step',
    reject_above=float('inf'),
  )
