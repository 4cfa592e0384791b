"""RDED: crops that an observer finds easy, with ConvNet-3 and ResNet-18."""

from dcjax.runs.tables import _sets
from dcjax.runs.tables._types import Accuracy, Table

TITLE = 'RDED: ConvNet-3, observer and student'
DATASETS = ('cifar10',)
_NETWORK = {'name': 'convnet', 'norm': 'batch'}
_WORD = ('convnet:norm=batch',)


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  observers = {
    'observers.matching': _WORD,
    'observers.labelling': _WORD,
  }

  def changes(dataset, ipc):
    del dataset, ipc
    return {} if size == 'smoke' else {'network': _NETWORK, **observers}

  return _sets.table(
    TITLE,
    'Sun et al., "On the Diversity and Realism of Distilled Dataset", CVPR '
    '2024, arXiv 2312.03526',
    'rded',
    size,
    datasets,
    {'RDED': Accuracy(), 'random, same labels': Accuracy('random')},
    {'cifar10': '23.5±0.3 -\n50.2±0.3 -\n68.4±0.1 -'},
    changes=changes,
    note='ResNet-18 is a column of edc_table1.',
  )
