"""What the tables of the generative model share."""

from collections.abc import Mapping
from typing import Any

from dcjax.runs.tables._types import Run

PAPER = (
  'Zhang et al., "Dataset Condensation via Generative Model", 2023, arXiv '
  '2309.07698'
)
UNKNOWN = (
  'The paper gives no weights, sizes, batches or numbers of steps: see '
  'docs/generative.md for what was chosen.'
)
# ImageNet at 64 pixels, which a ConvNet of four blocks condenses.
WORDS = {
  'imagenet100': 'imagenet100:size=64',
  'imagenet1k': 'image_folder:size=64:window=256,like=imagenet1k',
}
_LARGE = {'network': {'name': 'convnet', 'depth': 4}}


def run(dataset: str, ipc: int, changes: Mapping[str, Any] = {}) -> Run:
  """Returns a condensation into a generative model.

  Args:
    dataset: data-set name; those of ImageNet are taken at 64 pixels.
    ipc: images per class.
    changes: of its settings.
  """
  large = _LARGE if dataset in WORDS else {}
  word = WORDS.get(dataset, dataset)
  return Run('generative', word, ipc, 1, {**large, **changes})
