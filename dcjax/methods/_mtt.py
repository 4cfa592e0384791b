"""MTT and its descendants: trajectories of experts are matched."""

from collections.abc import Sequence
from typing import NamedTuple

import optax

from dcjax import inner, objectives, optimizers
from dcjax.base import Augment, Formation, Network
from dcjax.condensing import Condenser, condenser
from dcjax.trajectories import segments


class Starts(NamedTuple):
  """Which segments of experts MTT matches; see `trajectories.segments`.

  Attributes:
    first_start: earliest epoch that a segment starts from.
    last_start: starts are below it (`max_start_epoch`).
    length: epochs of a segment, `M`.
    grow_from: bound on the start at first; None for `last_start`.
    grow_steps: image steps until the bound is `last_start`.
  """

  first_start: int = 0
  last_start: int = 2
  length: int = 2
  grow_from: int | None = None
  grow_steps: int = 1


_STARTS = Starts()


def mtt(
  network: Network,
  formation: Formation,
  *,
  std: Sequence[float],
  learning_rate: float | optax.Schedule = 100.0,
  step_size_learning_rate: float = 1e-7,
  label_learning_rate: float | None = None,
  steps: int = 50,
  batch_size: int | None = None,
  augment: Augment | None = None,
  starts: Starts = _STARTS,
  exact: bool = True,
  relabel: Augment | None = None,
  reject_above: float | None = None,
  average_rate: float | None = None,
  inner_steps: int = 100,
) -> Condenser:
  """MTT: training on the set leads where training on real images leads.

  Cazenavette et al., "Dataset Distillation by Matching Training Trajectories"
  (CVPR 2022); defaults are those of one image per class of CIFAR-10. No real
  image is seen: the data hold experts (`trajectories.train_experts`). The set
  learns its step size too, by SGD with the images' momentum of 0.5, and test
  networks train at it (`protocols.at_step_size`).

  The same recipe is

  * TESLA (Cui et al., ICML 2023): `exact=False`, `relabel` the normalisation;
  * FTD (Du et al., CVPR 2023): experts with `trajectories.Flatness`,
    `average_rate`;
  * DATM (Guo et al., ICLR 2024): a formation `with_labels(form='logits')` that
    starts from `trajectories.expert_logits`, and `label_learning_rate`,
    `starts` that grow, `reject_above=1.0`, FTD's experts.

  Args:
    network: the experts'.
    formation: one with a step size: `with_step_size(identity(value_range=(None,
      None)), 0.01)` in the papers.
    std: `[D]` of the normalisation.
    learning_rate: of the images, in normalised units; momentum 0.5. It also
      steps what else a formation stores, such as bases, as it is.
    step_size_learning_rate: of the step size; momentum 0.5.
    label_learning_rate: of stored labels, momentum 0.9; None leaves them.
    steps: `N`, of gradient descent on the set.
    batch_size: images in such a step; None for all.
    augment: normalisation and augmentation of each of these batches.
    starts: which segments of experts are matched.
    exact: False for TESLA's approximation of the gradient.
    relabel: see `objectives.trajectory_matching`.
    reject_above: image steps whose loss is above it are not made.
    average_rate: of an exponential average of the stored numbers, which
      `optimizers.averaged_params(state.opt_state)` returns; None for none.
    inner_steps: in a period.

  Raises:
    ValueError: if an option is out of range; when run, if the formation has no
      step size, or the data no experts of that many epochs.

  Example:
    >>> formation = formations.with_step_size(formations.identity(), 0.01)
    >>> condenser = mtt(network, formation, std=dataset.std, augment=augment)
    >>> data = data._replace(experts=experts)
    >>> state = condenser.init(key, formation.init(key, real_images), data)
  """
  labels = (
    optax.set_to_zero()
    if label_learning_rate is None
    else optimizers.sgd(label_learning_rate, momentum=0.9)
  )
  optimizer = optimizers.by_name(
    optimizers.sgd(learning_rate, momentum=0.5),
    images=optimizers.in_normalised_units(
      optimizers.sgd(learning_rate, momentum=0.5), std
    ),
    step_size=optimizers.sgd(step_size_learning_rate, momentum=0.5),
    labels=labels,
  )
  if average_rate is not None:
    optimizer = optimizers.with_average(optimizer, average_rate)
  return condenser(
    network,
    formation=formation,
    objective=objectives.trajectory_matching(
      steps=steps,
      batch_size=batch_size,
      augment=augment,
      relabel=relabel,
      exact=exact,
    ),
    source=segments(
      first=starts.first_start,
      last=starts.last_start,
      length=starts.length,
      grow_from=starts.grow_from,
      grow_steps=starts.grow_steps,
    ),
    inner=inner.frozen(network),
    optimizer=optimizer,
    inner_steps=inner_steps,
    most_synthetic=10**9,
    project='never',
    reject_above=reject_above,
  )
