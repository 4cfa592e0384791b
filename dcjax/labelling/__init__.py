"""Soft labels from an ensemble of observers, online, stored, or per image.

Three ways to label a condensed set, from dear to cheap:

* `online`: the teachers label every augmented batch while the student trains;
* `store` and `replayed` (FKD): crops of the images are drawn once, and their
  logits kept with what it takes to make the same crops again;
* `soft_labels`: one label per image, of the image as it is.

A teacher's answer is the mean of the logits of its networks, in eval mode.
"""

from dcjax.labelling._ensemble import (
  LOSSES,
  LabelledBatch,
  TaughtSet,
  ensemble_logits,
  online,
  soft_labels,
  student_loss,
  teacher_bytes,
)
from dcjax.labelling._stored import (
  StoredLabels,
  StoredSet,
  check_stored,
  load_labels,
  replay,
  replayed,
  save_labels,
  store,
)

__all__ = [
  'LOSSES',
  'LabelledBatch',
  'StoredLabels',
  'StoredSet',
  'TaughtSet',
  'check_stored',
  'ensemble_logits',
  'load_labels',
  'online',
  'replay',
  'replayed',
  'save_labels',
  'soft_labels',
  'store',
  'student_loss',
  'teacher_bytes',
]
