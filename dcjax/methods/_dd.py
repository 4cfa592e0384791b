"""DD: the first dataset distillation, through a whole unrolled training."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.objectives import Unroll
from dcjax.utils import check_choice

INITIALISATIONS = ('random', 'known')


def dd_unroll(
  steps: int, epochs: int = 3, *, normalise: Augment | None = None
) -> Unroll:
  """DD's training: `steps` steps on one image a class each, `epochs` times.

  Args:
    steps: images of each class, used one after another.
    epochs: passes over them.
    normalise: of the images.
  """
  return Unroll(steps=steps * epochs, per_class=1, augment=normalise)


def dd(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  std: Sequence[float],
  unroll: Unroll,
  initialisation: str = 'random',
  learning_rate: float = 0.01,
  halve_after: int = 40,
  batch_real: int = 102,
  normalise: Augment | None = None,
  inner_steps: int = 100,
) -> Condenser:
  """DD: the set is what one short training should see.

  Wang et al., "Dataset Distillation" (2018). A network takes a few steps of
  plain gradient descent on the images, each step at a learned size of its own;
  the cross-entropy on real images afterwards is differentiated through all of
  them. Images and the raw numbers behind step sizes are stepped by Adam (0.5,
  0.999), whose rate halves every 40 epochs of 400.

  A real batch holds as many images of each class (102: 1020 images of ten
  classes, where the paper draws 1024 of any).

  Args:
    network: starts Xavier-normal in the paper: `networks.drawn_as(network,
      'xavier')`.
    formation: one with a step size for each step of the training:
      `with_step_size(identity(value_range=(None, None)), [0.02] * T,
      'softplus')`; its images start as normal noise in normalised units.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    unroll: how networks are trained on the set; see `dd_unroll`.
    initialisation: `'random'`: a new network for every image step; `'known'`:
      always the same one, `state.inner.variables`.
    learning_rate: of images, in normalised units, and of raw step sizes.
    halve_after: passes over the real set after which the rate halves.
    batch_real: real images of a class in a step.
    normalise: of the real images.
    inner_steps: in a period.

  Raises:
    ValueError: if an option is unknown or out of range.

  Example:
    >>> unroll = dd_unroll(1, 3, normalise=normalise)
    >>> condenser = dd(network, formation, dataset.counts, std=dataset.std,
    ...                unroll=unroll, initialisation='known')
    >>> formation = formations.with_step_size(formation, [0.02] * 3)
    >>> batch = formation.decode(formation.init(key, real_images))
    >>> trained = objectives.train_on(network, variables, batch, key, unroll)
  """
  check_choice('initialisation', initialisation, INITIALISATIONS)
  counts = np.asarray(counts)
  pass_steps = -(-int(counts.sum()) // (batch_real * len(counts)))
  adam = optax.adam(
    optimizers.halved_every(learning_rate, halve_after * pass_steps), b1=0.5
  )
  supply = inner.frozen if initialisation == 'known' else inner.resample
  return condenser(
    network,
    formation=formation,
    objective=objectives.unrolled(unroll, real_augment=normalise),
    source=real_batches(counts, batch_real),
    inner=supply(network),
    optimizer=optimizers.by_name(
      adam, images=optimizers.in_normalised_units(adam, std)
    ),
    inner_steps=inner_steps,
    most_synthetic=10**9,
    project='never',
  )
