"""Selection baselines: which real images to keep, as pure functions.

Every selection returns positions `[C, ipc]` within each class, in data-set
order of the class; `to_dataset_indices` turns them into indices of the set.
"""

from dcjax.coresets._classes import to_dataset_indices
from dcjax.coresets._forgetting import (
  ForgettingState,
  events_of,
  forgetting,
  forgetting_events,
  forgetting_loop,
)
from dcjax.coresets._greedy import herding, k_center, nearest_mean, random
from dcjax.coresets._k_means import k_means
from dcjax.coresets._predict import embed
from dcjax.coresets._representative import (
  RepresentativeState,
  representative,
  representative_batches,
)

__all__ = [
  'ForgettingState',
  'RepresentativeState',
  'embed',
  'events_of',
  'forgetting',
  'forgetting_events',
  'forgetting_loop',
  'herding',
  'k_center',
  'k_means',
  'nearest_mean',
  'random',
  'representative',
  'representative_batches',
  'to_dataset_indices',
]
