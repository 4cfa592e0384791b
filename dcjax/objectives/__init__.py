"""What must agree between real and synthetic images."""

from collections.abc import Mapping
from typing import Any

from dcjax import specs
from dcjax.base import Objective
from dcjax.objectives._bilevel import (
  calibrating_scale,
  ridge,
  ridge_classifier,
  unrolled_step,
)
from dcjax.objectives._cafe import cafe_matching, discrimination_loss
from dcjax.objectives._convex_problem import linearised
from dcjax.objectives._convexified import ConvexState, convexified
from dcjax.objectives._distances import (
  PER_TENSOR,
  WHOLE_VECTOR,
  cosine,
  l1,
  l1_mean,
  squared,
  whole_cosine,
  whole_squared,
)
from dcjax.objectives._distribution import distribution_matching
from dcjax.objectives._feature import feature_matching, mean_feature
from dcjax.objectives._flat import FlatNetwork, flat_gradient, flat_network
from dcjax.objectives._generative import (
  REDUCTIONS,
  GenerativeTerms,
  Judged,
  adversarial_loss,
  association_loss,
  check_generative_terms,
  class_feature_means,
  discriminator_accuracy,
  discriminator_loss,
  generative_loss,
  inter_loss,
  intra_loss,
  judge,
  pooled_features,
  standardised,
)
from dcjax.objectives._generative_steps import (
  ANCHORS,
  DiscriminatorState,
  generative_matching,
)
from dcjax.objectives._gradient import (
  TENSORS,
  gradient_distance,
  gradient_matching,
  network_gradient,
)
from dcjax.objectives._kernel import (
  kernel_regression,
  label_margin,
  mirrored,
)
from dcjax.objectives._regularisation import densification, flatness
from dcjax.objectives._statistics import (
  RunningStatistics,
  StatisticsTarget,
  layer_distance,
  start_running,
  statistics_loss,
  statistics_matching,
)
from dcjax.objectives._statistics_steps import (
  AugmentAt,
  StatisticsState,
  statistics_over_steps,
)
from dcjax.objectives._statistics_terms import (
  StatisticsTerms,
  check_statistics_terms,
)
from dcjax.objectives._trajectory import (
  Segment,
  trajectory_distance,
  trajectory_matching,
)
from dcjax.objectives._tuned_rate import TunedRate
from dcjax.objectives._unrolled import POSITIONS, Unroll, train_on, unrolled

__all__ = [
  'ANCHORS',
  'DISTANCES',
  'FACTORIES',
  'POSITIONS',
  'REDUCTIONS',
  'TENSORS',
  'AugmentAt',
  'ConvexState',
  'DiscriminatorState',
  'FlatNetwork',
  'GenerativeTerms',
  'Judged',
  'RunningStatistics',
  'Segment',
  'StatisticsState',
  'StatisticsTarget',
  'StatisticsTerms',
  'TunedRate',
  'Unroll',
  'adversarial_loss',
  'association_loss',
  'build',
  'cafe_matching',
  'calibrating_scale',
  'check_generative_terms',
  'check_statistics_terms',
  'class_feature_means',
  'convexified',
  'cosine',
  'densification',
  'discrimination_loss',
  'discriminator_accuracy',
  'discriminator_loss',
  'distribution_matching',
  'feature_matching',
  'flat_gradient',
  'flat_network',
  'flatness',
  'generative_loss',
  'generative_matching',
  'gradient_distance',
  'gradient_matching',
  'inter_loss',
  'intra_loss',
  'judge',
  'kernel_regression',
  'l1',
  'l1_mean',
  'label_margin',
  'layer_distance',
  'linearised',
  'mean_feature',
  'mirrored',
  'network_gradient',
  'pooled_features',
  'ridge',
  'ridge_classifier',
  'squared',
  'standardised',
  'start_running',
  'statistics_loss',
  'statistics_matching',
  'statistics_over_steps',
  'train_on',
  'trajectory_distance',
  'trajectory_matching',
  'unrolled',
  'unrolled_step',
  'whole_cosine',
  'whole_squared',
]

# Distances of `gradient_matching`.
DISTANCES = (*PER_TENSOR, *WHOLE_VECTOR)
FACTORIES = {
  'cafe': cafe_matching,
  'convexified': convexified,
  'gradient': gradient_matching,
  'feature': feature_matching,
  'distribution': distribution_matching,
  'kernel_regression': kernel_regression,
  'ridge': ridge,
  'trajectory': trajectory_matching,
  'unrolled_step': unrolled_step,
}


def build(spec: Mapping[str, Any]) -> Objective:
  """Makes an objective from `{'name': 'gradient', 'distance': 'l1', ...}`.

  Raises:
    ValueError: naming the known objectives or options if one is unknown.
  """
  return specs.call('objective', FACTORIES, spec)
