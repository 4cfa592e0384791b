"""RCIG: implicit gradients through a linearised network of a pool."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import optax

from dcjax import formations, inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, real_batches
from dcjax.methods._frepo import Pool


class Convex(NamedTuple):
  """How the linearised network learns the set; see `objectives.convexified`.

  Attributes:
    regularisation: of the regression and of the moves, for each stored image.
    training_steps: of Adam for the moves.
    solving_steps: of Adam for the linear system of the implicit gradient.
  """

  regularisation: float = 5e-4
  training_steps: int = 20
  solving_steps: int = 20


_CONVEX = Convex()
_NETWORKS = Pool(pool_size=30, network_steps=15, network_learning_rate=5e-5)


def rcig(
  network: Network,
  formation: Formation,
  counts: np.ndarray,
  mean: Sequence[float],
  std: Sequence[float],
  *,
  learning_rate: float = 3e-3,
  convex: Convex = _CONVEX,
  margin: bool = True,
  mirror: bool = True,
  average_rate: float | None = 0.99,
  match_augment: Augment | None = None,
  inner_steps: int = 100,
  batch_real: int = 102,
  most_synthetic: int = 10**6,
  networks: Pool = _NETWORKS,
) -> Condenser:
  """RCIG: real images are classified by a linearised network that learns a set.

  Loo, Hasani, Lechner & Rus, "Dataset Distillation with Convexified Implicit
  Gradients" (ICML 2023); see `objectives.convexified`, which lists what is
  different from the published code. Images and labels are stepped by AdaBelief
  in normalised units; what is tested is their average over the steps. Networks
  of the pool learn the set by Adam, 1 to `network_steps` updates in a use.

  A real batch holds as many images of each class, 102 being 1020 of ten classes
  (1024 of any in the code).

  Args:
    network: must expose an embedding, call its last layer `classifier` and be
      differentiable forward: `convnet(width=(128, 256, 512), norm='none',
      activation='softplus', conv_form='forward')`. Tested is one with ReLUs.
    formation: `with_labels(identity(), 'hard', 'centred')`.
    counts: `[C]` real images of each class.
    mean: `[D]` and
    std: `[D]` of the normalisation.
    learning_rate: of images and labels.
    convex: how the linearised network learns the set.
    margin: see `objectives.convexified`.
    mirror: whether mirrored images count too; True for colours in the paper.
    average_rate: of the average of the stored numbers, which
      `optimizers.averaged_params(state.opt_state)` returns; None for none.
    match_augment: normalisation (and siamese augmentation; none in the paper).
    inner_steps: in one compiled call.
    batch_real: real images of a class in a step.
    most_synthetic: decoded images of a class in a step, at most.
    networks: the pool of networks.

  Raises:
    ValueError: if an option is out of range.

  Example:
    >>> method = rcig(network, formation, dataset.counts, dataset.mean,
    ...               dataset.std, match_augment=normalise)
  """
  form = formations.label_form(formation)
  optimizer = optimizers.in_normalised_units(
    optax.adabelief(learning_rate), std, formation.stored_images, mean
  )
  if average_rate is not None:
    optimizer = optimizers.with_average(optimizer, average_rate, debias=True)
  return condenser(
    network,
    formation=formation,
    objective=objectives.convexified(
      regularisation=convex.regularisation,
      training_steps=convex.training_steps,
      solving_steps=convex.solving_steps,
      label_form=form,
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
