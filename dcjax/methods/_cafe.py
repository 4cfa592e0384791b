"""CAFE: features aligned layer by layer, with a discrimination loss."""

from collections.abc import Sequence

import numpy as np
import optax

from dcjax import objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.methods._settings import OWN, Instead, OnSynthetic, on_synthetic
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
    >>> round(float(cafe_learning_rate(0.1, 2000)(1200)), 3)
    0.05
  """
  check_at_least('steps', steps, 1)
  return optax.piecewise_constant_schedule(
    learning_rate, {round(at * steps): 0.5 for at in _HALVED_AT}
  )


_NETWORKS = OnSynthetic(epochs=10)


def cafe(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  std: Sequence[float],
  *,
  learning_rate: float | optax.Schedule = 0.1,
  momentum: float = 0.5,
  layer_weights: Sequence[float] = (0.1, 0.1, 1.0, 1.0),
  last_weight: float = 1.0,
  discrimination: float = 0.01,
  layers: str = 'before_pooling',
  match_augment: Augment | None = None,
  inner_steps: int = 10,
  batch_real: int = 256,
  most_synthetic: int = 10**6,
  networks: OnSynthetic = _NETWORKS,
  instead: Instead = OWN,
) -> Condenser:
  """CAFE: features aligned under networks trained on the synthetic set.

  Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features" (CVPR
  2022); CAFE + DSA is the same with siamese augmentation in `match_augment` and
  its per-sample form in `networks.train_augment`. Images are stepped in
  normalised units and never clipped.

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
    layer_weights: see `objectives.cafe_matching`.
    last_weight: see `objectives.cafe_matching`.
    discrimination: see `objectives.cafe_matching`.
    layers: see `objectives.cafe_matching`.
    match_augment: normalisation and siamese augmentation.
    inner_steps: for each network.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    networks: how they are trained, by plain SGD.
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
    or objectives.cafe_matching(
      layer_weights,
      last_weight=last_weight,
      discrimination=discrimination,
      layers=layers,
    ),
    source=instead.source or real_batches(counts, batch_real),
    inner=instead.loop or on_synthetic(network, networks),
    optimizer=optimizer,
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    project='never',
  )
