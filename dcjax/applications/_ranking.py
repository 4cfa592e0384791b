"""Does a small set rank networks as the whole set does?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Ranking(NamedTuple):
  """How well a proxy's accuracies rank networks.

  Attributes:
    spearman: `[]` rank correlation over all networks, in [-1, 1]; NaN where it
      has no value, as when all accuracies are alike.
    spearman_top: the same over the `k` networks that are best on the whole set.
    overlap: share of these `k` that are among the proxy's `k` best.
    chosen: position of the network that the proxy ranks first.
    regret: whole-set accuracy of the best network less that of the chosen one.
  """

  spearman: float
  spearman_top: float
  overlap: float
  chosen: int
  regret: float


def spearman(first: ArrayLike, second: ArrayLike) -> float:
  """Spearman's rank correlation; ties take their mean rank.

  Args:
    first: `[A]`, one number a network.
    second: `[A]`.

  Returns:
    In [-1, 1]; NaN for fewer than two numbers or if all on a side are alike.

  Raises:
    ValueError: if shapes differ or a number is not finite.

  Example:
    >>> round(spearman([0.1, 0.2, 0.3], [0.5, 0.9, 0.7]), 3)
    0.5
  """
  from scipy import stats

  a, b = _pair(first, second)
  if a.size < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
    return float('nan')
  return float(stats.spearmanr(a, b).statistic)


def rank_networks(proxy: ArrayLike, whole: ArrayLike, top: int = 10) -> Ranking:
  """Compares a proxy's ranking of networks with that of the whole set.

  As in architecture search with condensed sets (Zhao et al., ICLR 2021; DM;
  FTD): correlation over the top networks by whole-set accuracy, beside that
  over all of them. A correlation over few networks is mostly noise: read it
  with the regret.

  Args:
    proxy: `[A]` test accuracies after training on the small set.
    whole: `[A]` test accuracies after training on the whole set.
    top: `k`; more than `A` counts as `A`.

  Raises:
    ValueError: if shapes differ, a number is not finite, or `top` is below 1.

  Example:
    >>> rank_networks([0.3, 0.5, 0.4], [0.8, 0.9, 0.7], top=2).overlap
    0.5
  """
  a, b = _pair(proxy, whole)
  if top < 1 or not a.size:
    raise ValueError(f'top {top} of {a.size} networks: both must be at least 1')
  best = np.argsort(-b, kind='stable')[:top]
  picked = np.argsort(-a, kind='stable')[:top]
  return Ranking(
    spearman(a, b),
    spearman(a[best], b[best]),
    len(set(best.tolist()) & set(picked.tolist())) / len(best),
    int(picked[0]),
    float(b.max() - b[picked[0]]),
  )


def _pair(first, second):
  a, b = np.asarray(first, float), np.asarray(second, float)
  if a.ndim != 1 or a.shape != b.shape:
    raise ValueError(f'shapes {a.shape} and {b.shape}: must both be [A]')
  if not (np.isfinite(a).all() and np.isfinite(b).all()):
    raise ValueError('accuracies hold NaN or infinity: all must be finite')
  return a, b
