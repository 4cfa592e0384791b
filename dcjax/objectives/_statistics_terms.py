"""The options of statistics matching, and their ranges."""

from typing import NamedTuple

from dcjax.objectives._regularisation import REDUCTIONS
from dcjax.utils import check_at_least, check_choice


class StatisticsTerms(NamedTuple):
  """The terms of the loss; see `statistics_matching`."""

  weight: float = 0.1
  alpha: float = 0.5
  first_layer: float = 10.0
  patch_size: int = 4
  between_classes: bool = False
  momentum: float = 0.8
  debias: bool = True
  drop_rate: float = 0.0
  flatness: float = 0.0
  temperature: float = 4.0
  flatness_reduction: str = 'batch'
  densification: float = 0.0
  constant_target: bool = True


def statistics_terms(**terms: float | bool | str) -> StatisticsTerms:
  """Checks the options of `statistics_matching`.

  Raises:
    ValueError: if one is unknown or out of range.
  """
  for name in terms:
    check_choice('term', name, StatisticsTerms._fields)
  checked = StatisticsTerms(**terms)
  for name in ('weight', 'first_layer', 'flatness', 'densification'):
    check_at_least(name, getattr(checked, name), 0)
  check_at_least('patch_size', checked.patch_size, 1)
  if not checked.temperature > 0:
    raise ValueError(f'temperature {checked.temperature!r}: must be positive')
  if not 0 <= checked.alpha <= 1:
    raise ValueError(f'alpha {checked.alpha!r}: must be in [0, 1]')
  for name in ('momentum', 'drop_rate'):
    if not 0 <= getattr(checked, name) < 1:
      raise ValueError(f'{name} {getattr(checked, name)!r}: must be in [0, 1)')
  check_choice('flatness_reduction', checked.flatness_reduction, REDUCTIONS)
  return checked
