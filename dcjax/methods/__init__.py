"""Condensation methods: recipes that fill the axes of `condenser`."""

from dcjax.methods._cafe import cafe, cafe_learning_rate
from dcjax.methods._class_embeddings import (
  ClassEmbeddings,
  ClassSums,
  class_embeddings,
  class_means,
  class_sums,
  feature_sizes,
)
from dcjax.methods._codebook_fit import fit_codebook
from dcjax.methods._dc import RealStatistics, dc, dc_loops
from dcjax.methods._dd import INITIALISATIONS, dd, dd_unroll
from dcjax.methods._dm import dm
from dcjax.methods._edc_configurations import (
  EdcConfiguration,
  edc_configuration,
)
from dcjax.methods._frepo import Pool, frepo
from dcjax.methods._generative import (
  CODES,
  CONDITIONS,
  discriminator_problem,
  generative,
  generative_objective,
)
from dcjax.methods._generative_options import (
  OPTIMIZERS,
  CodebookDraws,
  CodebookSteps,
  DiscriminatorTraining,
  FeatureTraining,
  codebook_optimizer,
)
from dcjax.methods._generator_training import (
  GanState,
  GeneratorTraining,
  finished_generator,
  generator_training,
  gradient_penalty,
)
from dcjax.methods._idc import OnReal, idc, learning_rate_multiplier
from dcjax.methods._image_batches import (
  cut_batch,
  image_batches,
  put_batch,
  synthesise,
)
from dcjax.methods._kip import kip
from dcjax.methods._label_distillation import label_distillation
from dcjax.methods._mtt import Starts, mtt
from dcjax.methods._rat_bptt import adam_unroll, rat_bptt
from dcjax.methods._rcig import Convex, rcig
from dcjax.methods._rded import rded, shuffle_tiles, stitch
from dcjax.methods._recovery import (
  Recovery,
  RecoveryDraw,
  apply_recovery,
  recovery,
  recovery_augment,
)
from dcjax.methods._settings import Instead, OnSynthetic
from dcjax.methods._statistics import cda, curriculum, edc, gvbsm, sre2l

__all__ = [
  'CODES',
  'CONDITIONS',
  'INITIALISATIONS',
  'OPTIMIZERS',
  'ClassEmbeddings',
  'ClassSums',
  'CodebookDraws',
  'CodebookSteps',
  'Convex',
  'DiscriminatorTraining',
  'EdcConfiguration',
  'FeatureTraining',
  'GanState',
  'GeneratorTraining',
  'Instead',
  'OnReal',
  'OnSynthetic',
  'Pool',
  'RealStatistics',
  'Recovery',
  'RecoveryDraw',
  'Starts',
  'adam_unroll',
  'apply_recovery',
  'cafe',
  'cafe_learning_rate',
  'cda',
  'class_embeddings',
  'class_means',
  'class_sums',
  'codebook_optimizer',
  'curriculum',
  'cut_batch',
  'dc',
  'dc_loops',
  'dd',
  'dd_unroll',
  'discriminator_problem',
  'dm',
  'edc',
  'edc_configuration',
  'feature_sizes',
  'finished_generator',
  'fit_codebook',
  'frepo',
  'generative',
  'generative_objective',
  'generator_training',
  'gradient_penalty',
  'gvbsm',
  'idc',
  'image_batches',
  'kip',
  'label_distillation',
  'learning_rate_multiplier',
  'mtt',
  'put_batch',
  'rat_bptt',
  'rcig',
  'rded',
  'recovery',
  'recovery_augment',
  'shuffle_tiles',
  'sre2l',
  'stitch',
  'synthesise',
]
