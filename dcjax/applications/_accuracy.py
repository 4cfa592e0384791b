"""What continual learning is judged by: the accuracy matrix and its metrics.

Row `i` of an accuracy matrix `R[..., T, T]` is taken after learning step `i`,
column `j` is the accuracy on the test images of step `j`, a fraction in [0, 1].
Steps that are not learned yet (`j > i`) hold NaN: nothing reads them. Leading
axes, such as seeds `[S, T, T]`, stay. Definitions are those of Lopez-Paz &
Ranzato (2017), Rebuffi et al. (2017) and Chaudhry et al. (2018).
"""

import numpy as np
from numpy.typing import ArrayLike


def seen_accuracy(
  matrix: ArrayLike, sizes: ArrayLike | None = None
) -> np.ndarray:
  """Accuracy over all test images of the steps seen so far, after every step.

  `S[i] = sum_{j<=i} n[j] R[i, j] / sum_{j<=i} n[j]`: the curve of class-
  incremental learning (its mean is `average_incremental_accuracy`).

  Args:
    matrix: `[..., T, T]`; see the module.
    sizes: `[T]` test images of each step; None: as many in all.

  Returns:
    `[..., T]`.

  Raises:
    ValueError: if the matrix is not square, an accuracy that is read is outside
      [0, 1], or `sizes` does not fit.

  Example:
    >>> seen_accuracy([[0.8, np.nan], [0.4, 0.6]])
    array([0.8, 0.5])
  """
  known = _checked(matrix)
  steps = known.shape[-1]
  counts = np.ones(steps) if sizes is None else np.asarray(sizes, float)
  if counts.shape != (steps,) or not np.all(counts > 0):
    raise ValueError(f'sizes {counts}: must be {steps} numbers above 0')
  weights = np.tril(np.ones((steps, steps))) * counts
  return (known * weights).sum(-1) / weights.sum(-1)


def average_incremental_accuracy(
  matrix: ArrayLike, sizes: ArrayLike | None = None
) -> np.ndarray:
  """Mean of `seen_accuracy` over the steps: iCaRL's and IDC's one number.

  Args:
    matrix: `[..., T, T]`.
    sizes: see `seen_accuracy`, as for what it raises.

  Returns:
    `[...]`.
  """
  return seen_accuracy(matrix, sizes).mean(-1)


def final_average_accuracy(matrix: ArrayLike) -> np.ndarray:
  """Mean accuracy over all steps after the last one.

  `mean_j R[T-1, j]`, ACC of Lopez-Paz & Ranzato (2017).

  Args:
    matrix: `[..., T, T]`.

  Returns:
    `[...]`.

  Raises:
    ValueError: see `seen_accuracy`.
  """
  return _checked(matrix)[..., -1, :].mean(-1)


def forgetting(matrix: ArrayLike, since: str = 'best') -> np.ndarray:
  """How much accuracy on earlier steps is lost in the end.

  `mean_{j<T-1} (r[j] - R[T-1, j])`; larger is worse. `r[j]` is the best
  accuracy on step `j` before the last step, `max_{j<=l<T-1} R[l, j]`, as
  Chaudhry et al. (2018) define it, or the one right after learning it,
  `R[j, j]`.

  Args:
    matrix: `[..., T, T]`.
    since: `'best'` or `'first'`.

  Returns:
    `[...]`; 0 for a single step.

  Raises:
    ValueError: if `since` is unknown, and see `seen_accuracy`.

  Example:
    >>> float(forgetting([[0.5, np.nan], [0.25, 0.75]]))
    0.25
  """
  known = _checked(matrix)
  if since not in ('best', 'first'):
    raise ValueError(f"since {since!r}: must be 'best' or 'first'")
  if known.shape[-1] == 1:
    return np.zeros(known.shape[:-2])
  before = known[..., :-1, :-1]
  reference = (
    before.max(-2)  # what is not learned yet is 0 here, below any accuracy
    if since == 'best'
    else np.diagonal(before, axis1=-2, axis2=-1)
  )
  return (reference - known[..., -1, :-1]).mean(-1)


def backward_transfer(matrix: ArrayLike) -> np.ndarray:
  """What later steps add to the accuracy on earlier ones; below 0: forgetting.

  `mean_{j<T-1} (R[T-1, j] - R[j, j])`, BWT of Lopez-Paz & Ranzato (2017).

  Args:
    matrix: `[..., T, T]`.

  Returns:
    `[...]`; 0 for a single step.

  Raises:
    ValueError: see `seen_accuracy`.
  """
  return -forgetting(matrix, 'first')


def _checked(matrix):
  """Returns the matrix with 0 in place of what is not learned yet."""
  values = np.asarray(matrix, float)
  if values.ndim < 2 or values.shape[-1] != values.shape[-2]:
    raise ValueError(f'accuracy matrix {values.shape}: must be [..., T, T]')
  steps = np.arange(values.shape[-1])
  values = np.where(steps[:, None] >= steps, values, 0.0)
  if not np.all((values >= 0) & (values <= 1)):
    raise ValueError(
      'accuracy matrix: rows i, columns j <= i must be in [0, 1]'
    )
  return values
