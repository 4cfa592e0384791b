"""IDC, Figure 5: networks early in their training condense best."""

from typing import Any

from dcjax.runs.tables import _methods as common
from dcjax.runs.tables._types import (
  Accuracy,
  Cell,
  ClassGradient,
  Plot,
  Run,
  Table,
)

TITLE = 'IDC, Figure 5: condensing with networks pretrained for some epochs'
DATASETS = ('imagenet10',)
_EPOCHS = (0, 1, 5, 10, 20, 50)
_COLUMNS = {
  'accuracy, %': Accuracy(),
  'gradient norm': ClassGradient('norm'),
  'pairwise similarity': ClassGradient('similarity'),
}


def _fixed_networks(size: str, epochs: int) -> dict[str, Any]:
  """Changes of IDC's run: networks are pretrained, and then stay."""
  changes = {'method.network_batches': 0, 'method.early_epochs': epochs}
  if size == 'reference':  # 50,000 steps with 20 networks, not 500
    changes |= {'outer': 20, 'method.inner_steps': 2500}
  return changes


def table(size: str, datasets: tuple[str, ...]) -> Table:
  """Returns the figure's numbers for a size and its data set."""
  dataset = datasets[0]
  runs = {
    f'epoch {n}': Run('idc', dataset, 10, 1, _fixed_networks(size, n))
    for n in common.few(size, _EPOCHS, 2)
  }
  return Table(
    TITLE,
    common.IDC_PAPER,
    tuple(runs),
    tuple(_COLUMNS),
    common.fill(runs, _COLUMNS, Cell),
    {},
    note=(
      'IDC-I, ipc 10. Networks train on real data for the epochs of a row and '
      'then stay as they are; a new one comes with every outer iteration (8 '
      'at size short, 20 at size reference: the paper says no number). Norm: '
      'L1, of the gradient of a batch of one class; similarity: mean cosine '
      'of the gradients of two of its images. The paper gives no numbers; '
      'dataset=cifar10 makes the figure without ImageNet.'
    ),
    plot=Plot('panels', 'rows', 'epochs of pretraining'),
  )
