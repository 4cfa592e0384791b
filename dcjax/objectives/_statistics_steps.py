"""Matching of layer statistics with a memory of the steps before."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from dcjax.base import (
  Array,
  Batch,
  InTurns,
  Key,
  Metrics,
  Network,
  StatefulObjective,
  Variables,
)
from dcjax.objectives._statistics import (
  RunningStatistics,
  StatisticsTarget,
  start_running,
  statistics_loss,
)
from dcjax.objectives._statistics_terms import (
  StatisticsTerms,
  check_statistics_terms,
)
from dcjax.statistics import Targets
from dcjax.utils import check_at_least

# (key, images [B, H, W, D] in [0, 1], share of the steps that is done) ->
# images as an observer sees them.
AugmentAt = Callable[[Key, Array, Array], Array]


class StatisticsState(NamedTuple):
  """What statistics matching remembers.

  Attributes:
    running: of each network that takes turns; in its own turn a network's
      alone. It goes on from images to images.
    averaged: `[C, N, H, W, D]`, average of the images over the steps up to the
      last one, or None.
    step: `[]` int32, steps of these images.
  """

  running: InTurns | RunningStatistics
  averaged: Array | None
  step: Array


def statistics_over_steps(
  terms: StatisticsTerms,
  augment: AugmentAt,
  *,
  steps: int,
  averaging: float = 0.99,
) -> StatefulObjective:
  """`statistics_matching` with running statistics and an average of the images.

  Each network that takes turns has running statistics of its own; flatness
  compares all of them with the same average of the images over the steps.

  Args:
    terms: weights and options.
    augment: normalisation and augmentation, of the images and of their average
      with the same draw.
    steps: of these images, which the share that `augment` is told counts.
    averaging: rate of the average, in [0, 1).

  Returns:
    An objective for the `targets` of the data, see
    `dcjax.condensing.stored_targets`; metrics as those of
    `statistics_matching`.

  Raises:
    ValueError: if an option is out of range; from `init`, if the data do not
      hold a target for each observer.
  """
  check_statistics_terms(terms)
  check_at_least('steps', steps, 1)
  if not 0 <= averaging < 1:
    raise ValueError(f'averaging {averaging!r}: must be in [0, 1)')

  def init(key, synthetic, data):
    del key
    if len(data.targets) != len(data.observers):
      raise ValueError(
        f'data hold {len(data.observers)} observers and {len(data.targets)} '
        'targets: must be one of each'
      )
    running = InTurns(tuple(start_running(t) for t in data.targets))
    state = StatisticsState(running, None, jnp.zeros((), jnp.int32))
    return restart(state, synthetic)

  def restart(state: StatisticsState, synthetic: Batch) -> StatisticsState:
    averaged = None
    if terms.flatness:
      averaged = jnp.zeros(synthetic.images.shape, synthetic.images.dtype)
    return StatisticsState(state.running, averaged, jnp.zeros((), jnp.int32))

  def loss(
    network: Network,
    variables: Variables,
    target: Targets,
    synthetic: Batch,
    key: Key,
    state: StatisticsState,
  ) -> tuple[Array, tuple[Metrics, StatisticsState]]:
    averaged = state.averaged
    if averaged is not None:
      images = lax.stop_gradient(synthetic.images)
      moved = averaging * averaged + (1 - averaging) * images
      averaged = jnp.where(state.step == 0, images, moved)
    value, (metrics, running) = statistics_loss(
      network,
      variables,
      StatisticsTarget(target, state.running, averaged),
      synthetic,
      key,
      terms,
      lambda k, images: augment(k, images, state.step / steps),
    )
    return value, (
      metrics,
      StatisticsState(running, averaged, state.step + 1),
    )

  return StatefulObjective(init, loss, restart)
