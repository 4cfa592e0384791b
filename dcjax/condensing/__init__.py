"""The step that every condensation method shares, and what it draws."""

from dcjax.condensing._condenser import Condenser, CondenseState, condenser
from dcjax.condensing._picking import sampled, subsample
from dcjax.condensing._sources import Source, real_batches, stored_targets

__all__ = [
  'CondenseState',
  'Condenser',
  'Source',
  'condenser',
  'real_batches',
  'sampled',
  'stored_targets',
  'subsample',
]
