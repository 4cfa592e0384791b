"""Scores that compare condensed sets fairly, from accuracies alone.

The scores of the DD-Ranking benchmark: what is lost against the whole real set
under hard labels, what is won over real images picked at random, and two scores
in [0, 1] built from these. Larger is better for all but the first.

Every function takes fractions in [0, 1], scalars or `[S]` with one entry for
each seed, and works seed by seed; `mean_and_std` sums up. Seed `s` of one set
is compared with seed `s` of the other: give both the same key, and the two
networks start alike.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
  'augmentation_robust_score',
  'hard_label_recovery',
  'improvement_over_random',
  'label_robust_score',
  'mean_and_std',
  'scores',
]


def hard_label_recovery(whole: ArrayLike, synthetic: ArrayLike) -> np.ndarray:
  """What the condensed set loses against the whole set: HLR.

  `acc(whole real set) - acc(synthetic)`, both with hard labels: 0 if nothing
  is lost, smaller is better.

  Args:
    whole: `[]` or `[S]` accuracies in [0, 1] after training on the real set.
    synthetic: `[]` or `[S]`, after training on the condensed set, every image
      labelled with its class.

  Returns:
    `[]` or `[S]` in [-1, 1].

  Raises:
    ValueError: if an accuracy is outside [0, 1], or the shapes do not fit.

  Example:
    >>> float(hard_label_recovery(0.75, 0.5))
    0.25
  """
  return _difference('whole', whole, 'synthetic', synthetic)


def improvement_over_random(
  synthetic: ArrayLike, random: ArrayLike
) -> np.ndarray:
  """What condensing wins over picking real images at random: IOR.

  `acc(synthetic) - acc(random selection of the same size)`, both under the
  method's own evaluation (its labels, its augmentation): larger is better.

  Args:
    synthetic: `[]` or `[S]` accuracies in [0, 1].
    random: `[]` or `[S]`, labelled by the same teachers if there are any.

  Returns:
    `[]` or `[S]` in [-1, 1].

  Raises:
    ValueError: if an accuracy is outside [0, 1], or the shapes do not fit.
  """
  return _difference('synthetic', synthetic, 'random', random)


def label_robust_score(
  improvement: ArrayLike, recovery: ArrayLike, *, weight: float = 0.5
) -> np.ndarray:
  """One score for gain over random and loss under hard labels: LRS.

  `a = weight IOR - (1 - weight) HLR`, then `(e^a - e^-1) / (e - e^-1)`, which
  maps [-1, 1] to [0, 1], and 0 to 0.269: a set scores more than that only if it
  wins more over random images than it loses against the whole set.

  Args:
    improvement: `[]` or `[S]` in [-1, 1], of `improvement_over_random`.
    recovery: `[]` or `[S]` in [-1, 1], of `hard_label_recovery`.
    weight: of the improvement, in [0, 1].

  Returns:
    `[]` or `[S]` in [0, 1].

  Raises:
    ValueError: if a value is out of range, or the shapes do not fit.

  Example:
    >>> float(label_robust_score(1.0, -1.0))
    1.0
  """
  _check_weight(weight)
  gain = _in_range('improvement', improvement, -1)
  gap = _in_range('recovery', recovery, -1)
  _check_shapes('improvement', gain, 'recovery', gap)
  return _to_unit(weight * gain - (1 - weight) * gap)


def augmentation_robust_score(
  augmented: ArrayLike, plain: ArrayLike, *, weight: float = 0.5
) -> np.ndarray:
  """One score for the gain over random with and without augmentation: ARS.

  `b = weight IOR(augmented) + (1 - weight) IOR(plain)`, then
  `(e^b - e^-1) / (e - e^-1)`: a set that needs the method's own augmentation
  to beat random images scores lower.

  Args:
    augmented: `[]` or `[S]` in [-1, 1], of `improvement_over_random` with both
      sets under the method's augmentation.
    plain: `[]` or `[S]` in [-1, 1], with both sets under none.
    weight: of the augmented part, in [0, 1].

  Returns:
    `[]` or `[S]` in [0, 1].

  Raises:
    ValueError: if a value is out of range, or the shapes do not fit.
  """
  _check_weight(weight)
  gain = _in_range('augmented', augmented, -1)
  bare_gain = _in_range('plain', plain, -1)
  _check_shapes('augmented', gain, 'plain', bare_gain)
  return _to_unit(weight * gain + (1 - weight) * bare_gain)


def scores(
  accuracies: Mapping[str, ArrayLike],
  *,
  label_weight: float = 0.5,
  augmentation_weight: float = 0.5,
) -> dict[str, dict[str, float]]:
  """All scores of a condensed set, from the accuracies of its evaluations.

  Args:
    accuracies: `[S]` fractions of `'condensed'`, `'random'`, `'whole'`,
      `'condensed_plain'` and `'random_plain'` (without augmentation), and of
      `'condensed_hard'` where the set has other labels than its classes.
    label_weight: of IOR in LRS.
    augmentation_weight: of the augmented half in ARS.

  Returns:
    `'HLR'`, `'IOR'`, `'LRS'`, `'ARS'` -> `'mean'` and `'std'` over seeds.

  Raises:
    ValueError: if an accuracy or a weight is outside [0, 1].
  """
  hard = accuracies.get('condensed_hard', accuracies['condensed'])
  recovery = hard_label_recovery(accuracies['whole'], hard)
  gain = improvement_over_random(accuracies['condensed'], accuracies['random'])
  plain = improvement_over_random(
    accuracies['condensed_plain'], accuracies['random_plain']
  )
  found = {
    'HLR': recovery,
    'IOR': gain,
    'LRS': label_robust_score(gain, recovery, weight=label_weight),
    'ARS': augmentation_robust_score(gain, plain, weight=augmentation_weight),
  }
  summaries = {name: mean_and_std(value) for name, value in found.items()}
  return {n: {'mean': m, 'std': s} for n, (m, s) in summaries.items()}


def mean_and_std(values: ArrayLike) -> tuple[float, float]:
  """Mean and standard deviation (n - 1; 0 for one value) over seeds.

  The two robust scores are curved, so the mean of the seeds' scores differs a
  little from the score of the mean accuracies.

  Args:
    values: `[]` or `[S]`.

  Raises:
    ValueError: if there are no values.
  """
  values = np.atleast_1d(np.asarray(values, np.float64))
  if values.ndim != 1 or not values.size:
    raise ValueError(f'values {values.shape}: must be [] or [S] with S above 0')
  return float(values.mean()), float(values.std(ddof=min(1, values.size - 1)))


def _difference(first_name, first, second_name, second):
  first = _in_range(first_name, first, 0)
  second = _in_range(second_name, second, 0)
  _check_shapes(first_name, first, second_name, second)
  return first - second


def _in_range(name, values, least):
  values = np.asarray(values, np.float64)
  if values.ndim > 1 or not np.all((values >= least) & (values <= 1)):
    raise ValueError(
      f'{name} {values.tolist()}: must be [] or [S] of fractions in '
      f'[{least}, 1]'
    )
  return values


def _check_shapes(first_name, first, second_name, second):
  if first.ndim and second.ndim and first.shape != second.shape:
    raise ValueError(
      f'{first_name} has {first.size} seeds, {second_name} {second.size}: '
      'must be as many, or one number'
    )


def _check_weight(weight):
  if not 0 <= weight <= 1:
    raise ValueError(f'weight {weight}: must be in [0, 1]')


def _to_unit(values):
  """Maps [-1, 1] to [0, 1], steeper towards the top."""
  return (np.exp(values) - np.exp(-1)) / (np.e - np.exp(-1))
