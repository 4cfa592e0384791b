"""EDC, Table 22: ImageNet-21k."""

from dcjax.runs.tables import _edc
from dcjax.runs.tables._types import Table, published

TITLE = 'EDC, Table 22: ImageNet-21k, published only'
DATASETS = ('imagenet21k',)
_COLUMNS = ('SRe2L', 'CDA', 'RDED', 'EDC', 'Whole set')


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  del size
  known = datasets == DATASETS
  rows = ('imagenet21k, ipc 10',)
  numbers = published(rows, _COLUMNS, '18.5 22.6 25.6 26.8 38.5')
  return Table(
    TITLE,
    _edc.PAPER,
    rows,
    _COLUMNS,
    {},
    numbers if known else {},
    note=(
      "ResNet-18. dcjax has no settings of the paper's for this set; "
      '`image_folder` with `like=imagenet1k` takes those of ImageNet-1k.'
    ),
  )
