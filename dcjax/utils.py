"""Small helpers that several parts share."""

from typing import Any


def check_choice(field: str, value: Any, known: Any) -> None:
  """Raises a ValueError that lists `known` unless `value` is among them."""
  if value not in known:
    raise ValueError(f'{field} {value!r}: must be one of {tuple(known)}')


def check_at_least(field: str, value: float, least: float) -> None:
  """Raises a ValueError unless `value >= least`."""
  if not value >= least:
    raise ValueError(f'{field} {value!r}: must be at least {least}')
