"""Where the networks come from that judge the synthetic images."""

from dcjax.inner._loops import (
  frozen,
  resample,
  train_on_real,
  train_on_synthetic,
)
from dcjax.inner._none import none, observers
from dcjax.inner._plateau import PlateauState, until_plateau
from dcjax.inner._pool import PoolState, pool
from dcjax.inner._statistics import tracks_statistics, with_real_statistics
from dcjax.inner._types import InnerData, InnerLoop, InnerState

__all__ = [
  'InnerData',
  'InnerLoop',
  'InnerState',
  'PlateauState',
  'PoolState',
  'frozen',
  'none',
  'observers',
  'pool',
  'resample',
  'tracks_statistics',
  'train_on_real',
  'train_on_synthetic',
  'until_plateau',
  'with_real_statistics',
]
