"""Statistics of what an observer's layers see, of all images and by class.

Statistics-matching methods (SRe2L, CDA, G-VBSM, EDC) make the inputs of the
layers of networks trained on the real data, the observers, have the same mean
and variance for synthetic images as for real ones:

  targets = collect(network, variables, data, 10, augment=augment, key=key)
  objective = objectives.statistics_matching()
  dcjax.match(network, variables, targets, synthetic, key, objective=objective)

Every variance is the biased one. Besides the axes of `dcjax.base`, F stands for
what a statistic runs over: the channels of a layer, or its patch positions.
"""

from dcjax.statistics._collect import (
  CLASS_VARIANCES,
  Collected,
  Collector,
  accumulator,
  collect,
  collector,
)
from dcjax.statistics._moments import (
  LayerStatistics,
  Moments,
  Statistics,
  Targets,
  image_statistics,
  map_moments,
  pool,
)
from dcjax.statistics._observer import (
  LAYERS,
  check_observer,
  observed_layers,
  running_statistics,
)

__all__ = [
  'CLASS_VARIANCES',
  'LAYERS',
  'Collected',
  'Collector',
  'LayerStatistics',
  'Moments',
  'Statistics',
  'Targets',
  'accumulator',
  'check_observer',
  'collect',
  'collector',
  'image_statistics',
  'map_moments',
  'observed_layers',
  'pool',
  'running_statistics',
]
