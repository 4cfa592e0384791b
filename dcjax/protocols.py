"""How networks are trained on a condensed set in the papers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dcjax.utils import check_at_least


class Protocol(NamedTuple):
  """How a network is trained and tested.

  Attributes:
    epochs: passes over the training set.
    batch_size: the last, shorter batch of a pass is used; it is filled up with
      images of the same pass at weight 0, which only BatchNorm's batch
      statistics see (the references' batch is really shorter).
    learning_rate: at the start.
    momentum: of SGD.
    weight_decay: of SGD, added to the gradient; of AdamW, of weights only; of
      Adam, none may be given.
    drops: fractions of the epochs after which the rate is multiplied by
      `drop_factor`, at whole epochs.
    drop_factor: see `drops`.
    clear_momentum: whether momentum is cleared at the first drop (DC).
    test_points: fractions of the epochs after which the network is tested;
      must end with 1.
    optimizer: `'sgd'`, or `'adamw'` and `'adam'`, which have no momentum.
    schedule: `'drops'` as above, `'smoothing'`, `'ssrs'` or `'warmup'`, by
      epoch; see `optimizers.smoothing_schedule`.
    zeta: of these three schedules; `'smoothing'` with 1 is a cosine to 0.
    average_rate: of the exponential average of the weights that is tested in
      their place, with the live statistics of BatchNorm; None for none.
    debias: whether the first weights leave no trace in that average; see
      `optimizers.with_average`.
    loss: `'cross_entropy'`, or `'squared'` (see `losses.squared_error`), for
      sets with centred labels.
  """

  epochs: int = 1000
  batch_size: int = 64
  learning_rate: float = 0.01
  momentum: float = 0.9
  weight_decay: float = 5e-4
  drops: tuple[float, ...] = (2 / 3, 5 / 6)
  drop_factor: float = 0.2
  clear_momentum: bool = False
  test_points: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
  optimizer: str = 'sgd'
  schedule: str = 'drops'
  zeta: float = 1.0
  average_rate: float | None = None
  debias: bool = False
  loss: str = 'cross_entropy'


def idc_protocol(epochs: int = 1000) -> Protocol:
  """IDC on small images: rate x0.2 at 2/3 and 5/6, tested four times."""
  return Protocol(epochs=epochs)


def imagenet100_protocol(epochs: int = 1300) -> Protocol:
  """IDC on ImageNet-100: batch 128, rate 0.1, weight decay 1e-4.

  These are the values of the published code; the paper says rate 0.01. The
  epochs are those of `imagenet_epochs`.
  """
  return Protocol(
    epochs=epochs, batch_size=128, learning_rate=0.1, weight_decay=1e-4
  )


def dc_protocol(epochs: int = 300) -> Protocol:
  """DC: batch 256, rate x0.1 and momentum cleared once, just after half-time.

  The reference makes one pass more than it is told, and lowers the rate after
  the pass that it counts, from zero, as `epochs // 2 + 1`.
  """
  passes = epochs + 1
  return Protocol(
    epochs=passes,
    batch_size=256,
    drops=((epochs // 2 + 2) / passes,),
    drop_factor=0.1,
    clear_momentum=True,
    test_points=(1.0,),
  )


def dm_protocol(epochs: int = 1000) -> Protocol:
  """DSA and DM: DC's protocol with 1000 epochs."""
  return dc_protocol(epochs)


def edc_protocol(
  epochs: int = 1000, batch_size: int = 50, zeta: float = 2.0
) -> Protocol:
  """EDC: AdamW, smoothing schedule, averaged weights, tested at the end too.

  Shao et al. (NeurIPS 2024), appendix. Small sets have 1000 epochs in batches
  of 50, ImageNet-1k and Tiny-ImageNet 300 in batches of 100. `edc_cifar10` is
  CIFAR-10's: batches of 25 and halves at 80, 90 and 95 percent.

  Args:
    epochs: passes over the condensed set.
    batch_size: small; stored labels must have been made for it.
    zeta: 1 to 3; 2 is the paper's.
  """
  return Protocol(
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=1e-3,
    weight_decay=0.01,
    optimizer='adamw',
    schedule='smoothing',
    zeta=zeta,
    average_rate=0.99,
    test_points=(0.8, 0.9, 1.0),
  )


def edc_cifar10_protocol(epochs: int = 1000) -> Protocol:
  """EDC on CIFAR-10: batch 25, rate halved at 80, 90 and 95 percent."""
  return edc_protocol(epochs, 25)._replace(
    schedule='drops', drops=(0.8, 0.9, 0.95), drop_factor=0.5
  )


# What RDED changes for a student, on a data set or (None) on any.
_RDED_STUDENTS: dict[tuple[str, str | None], dict[str, Any]] = {
  ('mobilenet_v2', None): {'learning_rate': 2.5e-3},
  ('convnet3', 'cifar100'): {'learning_rate': 2e-3, 'batch_size': 25},
}


def rded_protocol(
  epochs: int = 300,
  batch_size: int = 50,
  *,
  network: str = 'resnet18',
  dataset: str = '',
) -> Protocol:
  """RDED: AdamW, smoothing schedule with zeta 2, no averaged weights.

  Batches of 10, 50 and 100 at 1, 10 and 50 images per class. The published
  scripts train MobileNetV2 at 0.0025, and ConvNet-3 on CIFAR-100 at 0.002 in
  batches of 25; every other network at 0.001.

  Args:
    epochs: passes over the set.
    batch_size: see `edc_protocol`.
    network: the student, `'mobilenet_v2'`, `'convnet3'` or any other.
    dataset: published set whose settings are taken; `'cifar100'` or any other.
  """
  protocol = edc_protocol(epochs, batch_size)._replace(average_rate=None)
  for (name, where), values in _RDED_STUDENTS.items():
    if name == network and where in (None, dataset):
      protocol = protocol._replace(**values)
  return protocol


def sre2l_protocol(epochs: int = 300, batch_size: int = 1024) -> Protocol:
  """SRe2L on ImageNet-1k: AdamW, cosine to 0; CIFAR-100 has 400 and 128."""
  return rded_protocol(epochs, batch_size)._replace(zeta=1.0)


def gvbsm_protocol(epochs: int = 1000, batch_size: int = 100) -> Protocol:
  """G-VBSM on CIFAR-10: SRe2L's, without weight decay."""
  return sre2l_protocol(epochs, batch_size)._replace(weight_decay=0.0)


def with_equal_updates(
  protocol: Protocol, count: int, reference: int
) -> Protocol:
  """Gives a set of one size as many updates as another one has.

  Protocols count epochs, and a set of a quarter of the images then gets about a
  quarter of the updates: a multi-formation set of factor 2 is decoded to four
  times the images of a random one that takes as much storage. Drops and test
  points stay where they are in the training; the epochs are rounded.

  Args:
    protocol: of the larger set, by epochs.
    count: images of the set to be trained on.
    reference: images of the set whose updates it gets.

  Raises:
    ValueError: if a number of images is below 1.

  Example:
    >>> with_equal_updates(idc_protocol(300), 100, 400).epochs
    1050
  """
  check_at_least('count', count, 1)
  check_at_least('reference', reference, 1)
  steps, wanted = (-(-n // protocol.batch_size) for n in (count, reference))
  return protocol._replace(
    epochs=max(1, round(protocol.epochs * wanted / steps))
  )


def frepo_protocol(epochs: int = 1000, batch_size: int = 500) -> Protocol:
  """FRePo: squared error to centred labels, Adam, averaged weights.

  Zhou, Nezhadarya & Ba (NeurIPS 2022). Epochs are updates of sets that fit in
  one batch; the paper counts updates: 1000, and for CIFAR-100 2000 at 10 images
  a class, 5000 at 50. The training set must be made with centred labels; see
  `evaluation.training_set`. The published augmentation makes six operations one
  after another; the config takes DSA's, one of six for a batch.

  Args:
    epochs: passes over the condensed set.
    batch_size: the published one is that of the set, and at most 500.
  """
  return Protocol(
    epochs=epochs,
    batch_size=batch_size,
    learning_rate=3e-4,
    momentum=0.0,
    weight_decay=0.0,
    drops=(),
    optimizer='adam',
    average_rate=0.995,
    debias=True,
    loss='squared',
    test_points=(1.0,),
  )


def rat_bptt_protocol(epochs: int = 3000, batch_size: int = 500) -> Protocol:
  """RaT-BPTT: Adam at a fixed rate, tested four times.

  Feng, Vedantam & Kempe (ICLR 2024). Networks learn as those do whose training
  is differentiated, for 3000 updates; tests are after 300, 600, 1000 and 3000,
  of which the paper prints the best.

  Args:
    epochs: passes over the condensed set.
    batch_size: the published one is that of the set, or an image a class where
      there are many classes.
  """
  return frepo_protocol(epochs, batch_size)._replace(
    learning_rate=1e-3,
    average_rate=None,
    debias=False,
    loss='cross_entropy',
    test_points=(0.1, 0.2, 1 / 3, 1.0),
  )


def label_distillation_protocol(
  epochs: int = 100, batch_size: int = 50
) -> Protocol:
  """Label distillation: Adam at a fixed rate, for a few hundred updates.

  Bohdal, Yang & Hospedales (2020). They make as many updates as networks did on
  average while labels were learned (the metric `network_updates` of a run);
  here it is 200. More changed nothing for 100 images of MNIST whose networks
  had served 200 label steps each: 84.4 to 84.5 after 200, 400 and 800.

  Args:
    epochs: passes over the base images.
    batch_size: the published ones are 10 for 10 and for 20 base images, 25 for
      50 and 50 for 100.
  """
  return frepo_protocol(epochs, batch_size)._replace(
    learning_rate=1e-3, average_rate=None, debias=False, loss='cross_entropy'
  )


def rcig_protocol(epochs: int = 2000, batch_size: int = 256) -> Protocol:
  """RCIG: squared error to centred labels, Adam, a rate that rises first.

  Loo, Hasani, Lechner & Rus (ICML 2023). The paper makes 2000 updates, and 1000
  for sets of ten images. Its code appends mirrored images to the set; here they
  come from the augmentation alone, which is FRePo's (see `frepo_protocol`).

  Args:
    epochs: passes over the condensed set.
    batch_size: the published one is that of the set, and at most 256.
  """
  return frepo_protocol(epochs, batch_size)._replace(
    learning_rate=1e-4, schedule='warmup', average_rate=None, debias=False
  )


def at_step_size(protocol: Protocol, step_size: float) -> Protocol:
  """A protocol at the learning rate that a set was made for.

  Cazenavette et al. (CVPR 2022) train test networks so, with everything else as
  in DM: `at_step_size(dm_protocol(), artefact.step_size)`.

  Args:
    protocol: how a network is trained.
    step_size: `Artefact.step_size`, or `Batch.step_size` of a decoded set.

  Raises:
    ValueError: if it is not one number above 0 and finite.
  """
  one = np.size(step_size) == 1 and np.isfinite(step_size).all()
  if not (one and np.all(np.asarray(step_size) > 0)):
    raise ValueError(
      f'step_size {step_size!r}: must be one number above 0 and finite; one '
      'that was learned below 0 wants a lower rate of its own'
    )
  return protocol._replace(learning_rate=float(np.reshape(step_size, ())))


_IMAGENET_EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))


def imagenet_epochs(ipc: int, factor: int, num_classes: int) -> int:
  """IDC's epochs on ImageNet subsets, by the number of decoded images.

  Args:
    ipc: stored images per class.
    factor: multi-formation factor; `ipc * factor**2` images are trained on.
    num_classes: from 100 on two thirds, rounded down to hundreds.

  Raises:
    ValueError: if a number is below 1.
  """
  for name, value in (('ipc', ipc), ('factor', factor)):
    check_at_least(name, value, 1)
  check_at_least('num_classes', num_classes, 1)
  decoded = ipc * factor**2
  epochs = next((e for most, e in _IMAGENET_EPOCHS if decoded <= most), 300)
  return epochs if num_classes < 100 else epochs * 2 // 3 // 100 * 100


PROTOCOLS: dict[str, Callable[..., Protocol]] = {
  'idc': idc_protocol,
  'imagenet100': imagenet100_protocol,
  'dc': dc_protocol,
  'dsa': dm_protocol,
  'dm': dm_protocol,
  'edc': edc_protocol,
  'edc_cifar10': edc_cifar10_protocol,
  'frepo': frepo_protocol,
  'rat_bptt': rat_bptt_protocol,
  'rcig': rcig_protocol,
  'rded': rded_protocol,
  'gvbsm': gvbsm_protocol,
  'label_distillation': label_distillation_protocol,
  'sre2l': sre2l_protocol,
}
