"""What the tables of EDC share: students, words of data sets, ablations."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

PAPER = (
  'Shao et al., "Elucidating the Design Space of Dataset Condensation", '
  'NeurIPS 2024, arXiv 2404.13733'
)
DATASETS = ('imagenet1k',)  # of all tables but the first
# Sets without a loader of their own are folders of pictures.
WORDS = {
  'tiny_imagenet': 'image_folder:size=64,like=tiny_imagenet',
  'imagenet1k': 'image_folder:size=224:window=256,like=imagenet1k',
}
FOLDERS = (
  'For ImageNet-1k `data_dir` is the folder itself, and the observers are '
  "torchvision's where `weights` names their folder."
)
_RESNET = {'name': 'resnet', 'norm': 'batch'}
STUDENTS: Mapping[str, Mapping[str, Any]] = {
  'ResNet-18': {**_RESNET, 'depth': 18},
  'ResNet-50': {**_RESNET, 'depth': 50},
  'ResNet-101': {**_RESNET, 'depth': 101},
  'MobileNet-V2': {'name': 'mobilenet_v2'},
  'EfficientNet-B0': {'name': 'efficientnet_b0', 'form': 'torchvision'},
  'DeiT-Tiny': {'name': 'deit_tiny'},
  'Swin-Tiny': {'name': 'swin_tiny'},
  'ConvNext-Tiny': {'name': 'convnext_tiny'},
  'ShuffleNet-V2': {'name': 'shufflenet_v2', 'width_multiplier': 0.5},
  'DenseNet-121': {'name': 'densenet121'},
}


class Row(NamedTuple):
  """What makes a row of an ablation.

  Attributes:
    recipe: config of the method.
    ipc: stored images per class.
    changes: of the run.
    tested: changes of the evaluation alone.
    rates: student -> learning rate, where it is not that of the others.
  """

  recipe: str = 'edc'
  ipc: int = 10
  changes: Mapping[str, Any] = {}
  tested: Mapping[str, Any] = {}
  rates: Mapping[str, float] = {}


def run(recipe: str, dataset: str, ipc: int, changes: Mapping[str, Any]) -> Run:
  """Returns a run; four crops share an image of RDED's on ImageNet.

  Args:
    recipe: config of the method.
    dataset: data-set name; see `WORDS`.
    ipc: stored images per class.
    changes: of its settings.
  """
  tiles = 2 if recipe == 'rded' and dataset.startswith('imagenet') else 1
  return Run(recipe, WORDS.get(dataset, dataset), ipc, tiles, changes)


def rung(letter: str, **tested: Any) -> Row:
  """Returns a configuration of EDC's ladder, A to G; G is EDC itself.

  Args:
    letter: of the configuration.
    **tested: fields of the evaluation, as `zeta`.
  """
  changes = {} if letter == 'G' else {'configuration': letter}
  fields = {f'evaluation.{name}': value for name, value in tested.items()}
  return Row(changes=changes, tested=fields)


def ablation(
  title: str,
  size: str,
  datasets: tuple[str, ...],
  rows: Mapping[str, Row | None],
  columns: tuple[str, ...],
  text: str,
  note: str = '',
) -> Table:
  """Makes a table with a student in every column.

  Args:
    title: see `Table`.
    size: see `load`.
    datasets: the first one is taken.
    rows: label -> what makes it; None is published only.
    columns: of `STUDENTS`; others are published only.
    text: published numbers on ImageNet-1k.
    note: see `Table`.
  """
  dataset = datasets[0]
  numbers = common.numbers(dataset, DATASETS, tuple(rows), columns, text)
  taken = dict(common.few(size, list(rows.items()), 1))
  columns = common.few(size, columns, 1)

  def make(row, student):
    if row is None or student not in STUDENTS:
      return None
    tested = dict(row.tested)
    if student in row.rates:
      tested['evaluation.learning_rate'] = row.rates[student]
    # The config's own student, which is ResNet-18 but for short schedules.
    own = student == 'ResNet-18' and size != 'short'
    network = None if own else STUDENTS[student]
    made = run(row.recipe, dataset, row.ipc, row.changes)
    return Cell(made, Accuracy(network=network, changes=tested))

  return Table(
    title,
    PAPER,
    tuple(taken),
    columns,
    common.fill(taken, {name: name for name in columns}, make),
    numbers,
    note=f'{note} {FOLDERS}'.strip(),
  )
