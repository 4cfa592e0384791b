"""Condensation into a generative model, Tables 6 to 8: its parts."""

from dcjax.runs.tables import _generative, _methods as common
from dcjax.runs.tables._types import Cell, Table

TITLE = 'Generative model, Tables 6 to 8: condition, codes and losses, ipc 10'
DATASETS = ('cifar10', 'cifar100', 'imagenet100')
# What a row changes; None is published only.
_ROWS = {
  'condition: one-hot': {'method.condition': 'one_hot'},
  'condition: online feature': {'method.condition': 'online'},
  'condition: class feature': {},
  'codes: uniform sample': {'method.codes': 'gaussian'},
  'codes: random with threshold': {'method.codes': 'truncated'},
  'codes: learned': {},
  'losses: real': None,
  'losses: feature': {'method.intra': 0.0, 'method.inter': 0.0},
  'losses: feature, intra': {'method.inter': 0.0},
  'losses: feature, inter': {'method.intra': 0.0},
  'losses: feature, intra, inter': {},
}
_NUMBERS = {
  'cifar10': '62.2 64.0 66.2 55.3 55.9 66.2 63.2 64.7 64.9 65.4 66.2',
  'cifar100': '38.1 39.9 41.9 27.1 28.4 41.9 37.2 39.1 39.4 40.8 41.9',
  'imagenet100': '20.5 22.1 26.6 12.2 12.5 26.6 20.1 23.4 23.5 25.3 26.6',
}
# Soft labels are for ImageNet-1k only.
_HARD = {'imagenet100': {'method.soft_labels': False}}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  rows = dict(common.few(size, list(_ROWS.items()), 1))
  numbers = {}
  for dataset in datasets:
    lines = '\n'.join(_NUMBERS.get(dataset, '').split())
    numbers |= common.numbers(
      dataset, DATASETS, tuple(_ROWS), (dataset,), lines
    )

  def make(changes, dataset):
    if changes is None:
      return None
    own = _HARD.get(dataset, {})
    return Cell(_generative.run(dataset, 10, {**own, **changes}))

  return Table(
    TITLE,
    _generative.PAPER,
    tuple(rows),
    datasets,
    common.fill(rows, {name: name for name in datasets}, make),
    numbers,
    note=(
      f"{_generative.UNKNOWN} The paper's 100 classes of ImageNet are not "
      "named; here they are IDC's, at 64 pixels. The loss that tells real "
      'images from synthetic ones by their pixels is published only.'
    ),
  )
