"""What many tables share: methods, test networks, and how cells are filled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from dcjax.runs import settings
from dcjax.runs.tables._types import (
  Accuracy,
  Cell,
  Place,
  Run,
  Table,
  published,
)

IDC_PAPER = (
  'Kim et al., "Dataset Condensation via Efficient Synthetic-Data '
  'Parameterization", ICML 2022, arXiv 2205.14959'
)
DC_PAPER = (
  'Zhao, Mopuri & Bilen, "Dataset Condensation with Gradient Matching", ICLR '
  '2021, arXiv 2006.05929'
)
CONVNET = {'name': 'convnet'}  # depth 3, width 128, instance norm
# None is the network that condensed the images.
_NETWORKS = {
  'ConvNet-3': None,
  'ConvNet-4': None,
  'ResNetAP-10': None,
  'DenseNet-121': {'name': 'densenet121', 'norm': 'batch'},
  'ResNet-18': {'name': 'resnet', 'depth': 18, 'norm': 'batch'},
  'EfficientNet-B0': {'name': 'efficientnet_b0'},
}
_RESNET_AP = {
  'name': 'resnet',
  'depth': 10,
  'norm': 'instance',
  'average_pooling': True,
}
# DM's images are tested as IDC's are: Kim et al. (2022), appendix C.2.
_TESTED_AS_IDC = {'evaluation.protocol': 'idc', 'evaluation.family': 'idc'}
# One training on the whole set serves the rows of every ipc: the run of this
# many images a class names its network and protocol.
_WHOLE_IPC = 10
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
    network: test network; see `test_network`.
    changes: of every run of the row.
  """

  dataset: str
  ipc: int
  network: str = 'ConvNet-3'
  changes: Mapping[str, Any] = {}


def few(size: str, values: Sequence[Any], count: int = 1) -> tuple[Any, ...]:
  """Returns all values, or the first `count` of them for size `'smoke'`."""
  return tuple(values[:count] if size == 'smoke' else values)


def resnet_10(dataset: str, norm: str, **options: Any) -> dict[str, Any]:
  """Returns IDC's ResNet-10: widths 32 to 256 on CIFAR, 64 to 512 elsewhere.

  Args:
    dataset: data-set name.
    norm: `'batch'` where it is tested, `'instance'` where it condenses.
    **options: further ones of `networks.resnet`.
  """
  spec = {'name': 'resnet', 'depth': 10, 'norm': norm, **options}
  if settings.plain_name(dataset).startswith('cifar'):
    spec['form'] = 'cifar_thin'
  return spec


def test_network(name: str, dataset: str) -> dict[str, Any] | None:
  """Returns a test network of IDC's tables; None: the one that condensed.

  Args:
    name: 'ConvNet-3', 'ResNet-10', 'DenseNet-121', ...
    dataset: data-set name.
  """
  if name == 'ResNet-10':
    return resnet_10(dataset, 'batch')
  return _NETWORKS[name]


def method_run(method: str, row: Row) -> Run | None:
  """Returns the run that a column of IDC's tables reads.

  Args:
    method: 'DSA', 'DM', 'DM+MF', 'DC', 'IDC-I', 'IDC', or a coreset or 'Full
      data', which read the run of IDC-I; anything else has no run.
    row: data set, ipc and changes.
  """
  dataset, ipc, _, changes = row
  if method in ('DC', 'DSA', 'DM', 'DM+MF'):
    changes = {**_baseline_changes(method, dataset), **changes}
    recipe, factor = method[:3].lower().rstrip('+'), 1 + ('+' in method)
    return Run(recipe, dataset, ipc, factor, changes)
  if method == 'IDC':
    factor = 3 if dataset.startswith('imagenet') else 2
    return Run('idc', dataset, ipc, factor, changes)
  if method == 'Full data':
    return Run('idc', dataset, _WHOLE_IPC, 1, changes)
  if method == 'IDC-I' or method in CORESETS:
    return Run('idc', dataset, ipc, 1, changes)
  return None


def _baseline_changes(method, dataset):
  """What the IDC paper changes in the methods that it compares with."""
  if dataset.startswith('imagenet'):  # protocol and epochs: see `config_of`
    return {'evaluation.family': 'idc', 'network': _RESNET_AP}
  changes = dict(_TESTED_AS_IDC) if method.startswith('DM') else {}
  if dataset == 'speech':  # as IDC's ConvNet-4
    changes['network'] = {**CONVNET, 'depth': 4}
  return changes


def in_eight_bits(dataset: str, ipc: int) -> dict[str, Run]:
  """Plain IDC and DM in 8-bit images, which other methods' sets stand beside.

  Args:
    dataset: data-set name.
    ipc: stored images per class.

  Returns:
    Label -> run.
  """
  changes = {'storage': 'uint8'}
  return {
    'IDC, 8 bits': Run('idc', dataset, ipc, 2, changes),
    'DM, 8 bits': Run('dm', dataset, ipc, 1, changes),
  }


def method_cell(method: str, row: Row, **measure: Any) -> Cell | None:
  """Returns the cell of a method; `measure` are fields of `Accuracy`."""
  run = method_run(method, row)
  if run is None:
    return None
  images = {**CORESETS, 'Full data': 'whole'}.get(method, 'condensed')
  network = test_network(row.network, row.dataset)
  return Cell(run, Accuracy(images, network, **measure))


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
