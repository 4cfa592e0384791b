"""How well single classes are told apart."""

from typing import Any

import numpy as np

from dcjax.data import Dataset

# A matrix of more classes is neither kept nor drawn.
_MOST_CLASSES = 100


def told_apart(
  predicted: np.ndarray, dataset: Dataset, name: str
) -> dict[str, Any]:
  """Accuracy by class, and which classes are taken for which.

  Args:
    predicted: `[S, M]` classes that `S` networks see in the test images.
    dataset: whose test images these are, of `K` classes.
    name: of the evaluation; the matrix is that of `'condensed'` alone.

  Returns:
    `'by_class'`, `K` fractions, None where a class has no test image, and
    `'confusion'`, `K` rows of true classes with the numbers of images of all
    networks by predicted class, of at most 100 classes.

  Example:
    >>> found = told_apart(dataset.test_labels[None], dataset, 'condensed')
    >>> found['by_class'][:3]  # all are right
    [1.0, 1.0, 1.0]
  """
  num_classes = dataset.num_classes
  answers = np.broadcast_to(dataset.test_labels, predicted.shape)
  places = (answers * num_classes + predicted).ravel()
  counts = np.bincount(places, minlength=num_classes**2)
  counts = counts.reshape(num_classes, num_classes)
  rows = zip(counts.diagonal().tolist(), counts.sum(1).tolist(), strict=True)
  found = {'by_class': [a / b if b else None for a, b in rows]}
  if name == 'condensed' and num_classes <= _MOST_CLASSES:
    found['confusion'] = counts.tolist()
  return found
