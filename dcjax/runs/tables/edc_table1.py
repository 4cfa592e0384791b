"""EDC, Table 1: EDC beside SRe2L, G-VBSM and RDED, and larger students."""

from dcjax.runs.tables import _sets
from dcjax.runs.tables._types import Accuracy, Cell, Table

TITLE = 'EDC, Table 1: statistics matching with soft labels, ResNet-18'
DATASETS = ('cifar10', 'cifar100', 'tiny_imagenet', 'imagenet10', 'imagenet1k')
_METHODS = {'SRe2L': 'sre2l', 'G-VBSM': 'gvbsm', 'RDED': 'rded'}
# Sets without a loader of their own are folders of pictures.
_WORDS = {
  'tiny_imagenet': 'image_folder:size=64,like=tiny_imagenet',
  'imagenet1k': 'image_folder:size=224:window=256,like=imagenet1k',
}
_STUDENTS = {
  'EDC, ResNet-50': {'name': 'resnet', 'depth': 50, 'norm': 'batch'},
  'EDC, ResNet-101': {'name': 'resnet', 'depth': 101, 'norm': 'batch'},
  'EDC, MobileNet-V2': {'name': 'mobilenet_v2'},
}
_NUMBERS = {
  'cifar10': """
-    -    22.9 32.6±0.1 30.6 26.1 20.2
27.2 53.5 37.1 79.1±0.3 76.0 67.1 42.0
47.5 59.2 62.1 87.0±0.1 86.9 85.8 70.8
""",
  'cifar100': """
2.0  25.9 11.0 39.7±0.1 36.1 32.3 10.6
31.6 59.5 42.6 63.7±0.3 62.1 61.7 44.3
49.5 65.0 62.6 68.6±0.2 69.4 68.5 59.5
""",
  'tiny_imagenet': """
-    -    9.7  39.2±0.4 35.9 40.6 18.8
-    -    41.9 51.2±0.5 50.2 51.6 40.6
41.1 47.6 58.2 57.2±0.2 58.8 58.6 50.7
""",
  'imagenet10': """
-    -    24.9 45.2 38.2 36.4 36.4
-    -    53.3 63.4 62.4 59.8 54.2
-    -    75.5 82.2 80.8 80.8 80.2
""",
  'imagenet1k': """
-    -    6.6  12.8     13.3 12.2 8.4
21.3 31.4 42.0 48.6±0.3 54.1 51.7 45.0
46.8 51.8 56.5 58.0±0.2 64.3 64.9 57.8
""",
}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  students = {} if size == 'smoke' else _STUDENTS
  columns = {
    **dict.fromkeys(_METHODS),
    'EDC': Accuracy(),
    **{label: Accuracy(network=student) for label, student in students.items()},
  }
  made = _sets.table(
    TITLE,
    'Shao et al., "Elucidating the Design Space of Dataset Condensation", '
    'NeurIPS 2024, arXiv 2404.13733',
    'edc',
    size,
    datasets,
    columns,
    {} if size == 'smoke' else _NUMBERS,
    words=_WORDS,
    note=(
      'Students are ResNet-18 where none is named. For Tiny-ImageNet and '
      'ImageNet-1k `data_dir` is the folder itself; make them with `only=`.'
    ),
  )
  others = {
    (row, label): Cell(cell.run._replace(recipe=recipe))
    for (row, column), cell in made.cells.items()
    for label, recipe in _METHODS.items()
    if column == 'EDC' and size != 'smoke'
  }
  return made._replace(cells=dict(made.cells) | others)
