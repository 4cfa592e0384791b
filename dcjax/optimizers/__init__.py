"""Optimisers of networks and of synthetic data, all through optax."""

from dcjax.optimizers._networks import (
  adamw,
  averaged_params,
  in_normalised_units,
  sgd,
  smoothing_schedule,
  ssrs_schedule,
  warmup_schedule,
  with_average,
)
from dcjax.optimizers._stored import (
  by_name,
  clip_by_running_mean,
  halved_every,
)
from dcjax.optimizers._sweep import (
  ImageOptimizer,
  as_image_optimizer,
  sweep_sgd,
)

__all__ = [
  'ImageOptimizer',
  'adamw',
  'as_image_optimizer',
  'averaged_params',
  'by_name',
  'clip_by_running_mean',
  'halved_every',
  'in_normalised_units',
  'sgd',
  'smoothing_schedule',
  'ssrs_schedule',
  'sweep_sgd',
  'warmup_schedule',
  'with_average',
]
