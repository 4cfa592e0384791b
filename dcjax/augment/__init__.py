"""Augmentation: siamese sequences, CutMix and MixUp, plain augmentation.

Images `[N, H, W, D]` are channels-last. `sequence` builds the differentiable
augmentation of DSA and IDC for normalised images; `STRATEGIES` knows which
operations were published for which data set:

  chosen = idc_strategies('cifar10', factor=2, ipc=10)
  augment = chain(normalise(mean, std), sequence(chosen['match']))
  real, synthetic = augment(key, real), augment(key, synthetic)
"""

from dcjax.augment._dc_evaluation import dc_evaluation
from dcjax.augment._mixing import (
  box_from,
  cutmix,
  cutmix_apply,
  mixup,
  permute_valid,
)
from dcjax.augment._operations import (
  brightness,
  contrast,
  crop,
  cutout,
  flip,
  rotate,
  saturation,
  scale,
  translate,
)
from dcjax.augment._plain import (
  color_jitter,
  crop_boxes,
  draw_boxes,
  imagenet_evaluation,
  pca_lighting,
  random_crop,
  random_flip,
  random_resized_crop,
)
from dcjax.augment._randaugment import RANDAUGMENT, randaugment
from dcjax.augment._sampling import resample
from dcjax.augment._sequence import (
  OPERATIONS,
  Operation,
  Siamese,
  chain,
  identity,
  normalise,
  sample_keys,
  sequence,
)
from dcjax.augment._strategies import (
  STRATEGIES,
  dc_strategies,
  dsa_strategies,
  idc_strategies,
  is_batch_norm_convnet,
  no_strategies,
)
from dcjax.augment._students import CROPS, student_crops

__all__ = [
  'CROPS',
  'OPERATIONS',
  'RANDAUGMENT',
  'STRATEGIES',
  'Operation',
  'Siamese',
  'box_from',
  'brightness',
  'chain',
  'color_jitter',
  'contrast',
  'crop',
  'crop_boxes',
  'cutmix',
  'cutmix_apply',
  'cutout',
  'dc_evaluation',
  'dc_strategies',
  'draw_boxes',
  'dsa_strategies',
  'flip',
  'idc_strategies',
  'identity',
  'imagenet_evaluation',
  'is_batch_norm_convnet',
  'mixup',
  'no_strategies',
  'normalise',
  'pca_lighting',
  'permute_valid',
  'randaugment',
  'random_crop',
  'random_flip',
  'random_resized_crop',
  'resample',
  'rotate',
  'sample_keys',
  'saturation',
  'scale',
  'sequence',
  'student_crops',
  'translate',
]
