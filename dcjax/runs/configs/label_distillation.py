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
`schedule=short` makes 10 networks' worth of label steps instead of 100, which
is about the published 400 passes over the real images.
Published (ipc 1 / 10 / 50; LeNet for MNIST, AlexNet for CIFAR): MNIST 60.9 /
87.3 / 93.3, CIFAR-10 25.7 / 38.3 / 42.5, CIFAR-100 11.5 (ipc 1). Here the
network is ConvNet-3 unless `network=` names another. Test networks make as many
updates as networks do while labels are learned.
"""

from dcjax.protocols import label_distillation_protocol
from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke
_UPDATES = 200  # of a network


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('label_distillation', arg)


def _evaluation(chosen):
  """200 updates in half of the images, and of ten in all of them."""
  protocol = label_distillation_protocol()
  images = chosen.ipc * (100 if chosen.like == 'cifar100' else 10)
  batch = images if images <= 10 else min(images // 2, protocol.batch_size)
  epochs = _UPDATES // -(-images // batch)
  return dict(
    protocol='label_distillation',
    batch_size=max(1, batch),
    epochs=max(1, epochs),
    family='none',
  )


def values(chosen):
  return matching.base(
    chosen,
    outer=100,
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
      epochs=1,
      # About 1024 real images in a step.
      batch_real=10 if chosen.like == 'cifar100' else 102,
      network_batch_size=256,
      network_learning_rate=1e-3,
    ),
    evaluation=_evaluation(chosen),
  )


def short(chosen):
  """Ten networks."""
  epochs = _evaluation(chosen)['epochs']
  return matching.short(chosen, outer=10, evaluation=dict(epochs=epochs))
