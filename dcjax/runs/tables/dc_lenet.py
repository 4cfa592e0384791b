"""DC, Table T8: images condensed with LeNet, across six kinds of networks."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import Accuracy, Cell, Run, Table
from dcjax.runs.tables.dc_table2 import NETWORKS

TITLE = 'DC, Table T8: condensed with LeNet, ipc 10, beside DD'
DATASETS = ('mnist',)
_NUMBERS = """
72.7±2.8 77.6±2.9 79.5±8.1 51.3±19.9 11.4±2.6 63.6±12.7
83.0±2.5 92.9±0.5 93.9±0.6 90.6±1.9  92.9±0.5 94.5±0.4
"""


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  dataset, names = datasets[0], tuple(NETWORKS)
  run = Run('dc', dataset, 10, 1, {'network': NETWORKS['LeNet']})
  taken = ('MLP', 'LeNet') if size == 'smoke' else names
  tested = {n: None if n == 'LeNet' else NETWORKS[n] for n in taken}
  return Table(
    TITLE,
    common.DC_PAPER,
    ('DD', 'DC'),
    taken,
    common.fill(
      {'DC': run},
      tested,
      lambda run, network: Cell(run, Accuracy(network=network)),
    ),
    common.numbers(dataset, DATASETS, ('DD', 'DC'), names, _NUMBERS),
    note='DD (Wang et al., 2018) is published only, by its own code.',
  )
