"""What every supply of networks is made of."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from dcjax.base import Batch, InTurns, Key, PyTree, Variables
from dcjax.data import sampling
from dcjax.statistics import Targets
from dcjax.training import TrainState

if TYPE_CHECKING:
  from dcjax.trajectories import Experts


class InnerState(NamedTuple):
  """The network of this period and what trains it.

  Attributes:
    train: the network in training.
    source: where the walk through its training data stands; it goes on from
      network to network.
  """

  train: TrainState
  source: PyTree

  @property
  def variables(self) -> Variables:
    """The network's numbers."""
    return self.train.variables


def _in_training(state: InnerState, data: Any) -> Variables:
  del data
  return state.variables


def _unprepared(key: Key, state: InnerState, data: Any) -> InnerState:
  del key, data
  return state


class InnerLoop(NamedTuple):
  """A supply of networks.

  Attributes:
    init: `(key, data) -> InnerState`.
    reset: `(key, state, data) -> InnerState`, at the start of a period.
    update: `(key, state, data, synthetic) -> (InnerState, metrics)`, after
      every image step.
    prepare: `(key, state, data) -> InnerState`, before every image step;
      changes nothing by default.
    variables: `(state, data) -> ` the numbers of the network that judges, or of
      each that takes turns; by default those of the network in training.
  """

  init: Callable[[Key, Any], InnerState]
  reset: Callable[[Key, InnerState, Any], InnerState]
  update: Callable[[Key, InnerState, Any, Batch], tuple[InnerState, dict]]
  prepare: Callable[[Key, InnerState, Any], InnerState] = _unprepared
  variables: Callable[[InnerState, Any], Variables | InTurns] = _in_training


class InnerData(NamedTuple):
  """What a condensation draws from.

  Attributes:
    real: the real training set, on the device; None if no real image is seen.
    pool: `Variables` of pretrained networks, leaves with a leading axis `E`,
      or None.
    experts: the ways of networks trained on real images, or None.
    observers: of each network that looks at the images, frozen.
    targets: what each observer's layers see of real images.
  """

  real: sampling.DeviceData | None
  pool: Variables | None = None
  experts: 'Experts | None' = None
  observers: tuple[Variables, ...] = ()
  targets: tuple[Targets, ...] = ()
