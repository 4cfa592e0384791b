"""EDC, Table 4: flatness regularisation."""

from dcjax.runs.tables import _edc
from dcjax.runs.tables._types import Table

TITLE = 'EDC, Table 4: flatness of the loss: form, weight, averages'
DATASETS = _edc.DATASETS
_FLAT = _edc.rung('D', zeta=1.5)
_ROWS = {
  'configuration C': _edc.rung('C', zeta=1.5),
  'L_FR, weight 0.025, beta 0.999, tau 4': None,
  'L_FR, weight 0.25, beta 0.999, tau 4': None,
  'L_FR, weight 2.5, beta 0.999, tau 4': None,
  'L_FR, weight 0.25, beta 0.99, tau 4': None,
  "L'_FR, weight 0.25, beta 0.99, tau 4": _FLAT,
  "L'_FR, weight 0.25, beta 0.99, tau 1": None,
  'vanilla SAM, weight 0.25, tau 2': None,
}
_NUMBERS = """
38.7 42.0 40.6
38.8 43.2 40.3
37.9 43.5 40.3
31.7 37.0 32.9
39.0 43.3 40.2
39.5 44.1 41.9
38.9 43.5 40.7
38.8 44.0 41.2
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  return _edc.ablation(
    TITLE,
    size,
    datasets,
    _ROWS,
    ('ResNet-18', 'ResNet-50', 'DenseNet-121'),
    _NUMBERS,
    'ipc 10, zeta 1.5, all but the first row configuration D. L_FR compares '
    "statistics with those of averaged images, L'_FR logits at temperature "
    "tau; dcjax has L'_FR at tau 4, which EDC takes.",
  )
