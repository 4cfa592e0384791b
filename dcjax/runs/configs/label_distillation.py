"""Label distillation: soft labels are learned for fixed real images.

Bohdal, Yang & Hospedales, 2020, https://arxiv.org/abs/2006.08572; settings of
the published code except for the deviations listed in
`methods.label_distillation`.

  # needs an accelerator
  python experiments/run.py
    --config=experiments/configs/label_distillation.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/labels

`method.form` is `second_order` (the default) or `ridge`. `method.learning_rate`
is that of the labels here, stepped by Adam: they are all that moves.
`schedule=short` makes 2,000 label steps instead of 19,600, which are the
published 400 passes over the real images (800 for more than 100 base images and
for CIFAR-100). A network is used until its error
stops falling (`method.patience`).
Published (ipc 1 / 10 / 50; LeNet for MNIST, AlexNet for CIFAR): MNIST 60.9 /
87.3 / 93.3, CIFAR-10 25.7 / 38.3 / 42.5, CIFAR-100 11.5 (ipc 1). Here the
network is ConvNet-3 unless `network=` names another. Test networks make 200
updates; what networks made on average while labels were learned is in the log
(`network_updates`).
"""

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke
_UPDATES = 200  # of a test network, and label steps of a period


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('label_distillation', arg)


def _base_images(chosen):
  return chosen.ipc * (100 if chosen.like == 'cifar100' else 10)


def _batch_size(chosen):
  """The published part of the base images in a step."""
  if chosen.like == 'cifar100':
    return 100
  images = _base_images(chosen)
  return max(min(images, 10), min(images // 2, 50))


def _patience(chosen):
  if chosen.like == 'cifar100':
    return 100
  return 200 if _base_images(chosen) > 100 else 50


def _evaluation(chosen):
  batch = _batch_size(chosen)
  updates = -(-_base_images(chosen) // batch)  # of an epoch
  return dict(
    protocol='label_distillation',
    batch_size=batch,
    epochs=max(1, _UPDATES // updates),
    family='none',
  )


def values(chosen):
  batch = _batch_size(chosen)
  in_classes = batch // (100 if chosen.like == 'cifar100' else 10)
  long = chosen.like == 'cifar100' or _base_images(chosen) > 100
  return matching.base(
    chosen,
    # 400 passes over 50,000 real images, or 800.
    outer=196 if long else 98,
    # Images are real ones, which keep to the range of their data set.
    clip=True,
    stored_labels='uniform',
    method=dict(
      name='label_distillation',
      form='second_order',
      unrolled_learning_rate=0.01,
      regularisation=1.0,
      learning_rate=1e-3,
      inner_steps=_UPDATES,
      # About 1024 real images in a step.
      batch_real=10 if chosen.like == 'cifar100' else 102,
      most_synthetic=max(1, in_classes),
      network_batch_size=batch,
      network_learning_rate=1e-3,
      patience=_patience(chosen),
    ),
    evaluation=_evaluation(chosen),
  )


def short(chosen):
  """A tenth of the label steps."""
  epochs = _evaluation(chosen)['epochs']
  return matching.short(chosen, outer=10, evaluation=dict(epochs=epochs))
