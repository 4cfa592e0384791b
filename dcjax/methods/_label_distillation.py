"""Label distillation: real images stay, their soft labels are learned."""

import numpy as np
import optax

from dcjax import objectives
from dcjax.base import Augment, Formation, Network, Params
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.methods._settings import OWN, Instead, OnSynthetic, on_synthetic
from dcjax.utils import check_choice

_FORMS = ('second_order', 'ridge')


_NETWORKS = OnSynthetic(epochs=1, network_learning_rate=1e-3)


def label_distillation(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  *,
  form: str = 'second_order',
  learning_rate: float | optax.Schedule = 1e-3,
  unrolled_learning_rate: float = 0.01,
  regularisation: float = 1.0,
  match_augment: Augment | None = None,
  inner_steps: int = 200,
  batch_real: int = 102,
  most_synthetic: int = 10**6,
  networks: OnSynthetic = _NETWORKS,
  instead: Instead = OWN,
) -> Condenser:
  """Label distillation: learns one soft label for each fixed image.

  Bohdal, Yang & Hospedales, "Flexible Dataset Distillation: Learn Labels
  Instead of Images" (2020). Labels are stepped by Adam and made probabilities
  again after every step; images, and whatever else the formation stores, never
  move. Between label steps the network trains on the labelled images, by Adam.

  Deviations from the published code, all of which keep a period one compiled
  loop:

  * it starts a new network when the mean of recent losses on real images has
    stopped falling, and keeps the number of steps for the training of test
    networks; here a network serves `inner_steps` steps, and test networks make
    as many (`protocols.label_distillation_protocol`);
  * a real batch holds as many images of each class, 102 being 1024 images of
    ten classes;
  * it trains the network on the random part of the base images that the
    unrolled step has seen; here a network makes passes over all of them, one
    update each for up to a batch;
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
    match_augment: normalisation (and siamese augmentation; none in the paper).
    inner_steps: for each network.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    networks: how they are trained, by Adam.
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
    or on_synthetic(
      network, networks, optax.adam(networks.network_learning_rate)
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
