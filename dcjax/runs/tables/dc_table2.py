"""DC, Table 2: one image per class across six kinds of networks."""

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._grids import DATASETS, grid
from dcjax.runs.tables._types import Table

TITLE = 'DC, Table 2: condense with each network, test with each'
_NUMBERS = """
70.5±1.2 63.9±6.5 77.3±5.8 70.9±11.6 53.2±7.0 80.9±3.6
69.6±1.6 91.6±0.5 85.3±1.8 85.1±3.0 83.4±1.8 90.0±0.8
71.0±1.6 90.3±1.2 85.0±1.7 84.7±2.4 80.3±2.7 89.0±0.8
72.1±1.7 87.5±1.6 84.0±2.8 82.7±2.9 81.2±3.0 88.9±1.1
70.3±1.6 90.1±0.7 83.9±2.7 83.4±3.7 81.7±2.6 89.1±0.9
73.6±1.2 91.6±0.5 86.4±1.5 85.4±1.9 83.4±2.4 89.4±0.9
"""
_RESNET = {'name': 'resnet', 'depth': 18, 'form': 'dc'}
NETWORKS = {
  'MLP': {'name': 'mlp'},
  'ConvNet': common.CONVNET,
  'LeNet': {'name': 'lenet'},
  'AlexNet': {'name': 'alexnet'},
  'VGG': {'name': 'vgg11', 'norm': 'instance'},
  'ResNet': {**_RESNET, 'norm': 'instance'},
}
# What condenses has batch norm, and average pooling for strides.
_CONDENSING = {
  'VGG': {'name': 'vgg11', 'norm': 'batch'},
  'ResNet': {
    **_RESNET,
    'norm': 'batch',
    'average_pooling': True,
    'global_pooling': False,
  },
}

__all__ = ['DATASETS', 'TITLE', 'table']


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data set."""
  return grid(
    TITLE,
    size,
    datasets,
    NETWORKS,
    _NUMBERS,
    smoke=('MLP', 'ConvNet'),
    condensing=_CONDENSING,
    # A tenth of the size's rate.
    changes={
      'MLP': {'method.learning_rate': 0.01 if size == 'reference' else 0.1}
    },
    note=(
      'ipc 1. Columns are the networks that are tested. VGG and ResNet '
      'condense with batch norm and are tested with instance norm.'
    ),
  )
