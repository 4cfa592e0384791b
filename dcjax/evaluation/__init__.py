"""Training networks from scratch on a set, and testing them honestly."""

from dcjax.evaluation._evaluator import (
  Evaluation,
  Evaluator,
  evaluate,
  evaluator,
  seed_keys,
)
from dcjax.evaluation._words import check_protocol, feed
from dcjax.feeds import TrainingSet, training_set
from dcjax.protocols import (
  PROTOCOLS,
  Protocol,
  dc_protocol,
  dm_protocol,
  frepo_protocol,
  idc_protocol,
  imagenet_epochs,
  rcig_protocol,
)

__all__ = [
  'PROTOCOLS',
  'Evaluation',
  'Evaluator',
  'Protocol',
  'TrainingSet',
  'check_protocol',
  'dc_protocol',
  'dm_protocol',
  'evaluate',
  'evaluator',
  'feed',
  'frepo_protocol',
  'idc_protocol',
  'imagenet_epochs',
  'rcig_protocol',
  'seed_keys',
  'training_set',
]
