"""What many tables share: methods, test networks, and how cells are filled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tables._types import Accuracy, Cell, Place, Run, Table, published

IDC_PAPER = (
  'Kim et al., "Dataset Condensation via Efficient Synthetic-Data '
  'Parameterization", ICML 2022, arXiv 2205.14959'
)
DC_PAPER = (
  'Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching", ICLR '
  '2021, arXiv 2006.05929'
)
CONVNET = {'name': 'convnet'}  # depth 3, width 128, instance norm
_THIN_RESNET = {'name': 'resnet', 'depth': 10, 'form': 'cifar_thin'}
# None is the network that condensed the images.
NETWORKS = {
  'ConvNet-3': None,
  'ConvNet-4': None,
  'ResNetAP-10': None,
  'ResNet-10': {**_THIN_RESNET, 'norm': 'batch'},
  'DenseNet-121': {'name': 'densenet121', 'norm': 'batch'},
  'ResNet-18': {'name': 'resnet', 'depth': 18, 'norm': 'batch'},
  'EfficientNet-B0': {'name': 'efficientnet_b0'},
}
RESNETS = {
  'RN': {**_THIN_RESNET, 'norm': 'instance'},
  'RNAP': {**_THIN_RESNET, 'norm': 'instance', 'average_pooling': True},
}
# DM's images are tested as IDC's are: Kim et al. (2022), appendix C.2.
_TESTED_AS_IDC = {'evaluation.protocol': 'idc', 'evaluation.family': 'idc'}
CORESETS = {
  'Random': 'random',
  'Herding': 'herding',
  'K-Center': 'k_center',
  'Forgetting': 'forgetting',
  'K-Means': 'k_means',
}


class Row(NamedTuple):
  """What the cells of a row have in common.

  Attributes:
    dataset: data-set name.
    ipc: stored images per class.
    network: name in `NETWORKS` of the test network.
    changes: of every run of the row.
  """

  dataset: str
  ipc: int
  network: str = 'ConvNet-3'
  changes: Mapping[str, Any] = {}


def few(size: str, values: Sequence[Any], count: int = 1) -> tuple[Any, ...]:
  """Returns all values, or the first `count` of them for size `'smoke'`."""
  return tuple(values[:count] if size == 'smoke' else values)


def method_run(method: str, row: Row) -> Run | None:
  """Returns the run that a column of IDC's tables reads.

  Args:
    method: 'DSA', 'DM', 'DM+MF', 'DC', 'IDC-I', 'IDC' or a coreset, which is
      taken from the run of IDC-I; anything else has no run.
    row: data set, ipc and changes.
  """
  dataset, ipc, _, changes = row
  if method in ('DC', 'DSA', 'DM', 'DM+MF'):
    changes = {**(_TESTED_AS_IDC if method[:2] == 'DM' else {}), **changes}
    if dataset == 'speech':  # as IDC's ConvNet-4
      changes = {'network.depth': 4, **changes}
    recipe, factor = method[:3].lower().rstrip('+'), 1 + ('+' in method)
    return Run(recipe, dataset, ipc, factor, changes)
  if method == 'IDC':
    factor = 3 if dataset.startswith('imagenet') else 2
    return Run('idc', dataset, ipc, factor, changes)
  if method == 'IDC-I' or method in CORESETS:
    return Run('idc', dataset, ipc, 1, changes)
  return None


def method_cell(method: str, row: Row, **measure: Any) -> Cell | None:
  """Returns the cell of a method; `measure` are fields of `Accuracy`."""
  run = method_run(method, row)
  if run is None:
    return None
  images = CORESETS.get(method, 'condensed')
  return Cell(run, Accuracy(images, NETWORKS[row.network], **measure))


def fill(
  rows: Mapping[str, Any],
  columns: Mapping[str, Any],
  make: Callable[[Any, Any], Cell | None],
) -> dict[Place, Cell]:
  """Makes the cell of every row and column; None leaves a place empty."""
  made = {
    (row, column): make(r, c)
    for row, r in rows.items()
    for column, c in columns.items()
  }
  return {place: cell for place, cell in made.items() if cell is not None}


def method_table(
  title: str,
  source: str,
  rows: Mapping[str, Row],
  methods: Sequence[str],
  numbers: Mapping[Place, str],
  make: Callable[[str, Row], Cell | None] = method_cell,
  **options: Any,
) -> Table:
  """Makes a table with a method in every column.

  Args:
    title: see `Table`.
    source: see `Table`.
    rows: label -> row.
    methods: names that `make` knows; others are published only.
    numbers: published.
    make: `(method, row) -> cell`.
    **options: `note` and `plot`; see `Table`.
  """
  columns = {method: method for method in methods}
  cells = fill(rows, columns, lambda row, method: make(method, row))
  return Table(
    title, source, tuple(rows), tuple(methods), cells, numbers, **options
  )


def numbers(
  dataset: str,
  of: str | tuple[str, ...],
  rows: Sequence[str],
  columns: Sequence[str],
  text: str,
) -> dict[Place, str]:
  """Returns published numbers, or none if they belong to another data set."""
  known = (of,) if isinstance(of, str) else of
  if dataset not in known:
    return {}
  return published(tuple(rows), tuple(columns), text)
