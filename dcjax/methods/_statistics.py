"""SRe2L, CDA, G-VBSM and EDC: statistics matched under frozen observers."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from dcjax import objectives
from dcjax.base import Array, Augment, Formation, Network
from dcjax.condensing import Condenser
from dcjax.methods import _synthesis
from dcjax.methods._views import Roll, view
from dcjax.utils import check_choice


def sre2l(
  network: Network,
  mean: Sequence[float],
  std: Sequence[float],
  *,
  iterations: int = 4000,
  learning_rate: float = 0.25,
  weight: float = 0.01,
  smallest_crop: float | Callable[[Array], Array] | None = 0.08,
  roll: Roll = (0, 32),
  flip: bool = True,
  inner_steps: int = 100,
  spread: Augment | None = None,
  formation: Formation | None = None,
) -> Condenser:
  """SRe2L: the statistics of one network's BatchNorm, from noise.

  Yin, Xing & Shen, "Squeeze, Recover and Relabel" (NeurIPS 2023). Its data need
  `Targets(statistics.running_statistics(...))`, its batches
  `image_batches(..., order='round')`. Defaults are those of ImageNet-1k;
  CIFAR-100 takes 1000 iterations, Tiny-ImageNet a rate of 0.1 and weight 1, and
  both crops, flips and rolls of their own, see `recovery`.

  Args:
    network: the observer; with BatchNorm.
    mean: `[D]` of the normalisation.
    std: `[D]` of the normalisation.
    iterations: steps of each image batch, a multiple of `inner_steps`.
    learning_rate: of the images, in normalised units.
    weight: of the statistics; the first layer counts ten times.
    smallest_crop: see `view`.
    roll: see `view`.
    flip: see `view`.
    inner_steps: in one compiled call.
    spread: see `view`.
    formation: `identity()` if None; `uniform` and `time_axis` go too.

  Raises:
    ValueError: if an option is out of range.
  """
  terms = objectives.statistics_terms(weight=weight, alpha=1.0, momentum=0.0)
  return _synthesis.synthesis(
    [network],
    std,
    seen=view(
      mean,
      std,
      smallest_crop=smallest_crop,
      flip=flip,
      roll=roll,
      spread=spread,
    ),
    terms=terms,
    iterations=iterations,
    learning_rate=learning_rate,
    inner_steps=inner_steps,
    formation=formation,
  )


def curriculum(smallest: float = 0.08) -> Callable[[Array], Array]:
  """CDA's crop: from the whole image down to `smallest` along a cosine.

  Args:
    smallest: share of the area at the end.

  Returns:
    The smallest share as a function of the share of the run that is done.

  Example:
    >>> [round(float(curriculum(0.08)(p)), 2) for p in (0.0, 1.0)]
    [1.0, 0.08]
  """

  def low(progress: Array) -> Array:
    return smallest + (1 - smallest) * (1 + jnp.cos(jnp.pi * progress)) / 2

  return low


def cda(
  network: Network,
  mean: Sequence[float],
  std: Sequence[float],
  *,
  smallest_crop: float = 0.08,
  **options: Any,
) -> Condenser:
  """CDA: SRe2L whose crops become smaller over the run.

  Yin & Shen, "Dataset Distillation via Curriculum Data Synthesis" (TMLR 2024).
  Defaults are those of ImageNet-1k; Tiny-ImageNet takes a rate of 0.4 and
  weight 0.05.

  Args:
    network: see `sre2l`.
    mean: see `sre2l`.
    std: see `sre2l`.
    smallest_crop: at the end; see `curriculum`.
    **options: see `sre2l`.

  Raises:
    ValueError: if an option is out of range.
  """
  if not 0 < smallest_crop <= 1:
    raise ValueError(f'smallest_crop {smallest_crop!r}: must be in (0, 1]')
  low = curriculum(smallest_crop)
  return sre2l(network, mean, std, smallest_crop=low, **options)


def gvbsm(
  observers: Sequence[Network],
  mean: Sequence[float],
  std: Sequence[float],
  *,
  iterations: int = 4000,
  densification: float = 1.0,
  drop_rate: float = 0.4,
  smallest_crop: float | None = None,
  padding: int = 4,
  roll: Roll = (0, 32),
  **options: Any,
) -> Condenser:
  """G-VBSM: many observers, BatchNorm and convolutions, dense images.

  Shao et al., "Generalized Large-Scale Data Condensation via Various Backbone
  and Statistical Matching" (CVPR 2024). Defaults are those of CIFAR; ImageNet
  takes a rate of 0.1, momentum 0.4, drop rate 0, patches of 16, crops from 0.08
  and no roll. Image batches should hold whole classes, which densification
  spreads.

  Args:
    observers: networks that take turns.
    mean: `[D]` of the normalisation.
    std: `[D]` of the normalisation.
    iterations: steps of each image batch, a multiple of `inner_steps`.
    densification: weight; see `objectives.densification`.
    drop_rate: probability of leaving out a convolution.
    smallest_crop: see `view`; if given, it takes the place of the padded crop.
    padding: see `view`.
    roll: see `view`.
    **options: of `edc`, with G-VBSM's values where the two differ: alpha 1,
      weight 0.01, no flatness.

  Raises:
    ValueError: if an option is out of range.
  """
  own = {'alpha': 1.0, 'weight': 0.01, 'flatness': 0.0}
  return edc(
    observers,
    mean,
    std,
    iterations=iterations,
    densification=densification,
    drop_rate=drop_rate,
    smallest_crop=smallest_crop,
    padding=padding if smallest_crop is None else 0,
    roll=roll,
    **{**own, **options},
  )


def edc(
  observers: Sequence[Network],
  mean: Sequence[float],
  std: Sequence[float],
  *,
  iterations: int = 2000,
  learning_rate: float = 0.05,
  weight: float = 0.01,
  alpha: float = 0.5,
  flatness: float = 0.25,
  averaging: float = 0.99,
  momentum: float = 0.8,
  smallest_crop: float | None = 0.5,
  padding: int = 0,
  roll: Roll = 0,
  flip: bool = True,
  patch_size: int = 4,
  inner_steps: int = 25,
  spread: Augment | None = None,
  formation: Formation | None = None,
  **terms: float | bool | str,
) -> Condenser:
  """EDC: statistics of all and of each class, flat minima, real starts.

  Shao et al., "Elucidating the Design Space of Dataset Condensation" (NeurIPS
  2024). The images start as real ones (`rded` on ImageNet, plain real images on
  small sets) and are cut by `image_batches`, class after class. Weaker
  configurations of the paper's ladder are options:
  `edc(..., **edc_configuration('C').synthesis)`.

  Defaults are those of the small sets in the paper; CIFAR-10 takes 75
  iterations and one batch, ImageNet-1k weight 0.1, patches of 16, batches of
  80.

  Args:
    observers: networks that take turns.
    mean: `[D]` of the normalisation.
    std: `[D]` of the normalisation.
    iterations: steps of each image batch, a multiple of `inner_steps`.
    learning_rate: of the images, in normalised units.
    weight: of the statistics.
    alpha: share of the statistics of all images.
    flatness: weight; the paper's code leaves this term out.
    averaging: rate of the images' average that flatness compares with.
    momentum: of the running statistics.
    smallest_crop: see `view`.
    padding: see `view`.
    roll: see `view`.
    flip: see `view`.
    patch_size: as for the statistics: 4, ImageNet 16.
    inner_steps: in one compiled call.
    spread: on several devices; see `view` and `dcjax.sharding`.
    formation: see `sre2l`.
    **terms: see `objectives.statistics_matching`.

  Raises:
    ValueError: if an option is unknown or out of range.

  Example:
    >>> condenser = edc(observers, dataset.mean, dataset.std)
    >>> slots = image_batches(10, 2, batch_size=20)[0]
    >>> params = cut_batch(real_images, slots)  # what it starts from
  """
  checked = objectives.statistics_terms(
    weight=weight,
    alpha=alpha,
    flatness=flatness,
    momentum=momentum,
    patch_size=patch_size,
    **terms,
  )
  return _synthesis.synthesis(
    observers,
    std,
    seen=view(
      mean,
      std,
      smallest_crop=smallest_crop,
      padding=padding,
      flip=flip,
      roll=roll,
      spread=spread,
    ),
    terms=checked,
    iterations=iterations,
    learning_rate=learning_rate,
    inner_steps=inner_steps,
    averaging=averaging,
    formation=formation,
  )


class EdcConfiguration(NamedTuple):
  """A rung of EDC's ladder, ImageNet-1k values.

  Attributes:
    start: `'noise'`, or `'real'` images.
    synthesis: options of `edc`.
    observers: `'gvbsm'` or `'edc'`, whose choice of networks.
    batch_size: of relabelling and evaluation.
    zeta: of the student's smoothing schedule; 1 is the cosine.
    average_rate: of the student's averaged weights; None for none.
  """

  start: str
  synthesis: dict[str, float]
  observers: str
  batch_size: int
  zeta: float
  average_rate: float | None


_BASELINE = {
  'iterations': 4000,
  'flatness': 0.0,
  'alpha': 1.0,
  'smallest_crop': 0.08,
}
# What each rung adds to the one before it.
_LADDER: dict[str, dict[str, Any]] = {
  'A': {},
  'B': {'start': 'real', 'iterations': 2000},
  'C': {'zeta': 2.0},
  'D': {'flatness': 0.25},
  'E': {'batch_size': 100, 'observers': 'edc'},
  'F': {'alpha': 0.5},
  'G': {'smallest_crop': 0.5, 'average_rate': 0.99},
}


def edc_configuration(name: str) -> EdcConfiguration:
  """Returns a configuration of EDC's figure 1, from A (G-VBSM) to G (EDC).

  Each adds one design choice: B real starts, which need half the iterations; C
  the smoothing schedule; D flatness; E small batches and the better choice of
  observers; F statistics of classes; G weak augmentation and averaged weights.

  The paper's C has zeta 1.5 and only F has 2; here it is 2 from C on, so that
  every step changes one thing (table 3: 38.7 and 38.8 percent). A has no
  densification, which EDC dropped; `gvbsm` has it.

  Args:
    name: 'A' to 'G'.

  Raises:
    ValueError: if the name is unknown.

  Example:
    >>> edc_configuration('B').synthesis['iterations']
    2000
  """
  check_choice('configuration', name, tuple(_LADDER))
  values = {
    'start': 'noise',
    'observers': 'gvbsm',
    'batch_size': 1024,
    'zeta': 1.0,
    'average_rate': None,
    **_BASELINE,
  }
  for rung, added in _LADDER.items():
    if rung <= name:
      values |= added
  synthesis = {option: values.pop(option) for option in _BASELINE}
  return EdcConfiguration(synthesis=synthesis, **values)
