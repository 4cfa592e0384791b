"""Condensation into a generative model, Tables 3 and 4: ImageNet-1k."""

from dcjax.runs.tables import _generative, _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Table

TITLE = 'Generative model, Tables 3 and 4: ImageNet-1k at 64 pixels'
DATASETS = ('imagenet1k',)
_MEASURED = {'Random': Accuracy('random'), 'Generative': Accuracy()}
_COLUMNS = (
  'Random',
  'FRePo',
  'DM',
  'BigGAN',
  'VQGAN',
  'StyleGAN-XL',
  'Generative',
  'Whole set',
)
_NUMBERS = """
0.6±0.1  7.5±0.3 1.5±0.1 0.5±0.1  0.8±0.1  0.8±0.2  7.9±0.5  34.2±0.4
0.9±0.1  9.7±0.2 1.7±0.1 0.9±0.1  0.9±0.1  0.9±0.1  10.0±0.6 34.2±0.4
3.8±0.1  -       -       3.7±0.1  3.8±0.2  3.7±0.1  17.6±1.7 34.2±0.4
15.4±1.6 -       -       14.3±0.9 15.7±0.8 15.9±1.0 27.2±1.6 34.2±0.4
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset = datasets[0]
  rows = {f'ipc {n}': _generative.run(dataset, n) for n in (1, 2, 10, 50)}
  labels = tuple(rows)
  rows = dict(common.few(size, list(rows.items()), 1))
  return Table(
    TITLE,
    _generative.PAPER,
    tuple(rows),
    _COLUMNS,
    common.fill(rows, _MEASURED, Cell),
    common.numbers(dataset, DATASETS, labels, _COLUMNS, _NUMBERS),
    note=(
      f'{_generative.UNKNOWN} `data_dir` is the folder of ImageNet-1k itself. '
      "Published only are FRePo and DM, FRePo's numbers, whose settings for "
      'this set are not known here, images of three GANs, and the whole set, '
      'which the evaluation would hold in memory.'
    ),
  )
