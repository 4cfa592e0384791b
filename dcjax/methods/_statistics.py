"""SRe2L, CDA, G-VBSM and EDC: statistics matched under frozen observers."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import optax

from dcjax import formations, inner, objectives, optimizers
from dcjax.base import Array, Augment, Formation, Network
from dcjax.condensing import Condenser, condenser, stored_targets
from dcjax.methods._recovery import Recovery, recovery, recovery_augment
from dcjax.objectives import StatisticsTerms
from dcjax.utils import check_at_least

_ADAM = {'b1': 0.5, 'b2': 0.9, 'eps': 1e-8}
# Those that make of each stored image as many others, cell after cell.
_ALIKE = ('identity', 'time_axis', 'uniform')
_SRE2L_TERMS = StatisticsTerms(weight=0.01, alpha=1.0, momentum=0.0)
_GVBSM_TERMS = StatisticsTerms(
  weight=0.01, alpha=1.0, drop_rate=0.4, densification=1.0
)
EDC_TERMS = StatisticsTerms(weight=0.01, flatness=0.25)
_SRE2L_SEEN = recovery('sre2l', 'imagenet')
_CDA_SEEN = recovery('cda', 'imagenet')
_GVBSM_SEEN = recovery('gvbsm', 'cifar')
_EDC_SEEN = recovery('edc', 'cifar')


def sre2l(
  network: Network,
  mean: Sequence[float],
  std: Sequence[float],
  *,
  iterations: int = 4000,
  learning_rate: float = 0.25,
  terms: StatisticsTerms = _SRE2L_TERMS,
  seen: Recovery = _SRE2L_SEEN,
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
    mean: see `edc`, as for what is not said here.
    std: see `edc`.
    iterations: see `edc`.
    learning_rate: see `edc`.
    terms: the first layer counts ten times.
    seen: see `edc`.
    inner_steps: see `edc`.
    spread: see `edc`.
    formation: see `edc`.

  Raises:
    ValueError: if an option is out of range.
  """
  return edc(
    [network],
    mean,
    std,
    iterations=iterations,
    learning_rate=learning_rate,
    terms=terms,
    seen=seen,
    inner_steps=inner_steps,
    spread=spread,
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
  iterations: int = 4000,
  learning_rate: float = 0.25,
  terms: StatisticsTerms = _SRE2L_TERMS,
  seen: Recovery = _CDA_SEEN,
  inner_steps: int = 100,
  spread: Augment | None = None,
  formation: Formation | None = None,
) -> Condenser:
  """CDA: SRe2L whose crops become smaller over the run.

  Yin & Shen, "Dataset Distillation via Curriculum Data Synthesis" (TMLR 2024).
  Defaults are those of ImageNet-1k; Tiny-ImageNet takes a rate of 0.4 and
  weight 0.05.

  Args:
    network: see `sre2l`.
    mean: see `edc`, as for what is not said here.
    std: see `edc`.
    iterations: see `edc`.
    learning_rate: see `edc`.
    terms: see `sre2l`.
    seen: its smallest crop is that of the end; see `curriculum`.
    inner_steps: see `edc`.
    spread: see `edc`.
    formation: see `edc`.

  Raises:
    ValueError: if an option is out of range.
  """
  smallest = seen.smallest_crop
  if not isinstance(smallest, (int, float)) or not 0 < smallest <= 1:
    raise ValueError(f'smallest_crop {smallest!r}: must be in (0, 1]')
  return sre2l(
    network,
    mean,
    std,
    iterations=iterations,
    learning_rate=learning_rate,
    terms=terms,
    seen=seen._replace(smallest_crop=curriculum(smallest)),
    inner_steps=inner_steps,
    spread=spread,
    formation=formation,
  )


