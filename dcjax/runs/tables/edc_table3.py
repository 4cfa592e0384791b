"""EDC, Table 3: the slowdown of the rate, and three choices one by one."""

from dcjax.runs.tables import _edc
from dcjax.runs.tables._types import Table

TITLE = 'EDC, Table 3: slow rates, real starts and small batches'
DATASETS = _edc.DATASETS
_ZETAS = (1.0, 1.5, 2.0, 2.5, 3.0)
# What RDED and SRe2L's line of work trained students with before.
_BEFORE = {'evaluation.zeta': 1.0, 'evaluation.batch_size': 1024}
_ROWS = {
  **{f'configuration C, zeta {z}': _edc.rung('C', zeta=z) for z in _ZETAS},
  'RDED, plain cosine, large batches': _edc.Row('rded', tested=_BEFORE),
  'RDED, zeta 2, small batches': _edc.Row('rded'),
  'G-VBSM, real start': _edc.rung('B'),
  'G-VBSM, real start, zeta 2': _edc.rung('C'),
  'G-VBSM, real start, zeta 2, small batches': _edc.rung('C', batch_size=100),
}
_NUMBERS = """
34.4 36.8 42.0
38.7 42.0 46.3
38.8 45.8 47.9
39.0 44.6 46.0
38.8 45.6 46.2
25.8 32.7 34.8
42.3 48.4 47.0
34.4 36.8 42.0
38.8 45.8 47.9
45.0 51.6 48.1
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  return _edc.ablation(
    TITLE,
    size,
    datasets,
    _ROWS,
    ('ResNet-18', 'ResNet-50', 'ResNet-101'),
    _NUMBERS,
    'ipc 10. Large batches are of 1024 images, small ones of 100.',
  )
