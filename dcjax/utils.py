"""Small helpers that several parts share."""

import contextlib
import contextvars
import math
import numbers
import os
from collections.abc import Iterator
from typing import Any

import jax

# As JAX calls them: its backend, and what it lowers for.
GPUS = ('gpu', 'cuda', 'rocm')

_platform = contextvars.ContextVar[str | None]('platform', default=None)


def platform() -> str:
  """The platform that programs are traced for: JAX's own, or `traced_for`."""
  return _platform.get() or jax.default_backend()


@contextlib.contextmanager
def traced_for(name: str) -> Iterator[None]:
  """What is traced meanwhile is meant for another platform.

  Args:
    name: as JAX calls it, such as `'tpu'`.
  """
  token = _platform.set(name)
  try:
    yield
  finally:
    _platform.reset(token)


def on_one_device() -> bool:
  """Whether what is traced is what one device does with numbers of its own.

  Over the axes of a `shard_map` each device has its own; others are shared.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return jax.device_count() == 1
  shared = [n for a, n in mesh.shape.items() if a not in mesh.manual_axes]
  return math.prod(shared) == 1


def count_cpus() -> int:
  """How many CPUs this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def check_choice(field: str, value: Any, known: Any) -> None:
  """Raises a ValueError that lists `known` unless `value` is among them."""
  if value not in known:
    raise ValueError(f'{field} {value!r}: must be one of {tuple(known)}')


def check_at_least(field: str, value: float, least: float) -> None:
  """Raises a ValueError unless `value >= least`."""
  if not value >= least:
    raise ValueError(f'{field} {value!r}: must be at least {least}')


def check_count(name: str, value: Any) -> int:
  """Returns `value` as an int, or raises ValueError unless it is one >= 1."""
  whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if not whole or value < 1:
    raise ValueError(f'{name} is {value!r}; it must be an integer >= 1.')
  return int(value)


def check_logits(logits: jax.Array, labels: jax.Array) -> None:
  """Raises a ValueError unless there is one logit for each class.

  Args:
    logits: `[..., K]`.
    labels: `[..., K]`; broadcasting would hide another K.
  """
  if logits.shape[-1] != labels.shape[-1]:
    raise ValueError(
      f'logits [B, {logits.shape[-1]}]: the data have {labels.shape[-1]} '
      'classes; a network must have one logit for each'
    )
