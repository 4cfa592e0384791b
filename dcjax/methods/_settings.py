"""Settings that several methods have in common.

Fields are named as those of a config's section `method`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import optax

from dcjax import inner, optimizers
from dcjax.base import Augment, Network, Objective, StatefulObjective
from dcjax.condensing import Source
from dcjax.inner import InnerLoop


class Instead(NamedTuple):
  """What takes the place of a method's own; None leaves that.

  Attributes:
    objective: what must agree.
    source: where targets come from.
    loop: where networks come from.
    optimizer: of the stored numbers, which it takes as they are.
    observers: networks that judge, one step each in turns; `loop` must supply
      them, as `inner.observers` does.
  """

  objective: Objective | StatefulObjective | None = None
  source: Source | None = None
  loop: InnerLoop | None = None
  optimizer: optax.GradientTransformation | None = None
  observers: Sequence[Network] = ()


# Nothing does.
OWN = Instead()


class OnSynthetic(NamedTuple):
  """How networks are trained on the synthetic set, between image steps.

  Attributes:
    epochs: over the set after each image step.
    network_batch_size: synthetic images in an update.
    network_learning_rate: of the updates.
    train_augment: normalisation and per-sample augmentation.
  """

  epochs: int
  network_batch_size: int = 256
  network_learning_rate: float = 0.01
  train_augment: Augment | None = None


def on_synthetic(
  network: Network,
  training: OnSynthetic,
  optimizer: optax.GradientTransformation | None = None,
) -> InnerLoop:
  """Networks trained so, by plain SGD or another optimiser."""
  if optimizer is None:
    optimizer = optimizers.sgd(training.network_learning_rate, momentum=0.0)
  return inner.train_on_synthetic(
    network,
    optimizer,
    epochs=training.epochs,
    batch_size=training.network_batch_size,
    augment=training.train_augment,
  )
