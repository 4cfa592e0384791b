"""CAFE: features aligned layer by layer, with a discrimination loss."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network, Objective, StatefulObjective
from dcjax.condensing import Condenser, Source, condenser, real_batches
from dcjax.inner import InnerLoop
from dcjax.utils import check_at_least

# Fractions of the run after which the image rate is halved: 1200, 1600 and 1800
# of the reference's 2000 iterations.
_HALVED_AT = (0.6, 0.8, 0.9)


def cafe_learning_rate(learning_rate: float, steps: int) -> optax.Schedule:
  """CAFE's image rate: halved after 60, 80 and 90 percent of the run.

  Args:
    learning_rate: at the start.
    steps: image steps of the run, at least 1.

  Returns:
    The rate as a function of the image step.

  Example:
    >>> float(cafe_learning_rate(0.1, 2000)(1200))
    0.05
  """
  check_at_least('steps', steps, 1)
  return optax.piecewise_constant_schedule(
    learning_rate, {round(at * steps): 0.5 for at in _HALVED_AT}
  )


def cafe(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float | optax.Schedule = 0.1,
  momentum: float = 0.5,
  optimizer: optax.GradientTransformation | None = None,
  layer_weights: Sequence[float] = (0.1, 0.1, 1.0, 1.0),
  last_weight: float = 1.0,
  discrimination: float = 0.01,
  layers: str = 'before_pooling',
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
  inner_steps: int = 10,
  epochs: int = 10,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  network_batch_size: int = 256,
  network_learning_rate: float = 0.01,
  objective: Objective | StatefulObjective | None = None,
  source: Source | None = None,
  loop: InnerLoop | None = None,
) -> Condenser:
  """CAFE: features aligned under networks trained on the synthetic set.

  Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features" (CVPR
  2022); CAFE + DSA is the same with siamese augmentation in `match_augment` and
  its per-sample form in `train_augment`. Images are stepped in normalised units
  and never clipped.

  Deviation: the published code decides by accuracies on real images how long it
  goes on. A network serves at least 10 image steps, until its last 10
  accuracies lie within 0.04; after each step it trains for at least 10 epochs,
  until the last 10 accuracies differ by more than 0.03. Here both numbers are
  fixed, by default at these minima: a period stays one compiled loop.

  Args:
    network: must expose an embedding; block outputs are matched too.
    formation: `identity()` in the paper.
    counts: `[C]` real images of each class.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units; `cafe_learning_rate`
      makes the paper's schedule.
    momentum: of the images.
    optimizer: replaces the image optimiser altogether, and takes the stored
      numbers as they are.
    layer_weights: see `objectives.cafe_matching`.
    last_weight: see `objectives.cafe_matching`.
    discrimination: see `objectives.cafe_matching`.
    layers: see `objectives.cafe_matching`.
    match_augment: normalisation and siamese augmentation.
    train_augment: normalisation and per-sample augmentation.
    inner_steps: for each network.
    epochs: of the network over the synthetic set after each image step.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    network_batch_size: synthetic images in a network update.
    network_learning_rate: of the networks; plain SGD.
    objective: replaces the method's own.
    source: replaces the method's own.
    loop: where networks come from, in place of the method's own.
  """
  if optimizer is None:
    optimizer = optimizers.in_normalised_units(
      optimizers.sgd(learning_rate, momentum=momentum),
      std,
      formation.stored_images,
    )
  return condenser(
    network,
    formation=formation,
    objective=objective
    or objectives.cafe_matching(
      layer_weights,
      last_weight=last_weight,
      discrimination=discrimination,
      layers=layers,
    ),
    source=source or real_batches(counts, batch_real),
    inner=loop
    or inner.train_on_synthetic(
      network,
      optimizers.sgd(network_learning_rate, momentum=0.0),
      epochs=epochs,
      batch_size=network_batch_size,
      augment=train_augment,
    ),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    project='never',
  )
