"""IDC, Table 9: a learnable upsampler in the place of the bilinear one."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table

TITLE = 'IDC, Table 9: bilinear upsampling and FSRCNN, factor 2 and 3'
DATASETS = ('cifar10',)
_NUMBERS = """
67.5 66.2 66.7 67.9
63.5 62.0 60.6 64.4
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset, networks = datasets[0], ('ConvNet-3', 'ResNet-10')
  runs = {}
  for factor in (2, 3):
    learnable = {'formation': 'learnable'}
    runs[f'factor {factor}, upsample'] = Run('idc', dataset, 10, factor)
    runs[f'factor {factor}, FSRCNN'] = Run(
      'idc', dataset, 10, factor, learnable
    )
  names = tuple(runs)
  runs = dict(common.few(size, list(runs.items()), 2))
  rows = {name: name for name in common.few(size, networks, 1)}
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(rows),
    tuple(runs),
    common.fill(
      rows,
      runs,
      lambda network, run: Cell(
        run, Accuracy(network=common.test_network(network, dataset))
      ),
    ),
    common.numbers(dataset, DATASETS, networks, names, _NUMBERS),
    note='ipc 10. The numbers of the FSRCNN are stored on top of the images.',
  )
