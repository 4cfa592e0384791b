"""IDC, Table 3: subsets of ImageNet with 10 and 100 classes."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Cell, Table

TITLE = 'IDC, Table 3: ImageNet-10 and ImageNet-100'
DATASETS = ('imagenet10', 'imagenet100')
_METHODS = ('Random', 'Herding', 'DSA', 'DM', 'IDC-I', 'IDC', 'Full data')
_NETWORKS = ('ResNetAP-10', 'ResNet-18', 'EfficientNet-B0')
_NUMBERS = {
  'imagenet10': """
46.9 50.4 52.7 52.3 61.4±0.8 72.8±0.6 90.8
43.3 47.0 44.1 41.7 56.2±1.2 73.6±0.4 93.6
46.3 50.2 48.3 45.0 58.7±1.4 74.7±0.5 95.9
51.8 57.5 57.4 59.3 65.5±1.0 76.6±0.4 90.8
54.3 57.9 56.9 53.7 66.0±0.7 75.7±1.0 93.6
60.3 59.0 62.5 57.7 66.3±0.5 78.1±1.0 95.9
""",
  'imagenet100': """
20.7 22.6 21.8 22.3 29.2±0.4 46.7±0.2 82.0
15.7 15.9 13.5 15.8 23.3±0.3 40.1±0.5 84.6
22.4 24.5 19.9 20.7 27.7±0.6 36.3±0.6 85.6
29.7 31.1 30.7 30.4 34.5±0.1 53.7±0.9 82.0
24.3 23.4 20.0 23.4 29.8±0.2 46.4±1.6 84.6
33.2 35.6 30.6 31.0 33.2±0.5 49.6±1.2 85.6
""",
}


def _cell(method: str, row: common.Row) -> Cell | None:
  if method == 'Full data' and row.dataset == 'imagenet100':
    return None
  return common.method_cell(method, row)


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  rows, numbers = {}, {}
  for dataset in datasets:
    new = {
      f'{dataset}, ipc {ipc}, {network}': common.Row(dataset, ipc, network)
      for ipc in (10, 20)
      for network in _NETWORKS
    }
    text = _NUMBERS.get(dataset, '')
    numbers |= common.numbers(dataset, DATASETS, tuple(new), _METHODS, text)
    rows |= dict(common.few(size, list(new.items()), 1))
  return common.method_table(
    TITLE,
    common.IDC_PAPER,
    rows,
    _METHODS,
    numbers,
    _cell,
    note=(
      'ResNetAP-10 is the network that condensed, for every method. All are '
      "tested under IDC's protocol. Full data of ImageNet-100 are published "
      'only: the evaluation holds its training images in memory, 76 GB then.'
    ),
  )
