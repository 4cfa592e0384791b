"""Label distillation: real images stay, their soft labels are learned."""

import numpy as np
import optax

from dcjax import inner, objectives
from dcjax.base import Augment, Formation, Network, Params
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.methods._settings import OWN, Instead
from dcjax.utils import check_choice

_FORMS = ('second_order', 'ridge')


def label_distillation(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  form: str = 'second_order',
  learning_rate: float | optax.Schedule = 1e-3,
  unrolled_learning_rate: float = 0.01,
  regularisation: float = 1.0,
  network_learning_rate: float = 1e-3,
  network_batch_size: int = 50,
  patience: int = 50,
  match_augment: Augment | None = None,
  train_augment: Augment | None = None,
  inner_steps: int = 200,
  batch_real: int = 102,
  most_synthetic: int = 10**6,
  instead: Instead = OWN,
) -> Condenser:
  """Label distillation: learns one soft label for each fixed image.

  Bohdal, Yang & Hospedales, "Flexible Dataset Distillation: Learn Labels
  Instead of Images" (2020). Labels are stepped by Adam and made probabilities
  again after every step; images, and whatever else the formation stores, never
  move. Between label steps the network takes one on the labelled images, by
  Adam, and a new one takes its place when its error on real images no longer
  falls (`inner.until_plateau`).

  Deviations from the published code:

  * it trains test networks for as many steps as networks were used for while
    labels were learned, on average over the last three; here this number is
    the metric `network_updates`, and `evaluation.epochs` is what it is set to;
  * a real batch holds as many images of each class, 102 being 1024 images of
    ten classes, and the unrolled step as many stored ones of each class;
  * the part of the base images that the network is trained on is another draw
    than that of the unrolled step, and the error rate that of other real
    images, after the network's step instead of the unrolled one;
  * in the ridge form it trains features through the regression's classifier;
    here the network is trained with its own;
  * it selects labels on held-out images; here the last ones count.

  See also `objectives.ridge` and `objectives.unrolled_step`.

  Args:
    network: must expose an embedding for the ridge form.
    formation: one with stored labels: `with_labels(identity())` in the paper.
    counts: `[C]` real images of each class.
    form: `'second_order'` (through a step of gradient descent) or `'ridge'`
      (through ridge regression on embeddings).
    learning_rate: of the labels; Adam.
    unrolled_learning_rate: of the step that is differentiated through.
    regularisation: of the ridge regression.
    network_learning_rate: of the network's steps, by Adam.
    network_batch_size: stored images in such a step.
    patience: steps over which its error rates are averaged, and after which a
      network that has not become better is replaced.
    match_augment: normalisation (and siamese augmentation; none in the paper).
    train_augment: of the network's steps.
    inner_steps: of a period, between whose ends nothing happens.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    instead: what takes the place of the method's own; an optimiser steps the
      labels alone, too.

  Raises:
    ValueError: if the form is unknown or an option out of range; from `init`,
      if the formation stores no labels.

  Example:
    >>> formation = formations.with_labels(formations.identity())
    >>> condenser = label_distillation(network, formation, dataset.counts)
    >>> params = formation.init(key, real_images)
    >>> state = condenser.init(key, params, data)
  """
  check_choice('form', form, _FORMS)
  own = (
    objectives.unrolled_step(unrolled_learning_rate)
    if form == 'second_order'
    else objectives.ridge(regularisation)
  )
  return condenser(
    instead.observers or network,
    formation=formation,
    objective=instead.objective or own,
    source=instead.source or real_batches(counts, batch_real),
    inner=instead.loop
    or inner.until_plateau(
      network,
      optax.adam(network_learning_rate),
      num_images=int(np.sum(counts)),
      num_classes=len(counts),
      batch_size=network_batch_size,
      seen=batch_real * len(counts),
      patience=patience,
      augment=train_augment,
      real_augment=match_augment,
    ),
    optimizer=_only_labels(instead.optimizer or optax.adam(learning_rate)),
    augment=match_augment,
    inner_steps=inner_steps,
    most_synthetic=most_synthetic,
    project='step',
  )


def _only_labels(
  optimizer: optax.GradientTransformation,
) -> optax.GradientTransformation:
  """Steps the stored labels and leaves the rest as it is."""

  def roles(params: Params) -> dict[str, str]:
    if 'labels' not in params:
      raise ValueError(
        f'formation: its params {sorted(params)} hold no labels; wrap it in '
        'formations.with_labels'
      )
    return {n: 'learned' if n == 'labels' else 'fixed' for n in params}

  return optax.multi_transform(
    {'learned': optimizer, 'fixed': optax.set_to_zero()}, roles
  )