def gvbsm(
  observers: Sequence[Network],
  mean: Sequence[float],
  std: Sequence[float],
  *,
  iterations: int = 4000,
  learning_rate: float = 0.05,
  terms: StatisticsTerms = _GVBSM_TERMS,
  seen: Recovery = _GVBSM_SEEN,
  inner_steps: int = 25,
  spread: Augment | None = None,
  formation: Formation | None = None,
) -> Condenser:
  """G-VBSM: many observers, BatchNorm and convolutions, dense images.

  Shao et al., "Generalized Large-Scale Data Condensation via Various Backbone
  and Statistical Matching" (CVPR 2024). Defaults are those of CIFAR; ImageNet
  takes a rate of 0.1, momentum 0.4, drop rate 0, patches of 16, crops from 0.08
  and no roll. Image batches should hold whole classes, which densification
  spreads.

  Args:
    observers: networks that take turns.
    mean: see `edc`, as for what is not said here.
    std: see `edc`.
    iterations: see `edc`.
    learning_rate: see `edc`.
    terms: see `edc`.
    seen: a resized crop, if it has one, takes the place of the padded one.
    inner_steps: see `edc`.
    spread: see `edc`.
    formation: see `edc`.

  Raises:
    ValueError: if an option is out of range.
  """
  if seen.smallest_crop is not None:
    seen = seen._replace(padding=0)
  return edc(
    observers,
    mean,
    std,
    iterations=iterations,
    learning_rate=learning_rate,
    terms=terms,
    seen=seen,
    inner_steps=inner_steps,
    spread=spread,
    formation=formation,
  )


def edc(
  observers: Sequence[Network],
  mean: Sequence[float],
  std: Sequence[float],
  *,
  iterations: int = 2000,
  learning_rate: float = 0.05,
  terms: StatisticsTerms = EDC_TERMS,
  seen: Recovery = _EDC_SEEN,
  averaging: float = 0.99,
  inner_steps: int = 25,
  spread: Augment | None = None,
  formation: Formation | None = None,
) -> Condenser:
  """EDC: statistics of all and of each class, flat minima, real starts.

  Shao et al., "Elucidating the Design Space of Dataset Condensation" (NeurIPS
  2024). The images start as real ones (`rded` on ImageNet, plain real images on
  small sets) and are cut by `image_batches`, class after class. Weaker
  configurations of the paper's ladder are options, see `edc_configuration`.

  Defaults are those of the small sets in the paper; CIFAR-10 takes 75
  iterations and one batch, ImageNet-1k weight 0.1, patches of 16, batches of
  80. The paper's code leaves flatness out.

  One step: the observer whose turn it is looks at the image batch, Adam (betas
  0.5 and 0.9, cosine to 0 over the batch's iterations) steps it in normalised
  units, it is clipped to the range of its formation.

  Args:
    observers: networks that take turns; their numbers and what their layers see
      of real images come with the data.
    mean: `[D]` of the normalisation.
    std: `[D]` of the normalisation.
    iterations: steps of each image batch, a multiple of `inner_steps`.
    learning_rate: of the images, in normalised units.
    terms: what is matched, and how much of it.
    seen: crops, flips and rolls of what observers see.
    averaging: rate of the images' average that flatness compares with.
    inner_steps: in one compiled call.
    spread: puts the images of a batch onto several devices; see
      `recovery_augment` and `dcjax.sharding`.
    formation: `identity()` if None; `uniform` and `time_axis` go too.

  Returns:
    A condenser of image batches as `cut_batch` makes them; `restart` begins the
    next one.

  Raises:
    ValueError: if an option is out of range; from `init`, if the data are not
      those of the observers.

  Example:
    >>> condenser = edc(observers, dataset.mean, dataset.std)
    >>> slots = image_batches(10, 2, batch_size=20)[0]
    >>> data = inner.InnerData(None, observers=(variables,), targets=(targets,))
    >>> state = condenser.init(key, cut_batch(real_images, slots), data)
    >>> state, metrics = jax.jit(condenser.period)(key, state, data)
  """
  check_at_least('inner_steps', inner_steps, 1)
  if iterations < 1 or iterations % inner_steps:
    raise ValueError(
      f'iterations {iterations}: must be a positive multiple of inner_steps '
      f'{inner_steps}'
    )
  formation = formation or formations.identity()
  name = formation.spec['name']
  if name not in _ALIKE:
    raise ValueError(
      f'formation {name!r}: must be one of {", ".join(_ALIKE)} under observers'
    )
  rate = optax.cosine_decay_schedule(learning_rate, iterations)
  return condenser(
    observers,
    formation=formations.with_labels(formation, 'hard'),
    objective=objectives.statistics_over_steps(
      terms,
      recovery_augment(mean, std, seen, spread=spread),
      steps=iterations,
      averaging=averaging,
    ),
    source=stored_targets(),
    inner=inner.observers(len(observers)),
    optimizer=optimizers.by_name(
      images=optimizers.in_normalised_units(optax.adam(rate, **_ADAM), std)
    ),
    inner_steps=inner_steps,
    most_synthetic=10**9,
    project='step',
  )
