"""The published augmentation strategies per data set."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from dcjax.utils import check_at_least

Strategies = dict[str, Any]

# One-channel sets, and sets of characters, which mirroring would spoil.
_GREYSCALE = re.compile('.*mnist|usps|digits|fashion.*|omniglot')
_CHARACTERS = re.compile('(?!fashion).*mnist|usps|digits|svhn.*|omniglot')
_IMAGENET = re.compile('imagenet(10|100|1k|2012)?')
_SPEECH = re.compile('.*speech.*|wavfolder')


def idc_strategies(
  dataset: str,
  factor: int = 2,
  ipc: int = 10,
  *,
  channels: int | None = None,
  batch_norm: bool = False,
) -> Strategies:
  """Returns IDC's strategies for a data set (Kim et al. 2022; as in its code).

  Matching uses `color_crop_cutout`, training `color_crop` and CutMix with
  probability 0.5; cutout is left out wherever CutMix is on. Evaluation:

  * CIFAR, Fashion-MNIST: `color_crop_flip_scale_rotate`, CutMix 0.5
  * SVHN, MNIST: `color_crop_scale_rotate`, CutMix 0.5
  * SVHN with factor 1 and ipc 1: `color_crop_cutout_scale_rotate`, no CutMix
  * MNIST with a factor above 1: `color_crop_scale_rotate`; matching
    `color_crop`; neither cutout nor CutMix in any phase
  * ImageNet: none but `imagenet_evaluation`; CutMix 1 in all phases
  * speech: nothing in any phase
  * all others: as CIFAR if the images have colour; without flip, as MNIST with
    factor 1, if they have one channel

  Args:
    dataset: name; case, `-` and `_` do not matter, nor do TFDS's
      prefix and version.
    factor: multi-formation factor f, at least 1.
    ipc: stored images per class, at least 1.
    channels: D, which tells colour from greyscale where the name is not known;
      None: 1 for the known one-channel sets, else 3.
    batch_norm: matters to `dc_strategies` only.

  Returns:
    A dict of arguments:
    * `match`: for `sequence(..., sharing='batch')`, real and synthetic batch
    * `train`: for `sequence(..., sharing='sample')`, networks that match
    * `evaluate`: for `sequence(..., sharing='sample')`, tested networks
    * `single`: for `sequence`, always the same for the three
    * `per_image`: whether `evaluate` is for `dc_evaluation`, not for `sequence`
    * `cutmix_probability`: for `cutmix` in evaluation
    * `train_cutmix_probability`: for `cutmix` in training

  Raises:
    ValueError: if `factor` or `ipc` is below 1.

  Example:
    chosen = idc_strategies('cifar10', factor=2, ipc=10)
    augment = sequence(chosen['match'], sharing='batch')
  """
  del batch_norm
  check_at_least('factor', factor, 1)
  check_at_least('ipc', ipc, 1)
  name = _plain_name(dataset)
  if _SPEECH.fullmatch(name):
    return no_strategies(dataset, factor, ipc)
  if name == 'mnist' and factor > 1:
    return _strategies('color_crop', 'color_crop', 'color_crop_scale_rotate')
  match, train = 'color_crop_cutout', 'color_crop'
  if _IMAGENET.fullmatch(name):
    return _strategies(match, train, 'none', cutmix=1.0, train_cutmix=1.0)
  if name.startswith('svhn') and factor == 1 and ipc == 1:
    evaluate = 'color_crop_cutout_scale_rotate'
    return _strategies(match, train, evaluate, cutmix=0.0, train_cutmix=0.5)
  evaluate = 'color_crop_scale_rotate'
  if _flips(name, channels):
    evaluate = 'color_crop_flip_scale_rotate'
  return _strategies(match, train, evaluate, cutmix=0.5, train_cutmix=0.5)


def dsa_strategies(
  dataset: str,
  factor: int = 1,
  ipc: int = 1,
  *,
  channels: int | None = None,
  batch_norm: bool = False,
) -> Strategies:
  """Returns the strategies of DSA and DM (Zhao and Bilen 2021, 2023).

  `color_crop_cutout_flip_scale_rotate` for matching, training and evaluation,
  one operation per call (`single`), no CutMix; without flip for digits and for
  unknown one-channel sets; nothing for speech. Arguments and result are as for
  `idc_strategies`; `factor`, `ipc` and `batch_norm` change nothing.
  """
  del batch_norm
  name = _plain_name(dataset)
  if _SPEECH.fullmatch(name):
    return no_strategies(dataset, factor, ipc)
  strategy = 'color_crop_cutout_scale_rotate'
  if _flips(name, channels):
    strategy = 'color_crop_cutout_flip_scale_rotate'
  return _strategies(strategy, strategy, strategy, single=True)


def dc_strategies(
  dataset: str,
  factor: int = 1,
  ipc: int = 1,
  *,
  channels: int | None = None,
  batch_norm: bool = False,
) -> Strategies:
  """Returns DC's strategies (Zhao et al. 2021; as in its code).

  Matching and training use nothing. Evaluation draws one of DC's own operations
  for each image, see `dc_evaluation`: `crop_noise` for a ConvNet with BatchNorm
  on any data set, `crop_scale_rotate` for all other networks on MNIST, else
  nothing. Tested networks train for 1000 epochs where there is augmentation, in
  the published code, and for 300 where there is none.

  Args:
    dataset: see `idc_strategies`.
    factor: changes nothing.
    ipc: changes nothing.
    channels: changes nothing.
    batch_norm: whether the network is a ConvNet with BatchNorm, see
      `is_batch_norm_convnet`.

  Returns:
    See `idc_strategies`.

  Example:
    >>> dc_strategies('mnist')['evaluate']
    'crop_scale_rotate'
  """
  del factor, ipc, channels
  evaluate = 'crop_scale_rotate' if _plain_name(dataset) == 'mnist' else 'none'
  if batch_norm:
    evaluate = 'crop_noise'
  return _strategies('none', 'none', evaluate, per_image=True)


def is_batch_norm_convnet(network: Mapping[str, Any]) -> bool:
  """Whether DC evaluates a network with crops and noise.

  Args:
    network: what `networks.build` takes.
  """
  return network.get('name') == 'convnet' and network.get('norm') == 'batch'


def no_strategies(
  dataset: str = '',
  factor: int = 1,
  ipc: int = 1,
  *,
  channels: int | None = None,
  batch_norm: bool = False,
) -> Strategies:
  """Returns strategies without any augmentation, as DC condenses.

  Arguments and result are as for `idc_strategies`; no argument matters.
  """
  del dataset, factor, ipc, channels, batch_norm
  return _strategies('none', 'none', 'none')


# Which published augmentation to use, by name.
STRATEGIES: dict[str, Callable[..., Strategies]] = {
  'dc': dc_strategies,
  'dsa': dsa_strategies,
  'idc': idc_strategies,
  'none': no_strategies,
}


def _strategies(
  match: str,
  train: str,
  evaluate: str,
  *,
  single: bool = False,
  per_image: bool = False,
  cutmix: float = 0.0,
  train_cutmix: float = 0.0,
) -> Strategies:
  return {
    'match': match,
    'train': train,
    'evaluate': evaluate,
    'single': single,
    'per_image': per_image,
    'cutmix_probability': cutmix,
    'train_cutmix_probability': train_cutmix,
  }


def _plain_name(dataset: str) -> str:
  name = dataset.lower().removeprefix('tfds:').partition(':')[0]
  return re.sub('[^a-z0-9]', '', name)


def _flips(name: str, channels: int | None) -> bool:
  """Whether mirrored images of the set still look like their class."""
  if _CHARACTERS.fullmatch(name):
    return False
  if name.startswith('fashion'):
    return True
  return channels != 1 and not _GREYSCALE.fullmatch(name)
