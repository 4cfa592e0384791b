"""DC, Tables T2 and T9: what training and condensing took."""

from dcjax.runs.tables import _methods as common, dc_table3
from dcjax.runs.tables._types import Table

TITLE = 'DC, Tables T2 and T9: seconds, minutes and memory of a GPU'
DATASETS = ('mnist', 'fashion_mnist', 'svhn', 'cifar10')
_COLUMNS = (
  'training ConvNet-3, s',
  'condensing, min',
  'memory, MB',
  'accuracy',
)
# Whole set, DC with one and ten images a class.
_TRAINING = {
  'mnist': '773 - - -\n0.6 - - -\n1.3 - - -',
  'fashion_mnist': '776 - - -\n0.6 - - -\n1.3 - - -',
  'svhn': '931 - - -\n0.6 - - -\n1.3 - - -',
  'cifar10': '644 - - -\n0.6 - - -\n1.3 - - -',
}
# DD and DC with ten images a class: LeNet, AlexCifarNet.
_CONDENSING = {
  'mnist': '- 160 785 79.5±8.1\n- 46 653 93.9±0.6',
  'cifar10': '- 214 3211 36.8±1.2\n- 105 1445 39.1±1.2',
}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  rows, numbers, cells = (), {}, {}
  other = dc_table3.table(size, datasets).cells
  for dataset in datasets:
    new = tuple(f'{dataset}, {n}' for n in ('whole set', 'ipc 1', 'ipc 10'))
    text = _TRAINING.get(dataset, '')
    if dataset not in _TRAINING or dataset in _CONDENSING:
      condensed = tuple(f'{dataset}, ipc 10, {n}' for n in ('DD', 'DC'))
      new = (*new, *condensed)
      text += f'\n{_CONDENSING.get(dataset, "")}'
      ipc = 1 if size == 'smoke' else 10
      cells[condensed[1], 'accuracy'] = other[f'{dataset}, ipc {ipc}', 'DC']
    numbers |= common.numbers(dataset, DATASETS, new, _COLUMNS, text)
    rows += new
  return Table(
    TITLE,
    common.DC_PAPER,
    rows,
    _COLUMNS,
    cells,
    numbers,
    note=(
      'Times and memory are of one GTX 1080 Ti. Training: 100 epochs of '
      "ConvNet-3 on the whole set or on DC's images. Condensing: LeNet on "
      'MNIST, AlexCifarNet on CIFAR-10, in whose place here is the AlexNet of '
      '`dc_table3`.'
    ),
  )
