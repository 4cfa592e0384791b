"""dcjax: dataset condensation in JAX.

A condensed data set is a small pytree of stored numbers and a pure function
that decodes it into training images. Methods are recipes over five axes:
formation, augmentation, objective, inner loop, labels.
"""

import importlib
from typing import TYPE_CHECKING, Any

from dcjax import (
  applications,
  augment,
  coresets,
  data,
  evaluation,
  fairness,
  feeds,
  files,
  formations,
  initialisation,
  inner,
  kernels,
  labelling,
  losses,
  methods,
  networks,
  objectives,
  optimizers,
  pictures,
  records,
  sharding,
  statistics,
  training,
  trajectories,
  trees,
  whitening,
)
from dcjax.artefact import Artefact, ArtefactError, load, save
from dcjax.base import (
  Batch,
  Formation,
  InTurns,
  Network,
  Objective,
  Outputs,
  StatefulObjective,
  Variables,
)
from dcjax.condensing import Condenser, CondenseState, condenser
from dcjax.evaluation import evaluate
from dcjax.matching import match, match_and_gradient

if TYPE_CHECKING:
  from dcjax.runs import condense

__version__ = '0.1.0'

__all__ = [
  'Artefact',
  'ArtefactError',
  'Batch',
  'CondenseState',
  'Condenser',
  'Formation',
  'InTurns',
  'Network',
  'Objective',
  'Outputs',
  'StatefulObjective',
  'Variables',
  'applications',
  'augment',
  'condense',
  'condenser',
  'coresets',
  'data',
  'evaluate',
  'evaluation',
  'fairness',
  'feeds',
  'files',
  'formations',
  'initialisation',
  'inner',
  'kernels',
  'labelling',
  'load',
  'losses',
  'match',
  'match_and_gradient',
  'methods',
  'networks',
  'objectives',
  'optimizers',
  'pictures',
  'records',
  'runs',
  'save',
  'sharding',
  'statistics',
  'training',
  'trajectories',
  'trees',
  'whitening',
]


def __getattr__(name: str) -> Any:
  """`runs` and `condense`, imported when they are first asked for.

  What runs need (checkpoints, configs, plots) is no price of `import dcjax`.
  """
  if name not in ('runs', 'condense'):
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  runs = importlib.import_module('dcjax.runs')
  return runs if name == 'runs' else runs.condense
