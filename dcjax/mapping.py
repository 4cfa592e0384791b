"""Functions of one class, or of one network, over all of them."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from dcjax.data.sampling import gathered
from dcjax.utils import platform

# A name, a number at a time, or what maps a function itself.
Strategy = str | int | Callable[[Callable[..., Any]], Callable[..., Any]]


def over_classes(
  function: Callable[..., Any], strategy: Strategy = 'auto'
) -> Callable[..., Any]:
  """Maps a one-class function over the leading class axis of its arguments.

  Args:
    function: takes and returns pytrees without the class axis.
    strategy: `'scan'` (one class after another: least memory), `'vmap'` (all
      at once), a number of classes to batch at a time, `'auto'` (`'scan'` on
      CPUs and TPUs, else `'vmap'`), or a function that does the mapping
      (`dcjax.sharding.class_strategy`).

  Returns:
    A function of pytrees whose leaves have a leading axis `C`.

  Raises:
    ValueError: if the strategy is unknown.
  """
  if callable(strategy):
    return strategy(function)
  if strategy == 'auto':
    # TPUs, too, keep the activations of one class near (docs/speed.md).
    strategy = 'scan' if platform() in ('cpu', 'tpu') else 'vmap'
  if strategy == 'vmap':
    return lambda *args: jax.vmap(function)(*gathered(args))
  if strategy == 'scan':
    return lambda *args: lax.map(lambda xs: function(*xs), gathered(args))
  if isinstance(strategy, int) and strategy > 0:
    return lambda *args: lax.map(
      lambda xs: function(*xs), gathered(args), batch_size=strategy
    )
  raise ValueError(
    f"class strategy {strategy!r}: must be 'auto', 'scan', 'vmap' or a "
    'positive number of classes'
  )


def over_networks(
  function: Callable[..., Any], strategy: Strategy = 'auto'
) -> Callable[..., Any]:
  """Maps a function of one network over the leading axis of its arguments.

  Args:
    function: takes and returns pytrees without that axis.
    strategy: as `over_classes` takes it, but for `'auto'`, which is `'scan'` on
      CPUs alone: TPUs train several networks on small batches faster at once
      (docs/speed.md).

  Returns:
    A function of pytrees whose leaves have a leading axis.
  """
  if strategy == 'auto' and platform() != 'cpu':
    strategy = 'vmap'
  return over_classes(function, strategy)
