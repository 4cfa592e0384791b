"""Fair scores against numbers worked out by hand, and where they end."""

import numpy as np
import pytest

from dcjax import fairness


def test_differences_by_seed_and_of_scalars():
  recovery = fairness.hard_label_recovery([0.75, 0.875], [0.5, 0.75])
  np.testing.assert_array_equal(recovery, [0.25, 0.125])
  assert fairness.improvement_over_random(0.5, 0.625) == -0.125
  one_reference = fairness.hard_label_recovery(0.75, [0.5, 0.25])
  np.testing.assert_array_equal(one_reference, [0.25, 0.5])


# e = 2.718282, 1/e = 0.367879: the denominator is 2.350402 and, for example,
# a = 0.5 * 0.3 - 0.5 * 0.2 = 0.05 gives (1.051271 - 0.367879) / 2.350402.
@pytest.mark.parametrize(
  ('improvement', 'recovery', 'weight', 'expected'),
  [
    (0.3, 0.2, 0.5, 0.290755),
    (0.2, 0.2, 0.5, 0.268941),
    (1.0, 0.0, 1.0, 1.0),
    (0.7, 1.0, 0.0, 0.0),
    (0.4, 0.2, 0.75, 0.389783),
  ],
)
def test_label_robust_score(improvement, recovery, weight, expected):
  score = fairness.label_robust_score(improvement, recovery, weight=weight)
  np.testing.assert_allclose(score, expected, atol=1e-6)


def test_augmentation_robust_score():
  # b = 0.5 * 0.3 + 0.5 * 0.1 = 0.2, and 0.25 * 0.2 + 0.75 * 0.4 = 0.35.
  score = fairness.augmentation_robust_score(0.3, 0.1)
  np.testing.assert_allclose(score, 0.363139, atol=1e-6)
  score = fairness.augmentation_robust_score(0.2, 0.4, weight=0.25)
  np.testing.assert_allclose(score, 0.447238, atol=1e-6)


def test_scores_are_taken_seed_by_seed():
  improvement, recovery = np.array([0.3, 0.2]), np.array([0.2, 0.2])
  both = fairness.label_robust_score(improvement, recovery)
  np.testing.assert_allclose(both, [0.290755, 0.268941], atol=1e-6)
  mean, std = fairness.mean_and_std(both)
  np.testing.assert_allclose(mean, 0.279848, atol=1e-6)
  # Two values: half their distance times the square root of two.
  np.testing.assert_allclose(std, 0.021814 / np.sqrt(2), atol=1e-6)
  assert fairness.mean_and_std(0.5) == (0.5, 0.0)


@pytest.mark.parametrize(
  ('call', 'message'),
  [
    (lambda: fairness.hard_label_recovery(75.0, 0.5), r'whole 75\.0: .*\[0, 1'),
    (lambda: fairness.hard_label_recovery(0.5, np.nan), 'synthetic nan: must'),
    (lambda: fairness.improvement_over_random([0.5] * 2, [0.5] * 3), '2 seeds'),
    (lambda: fairness.improvement_over_random(0.5, -0.1), 'random -0.1: must'),
    (lambda: fairness.label_robust_score(2.0, 0.0), 'improvement 2.0: must'),
    (lambda: fairness.label_robust_score(0.0, 0.0, weight=2.0), 'weight 2.0'),
    (lambda: fairness.augmentation_robust_score(0.0, -2.0), 'plain -2.0: must'),
    (lambda: fairness.mean_and_std([]), r'values \(0,\): must be'),
  ],
)
def test_bad_input(call, message):
  with pytest.raises(ValueError, match=message):
    call()
