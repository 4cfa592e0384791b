"""EDC, Figure 1: from G-VBSM to EDC, one design choice after another."""

from dcjax.runs.tables import _edc
from dcjax.runs.tables._types import Table

TITLE = 'EDC, Figure 1: the ladder from G-VBSM (A) to EDC (G)'
DATASETS = _edc.DATASETS
_ROWS = {
  'A: G-VBSM': _edc.rung('A'),
  'B: real start, half the iterations': _edc.rung('B'),
  'C: slow rates': _edc.rung('C', zeta=1.5),
  'D: flatness': _edc.rung('D', zeta=1.5),
  'E: small batches, other observers': _edc.rung('E', zeta=1.5),
  'F: statistics of classes': _edc.rung('F'),
  'G: weak crops, averaged weights': _edc.rung('G'),
}
_COLUMNS = ('ResNet-18', 'synthesis, hours', 'memory of a GPU, GB')
_NUMBERS = """
31.4 9.77 4.616
34.4 4.89 4.616
38.7 4.89 4.616
39.5 4.91 4.616
46.2 4.91 4.697
48.0 5.11 4.923
48.6 5.11 4.923
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  return _edc.ablation(
    TITLE,
    size,
    datasets,
    _ROWS,
    _COLUMNS,
    _NUMBERS,
    'ipc 10. Hours and memory are of four RTX 4090. Zeta is 1.5 from C on and '
    '2 from F on, as in the paper; A has no densification.',
  )
