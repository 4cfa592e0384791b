"""Can a network tell which images it, or its condensed set, was made from?"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from dcjax.base import Array


class MembershipAttack(NamedTuple):
  """How well a score tells members from non-members; a measurement, no proof.

  Attributes:
    auc: area under the ROC curve, in [0, 1]; 0.5 is chance.
    advantage: largest true-positive less false-positive rate over thresholds.
    true_positive_rates: highest true-positive rate at each false-positive rate
      asked for.
  """

  auc: float
  advantage: float
  true_positive_rates: dict[float, float]


def membership_scores(logits: Array, labels: Array) -> Array:
  """Log odds of the true class: high for images that a network knows well.

  `ln(p_y / (1 - p_y))`, the score of Carlini et al. (2022, LiRA); ranks images
  as the loss does, but for rounding, and so stands for the loss threshold
  attack.

  Args:
    logits: `[M, K]`.
    labels: `[M]` integers.

  Returns:
    `[M]`.
  """
  own = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
  others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=-1)
  return jnp.sum(jnp.where(own, logits, 0.0), axis=-1) - others


def membership_attack(
  members: ArrayLike,
  others: ArrayLike,
  false_positive_rates: Sequence[float] = (0.001, 0.01),
) -> MembershipAttack:
  """Measures an attack that calls images with a high score members.

  Args:
    members: `[M]` scores of images that were used.
    others: `[M']` scores of images that were not.
    false_positive_rates: in [0, 1], at which the true-positive rate is read. A
      rate below `1 / M'` allows no false positive at all.

  Raises:
    ValueError: if there are no scores on a side, a score is NaN, or a rate is
      outside [0, 1].

  Example:
    >>> membership_attack([0.9, 0.4], [0.1, 0.3], [0.0]).auc
    1.0
  """
  from sklearn import metrics

  scores = [np.asarray(s, float).reshape(-1) for s in (members, others)]
  if not all(s.size for s in scores) or np.isnan(np.concatenate(scores)).any():
    raise ValueError(
      f'scores of {scores[0].size} members and {scores[1].size} others: must '
      'be at least one each, none of them NaN'
    )
  rates = [float(rate) for rate in false_positive_rates]
  if not all(0 <= rate <= 1 for rate in rates):
    raise ValueError(f'false_positive_rates {rates}: must be in [0, 1]')
  is_member = np.repeat([1, 0], [s.size for s in scores])
  # Infinite scores (a probability of exactly 1) rank, but do not compute.
  ranks = np.unique(np.concatenate(scores), return_inverse=True)[1]
  wrong, right, _ = metrics.roc_curve(is_member, ranks, drop_intermediate=False)
  return MembershipAttack(
    float(metrics.auc(wrong, right)),
    float(np.max(right - wrong)),
    {rate: float(right[wrong <= rate].max()) for rate in rates},
  )
