"""Small helpers that several parts share."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax


def call_by_name(
  kind: str,
  factories: Mapping[str, Callable[..., Any]],
  spec: Mapping[str, Any],
  *args: Any,
) -> Any:
  """Calls the factory that `spec['name']` names with the rest of `spec`.

  Args:
    kind: what is built, for messages: `'network'`, `'formation'`, ...
    factories: name -> factory; options are keyword arguments.
    spec: `{'name': ..., option: value, ...}`.
    *args: positional arguments passed on.

  Raises:
    ValueError: if the name or an option is unknown; lists the known ones.
  """
  options = dict(spec)
  name = options.pop('name', None)
  if name not in factories:
    raise ValueError(f'{kind} {name!r}: must be one of {sorted(factories)}')
  factory = factories[name]
  known = list(inspect.signature(factory).parameters)[len(args) :]
  for option in options:
    if option not in known:
      raise ValueError(
        f'{kind} {name!r} has no option {option!r}: it takes {known}'
      )
  return factory(*args, **options)


def check_choice(field: str, value: Any, known: Any) -> None:
  """Raises a ValueError that lists `known` unless `value` is among them."""
  if value not in known:
    raise ValueError(f'{field} {value!r}: must be one of {tuple(known)}')


def check_at_least(field: str, value: float, least: float) -> None:
  """Raises a ValueError unless `value >= least`."""
  if not value >= least:
    raise ValueError(f'{field} {value!r}: must be at least {least}')


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
