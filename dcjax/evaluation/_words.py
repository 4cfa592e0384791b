"""How a protocol's words become a feed, an optimiser and what is tested."""

from collections.abc import Iterator

import jax.numpy as jnp
import optax

from dcjax import optimizers
from dcjax.base import Array, Augment, Variables
from dcjax.feeds import Feed, labelled
from dcjax.losses import Loss, squared_error
from dcjax.protocols import Protocol
from dcjax.training import Mix, TrainState
from dcjax.utils import check_choice

_SCHEDULES = {
  'smoothing': optimizers.smoothing_schedule,
  'ssrs': optimizers.ssrs_schedule,
}


_LOSSES: dict[str, Loss | None] = {
  'cross_entropy': None,  # the default of a training step
  'squared': squared_error,
}


def check_protocol(protocol: Protocol) -> None:
  """Raises a ValueError unless a protocol's fields are known words."""
  if not protocol.test_points or protocol.test_points[-1] != 1:
    raise ValueError(
      f'test_points {protocol.test_points}: must end with 1, the result'
    )
  check_choice('optimizer', protocol.optimizer, ('sgd', 'adamw', 'adam'))
  check_choice('loss', protocol.loss, _LOSSES)
  if protocol.optimizer == 'adam' and protocol.weight_decay:
    raise ValueError(
      f'weight_decay {protocol.weight_decay!r}: must be 0 with adam'
    )
  check_choice('schedule', protocol.schedule, ('drops', 'warmup', *_SCHEDULES))


def feed(
  protocol: Protocol, *, augment: Augment | None = None, mix: Mix | None = None
) -> Feed:
  """Labelled images in the batches, and under the loss, of a protocol.

  Args:
    protocol: how a network is trained on them.
    augment: normalisation and augmentation.
    mix: CutMix or the like, after augmentation.

  Raises:
    ValueError: if the protocol's loss is unknown.
  """
  check_choice('loss', protocol.loss, _LOSSES)
  loss = _LOSSES[protocol.loss]
  return labelled(protocol.batch_size, augment=augment, mix=mix, loss=loss)


def optimizer_of(
  protocol: Protocol, steps_per_epoch: int | Array
) -> optax.GradientTransformation:
  """Returns a protocol's optimiser, whose rate changes from epoch to epoch.

  Args:
    protocol: how a network is trained.
    steps_per_epoch: may be traced.
  """
  drops = [int(d * protocol.epochs + 1e-9) for d in protocol.drops]
  by_epoch = _rate(protocol, drops, steps_per_epoch)

  def rate(step):
    return by_epoch(step // steps_per_epoch)

  clear_at = drops[0] * steps_per_epoch if protocol.clear_momentum else None
  if protocol.optimizer == 'adamw':
    optimizer = optimizers.adamw(rate, weight_decay=protocol.weight_decay)
  elif protocol.optimizer == 'adam':
    optimizer = optax.adam(rate)
  else:
    optimizer = optimizers.sgd(
      rate,
      momentum=protocol.momentum,
      weight_decay=protocol.weight_decay,
      clear_at=clear_at,
    )
  if protocol.average_rate is None:
    return optimizer
  return optimizers.with_average(
    optimizer, protocol.average_rate, debias=protocol.debias
  )


def _rate(protocol, drops, steps_per_epoch):
  """The learning rate by epoch."""
  ends = protocol.learning_rate, protocol.epochs, protocol.zeta
  if protocol.schedule == 'warmup':
    return optimizers.warmup_schedule(*ends, steps_per_epoch=steps_per_epoch)
  if protocol.schedule != 'drops':
    return _SCHEDULES[protocol.schedule](*ends)

  def rate(epoch):
    passed = sum(jnp.where(epoch >= drop, 1, 0) for drop in drops)
    return protocol.learning_rate * protocol.drop_factor**passed

  return rate


def tested_variables(protocol: Protocol, train_state: TrainState) -> Variables:
  """What is tested: averaged parameters keep the live running statistics."""
  if protocol.average_rate is None:
    return train_state.variables
  params = optimizers.averaged_params(train_state.opt_state)
  return train_state.variables._replace(params=params)


def stops(protocol: Protocol, pieces: int) -> Iterator[tuple[int, bool]]:
  """Epochs at which training halts, and whether the network is tested."""
  tests = {max(1, round(p * protocol.epochs)) for p in protocol.test_points}
  size = max(1, protocol.epochs // pieces)
  pauses = tests | set(range(size, protocol.epochs + 1, size))
  for stop in sorted(pauses | {protocol.epochs}):
    yield stop, stop in tests
