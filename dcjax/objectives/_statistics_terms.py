"""The options of statistics matching, and their ranges."""

from typing import NamedTuple

from dcjax.objectives._regularisation import REDUCTIONS
from dcjax.utils import check_at_least, check_choice


class StatisticsTerms(NamedTuple):
  """Weights and options of the loss; see `statistics_matching`.

  Attributes:
    weight: of the statistics, at least 0.
    alpha: share of the statistics of all images, in [0, 1]. EDC prints it at
      the means only; its code and its table 5 weight all of `d`.
    first_layer: weight of the first layer; 1 for the others.
    patch_size: as for the targets.
    between_classes: whether the variance among the means of the classes of the
      batch belongs to their target. EDC leaves it out.
    momentum: of the running statistics, in [0, 1). Their value counts in the
      loss and the batch's gradient moves it (straight-through).
    debias: divides the running statistics by `1 - momentum^visits`; False
      leaves them too small at first, as in EDC's code.
    drop_rate: probability of leaving out a convolution's term.
    flatness: weight of `KL(softmax(f(averaged) / temperature) || softmax(f(X) /
      temperature))`, the first without gradient: the direction of EDC's code,
      the other way round than printed.
    temperature: of the flatness.
    flatness_reduction: `'batch'`: mean over images; `'elements'` divides by the
      number of classes too, as EDC's code does.
    densification: weight of G-VBSM's spread of the images along the axis N,
      which must then hold images of one class, as the network sees them; see
      `densification`.
    constant_target: whether targets and the logits of `averaged` are constants;
      False for derivatives in them and, through the latter, in the network's
      variables. The teacher side of densification and the running statistics
      stay constants.
  """

  weight: float = 0.1
  alpha: float = 0.5
  first_layer: float = 10.0
  patch_size: int = 4
  between_classes: bool = False
  momentum: float = 0.8
  debias: bool = True
  drop_rate: float = 0.0
  flatness: float = 0.0
  temperature: float = 4.0
  flatness_reduction: str = 'batch'
  densification: float = 0.0
  constant_target: bool = True


def check_statistics_terms(terms: StatisticsTerms) -> None:
  """Checks the options of `statistics_matching`.

  Raises:
    ValueError: if one is out of range.
  """
  for name in ('weight', 'first_layer', 'flatness', 'densification'):
    check_at_least(name, getattr(terms, name), 0)
  check_at_least('patch_size', terms.patch_size, 1)
  if not terms.temperature > 0:
    raise ValueError(f'temperature {terms.temperature!r}: must be positive')
  if not 0 <= terms.alpha <= 1:
    raise ValueError(f'alpha {terms.alpha!r}: must be in [0, 1]')
  for name in ('momentum', 'drop_rate'):
    if not 0 <= getattr(terms, name) < 1:
      raise ValueError(f'{name} {getattr(terms, name)!r}: must be in [0, 1)')
  check_choice('flatness_reduction', terms.flatness_reduction, REDUCTIONS)
