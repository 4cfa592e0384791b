"""dcjax: dataset condensation in JAX.

A condensed data set is a small pytree of stored numbers and a pure function
that decodes it into training images. Methods are recipes over five axes:
formation, augmentation, objective, inner loop, labels.
"""

from typing import TYPE_CHECKING

from dcjax import _lazy

if TYPE_CHECKING:
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


# Public name -> the module that it is from; all others are modules.
_FROM = {
  'Artefact': 'artefact',
  'ArtefactError': 'artefact',
  'Batch': 'base',
  'CondenseState': 'condensing',
  'Condenser': 'condensing',
  'Formation': 'base',
  'InTurns': 'base',
  'Network': 'base',
  'Objective': 'base',
  'Outputs': 'base',
  'StatefulObjective': 'base',
  'Variables': 'base',
  'condense': 'runs',
  'condenser': 'condensing',
  'evaluate': 'evaluation',
  'load': 'artefact',
  'match': 'matching',
  'match_and_gradient': 'matching',
  'save': 'artefact',
}

# So `import dcjax` costs next to nothing, and `dcjax --help` is there at once.
__getattr__, __dir__ = _lazy.attributes(__name__, __all__, _FROM)
