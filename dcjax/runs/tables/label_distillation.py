"""Label distillation: learned labels for real images."""

from dcjax.runs.tables import _sets
from dcjax.runs.tables._types import Accuracy, Table

TITLE = 'Label distillation, second order: LeNet (MNIST), AlexNet (CIFAR)'
DATASETS = ('mnist', 'cifar10', 'cifar100')
_NUMBERS = {
  'mnist': '60.9±3.2\n87.3±0.7\n93.3±0.3',
  'cifar10': '25.7±0.7\n38.3±0.4\n42.5±0.4',
  'cifar100': '11.5±0.4\n-\n-',
}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""

  def network(dataset, ipc):
    del ipc
    gray = dataset in ('mnist', 'fashion_mnist', 'digits')
    return {'network': {'name': 'lenet' if gray else 'alexnet'}}

  return _sets.table(
    TITLE,
    'Bohdal, Yang & Hospedales, "Flexible Dataset Distillation: Learn Labels '
    'Instead of Images", 2020, arXiv 2006.08572',
    'label_distillation',
    size,
    datasets,
    {'accuracy': Accuracy()},
    _NUMBERS,
    changes=network,
    note=(
      'Test networks make 200 updates by Adam, as networks do while labels are '
      'learned; in the paper their number is learned with the labels.'
    ),
  )
