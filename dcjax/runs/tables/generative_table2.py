"""Condensation into a generative model, Tables 2 and 3."""

from dcjax.runs.tables import _sets
from dcjax.runs.tables._types import Accuracy, Table

TITLE = 'Generative model, Tables 2 and 3: codes and a generator are stored'
DATASETS = (
  'mnist',
  'fashion_mnist',
  'svhn',
  'cifar10',
  'cifar100',
)
_NUMBERS = {
  'mnist': '93.7±0.9\n98.4±0.1\n99.2±0.1',
  'fashion_mnist': '79.2±1.0\n87.3±0.4\n88.8±0.3',
  'svhn': '51.8±2.2\n82.1±0.5\n84.4±0.5',
  'cifar10': '48.2±0.8\n66.2±0.5\n73.8±0.1',
  'cifar100': '26.1±0.3\n41.9±0.3\n48.5±0.2',
}


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the table for a size and its data sets."""
  return _sets.table(
    TITLE,
    'Zhang et al., "Dataset Condensation via Generative Model", 2023, arXiv '
    '2309.07698',
    'generative',
    size,
    datasets,
    {'ConvNet': Accuracy()},
    _NUMBERS,
    note=(
      'The paper gives no weights, sizes, batches or numbers of steps: see '
      'docs/generative.md for what was chosen.'
    ),
  )
