"""Stored numbers that are finite, and yet no images any more."""

from typing import Any

import jax.numpy as jnp

from dcjax.base import Params
from dcjax.runs._build import Built

# Ranges of real images that no condensed one leaves unless it diverges.
_FAR = 100
# Codes are drawn from N(0, 1).
_FAR_CODE = 1e4
_RATES = ('codes_learning_rate', 'generator_learning_rate', 'learning_rate')


def too_large(built: Built, params: Params) -> str | None:
  """Says that images or codes are far outside what real ones can be."""
  low, high = built.dataset.value_range
  if low is None or high is None:
    real = built.dataset.images
    low, high = real.min() / built.dataset.scale, real.max()
    high = high / built.dataset.scale
  most = _FAR * max(abs(low), abs(high), 1.0)
  known = params if isinstance(params, dict) else {}
  for name, what, limit in (
    ('images', 'an image', most),
    ('codes', 'a code', _FAR_CODE),
  ):
    found = float(jnp.abs(known[name]).max()) if name in known else 0.0
    if found > limit:
      return f'{what} holds {found:.3g}'
  return None


def driver(section: Any) -> str:
  """The settings that drive the stored numbers, with their values."""
  known = [name for name in _RATES if name in section] or _RATES[-1:]
  return ' or '.join(f'method.{n} {section.get(n)}' for n in known)
