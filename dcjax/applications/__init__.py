"""What condensed sets are for: protocols over the one training loop.

Class-incremental learning, task-incremental learning, few-shot adaptation,
architecture search, membership inference and network slimming, with the metrics
they are judged by. `docs/applications.md` shows each in a few lines.
"""

from dcjax.applications._accuracy import (
  average_incremental_accuracy,
  backward_transfer,
  final_average_accuracy,
  forgetting,
  seen_accuracy,
)
from dcjax.applications._incremental import (
  StepResult,
  class_incremental,
  published_class_order,
  split_classes,
  union,
)
from dcjax.applications._lessons import (
  Distillation,
  Lesson,
  accuracies,
  lessons,
  teach,
)
from dcjax.applications._membership import (
  MembershipAttack,
  membership_attack,
  membership_scores,
)
from dcjax.applications._outputs import (
  distillation_loss,
  output_axes,
  renew_outputs,
  widen_classifier,
)
from dcjax.applications._ranking import Ranking, rank_networks, spearman
from dcjax.applications._search import CONVNET_GRID, convnet_grid
from dcjax.applications._slimming import (
  check_slimmable,
  mask_channels,
  remove_channels,
  select_channels,
  slim_spec,
  slimmable_layers,
  with_sparsity,
)
from dcjax.applications._tasks import (
  Task,
  adapt,
  batch_set,
  check_alike,
  task_incremental,
)

__all__ = [
  'CONVNET_GRID',
  'Distillation',
  'Lesson',
  'MembershipAttack',
  'Ranking',
  'StepResult',
  'Task',
  'accuracies',
  'adapt',
  'average_incremental_accuracy',
  'backward_transfer',
  'batch_set',
  'check_alike',
  'check_slimmable',
  'class_incremental',
  'convnet_grid',
  'distillation_loss',
  'final_average_accuracy',
  'forgetting',
  'lessons',
  'mask_channels',
  'membership_attack',
  'membership_scores',
  'output_axes',
  'published_class_order',
  'rank_networks',
  'remove_channels',
  'renew_outputs',
  'seen_accuracy',
  'select_channels',
  'slim_spec',
  'slimmable_layers',
  'spearman',
  'split_classes',
  'task_incremental',
  'teach',
  'union',
  'widen_classifier',
  'with_sparsity',
]
