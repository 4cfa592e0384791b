"""What IDC's published settings are for each data set."""

from typing import Any

from dcjax.evaluation import imagenet_epochs

# Data set -> distance, learning rate, network batches of an image step.
_PUBLISHED = {
  'digits': ('l1', 0.05, 8),
  'mnist': ('l1', 1e-4, 8),
  'fashion_mnist': ('l1', 1e-4, 8),
  'svhn': ('squared', 5e-3, 8),
  'cifar10': ('squared', 5e-3, 32),
  'cifar100': ('squared', 5e-3, 32),
  'speech': ('l1', 3e-3, 8),
  'imagenet10': ('l1', 3e-3, 8),
  'imagenet100': ('l1', 1e-3, 4),
}
_CLASSES = {'imagenet10': 10, 'imagenet100': 100}


def is_imagenet(like: str) -> bool:
  """Whether a data set takes the settings of an ImageNet subset."""
  return like in _CLASSES


def is_speech(like: str) -> bool:
  """Whether a data set takes the settings of spectrograms."""
  return like in ('speech', 'wav_folder')


def changes(chosen: Any) -> dict[str, Any]:
  """Distance, rate and batches of a data set, and what else it changes."""
  like = 'speech' if is_speech(chosen.like) else chosen.like
  distance, rate, batches = _PUBLISHED.get(like, _PUBLISHED['cifar10'])
  method = dict(distance=distance, learning_rate=rate, network_batches=batches)
  if is_speech(like):
    return dict(
      formation='time_axis',
      outer=1000,
      method=method | dict(network_learning_rate=3e-4),
    )
  if is_imagenet(like):
    made = _imagenet(chosen)
    return made | dict(method=method | made['method'])
  return dict(method=method)


def _imagenet(chosen):
  """ImageNet subsets; the sizes of ImageNet-100 are those of its own script.

  The published ImageNet-100 was condensed in five processes of 20 classes, with
  64 real images of each class in a step; networks of a pool were trained, and
  go on, with batches of 128.
  """
  classes = _CLASSES[chosen.like]
  made: dict[str, Any] = dict(
    outer=500,
    # All decoded images are trained on, also where `bound` condenses fewer.
    evaluation=dict(epochs=imagenet_epochs(chosen.ipc, chosen.factor, classes)),
    augment=dict(
      evaluate='imagenet',
      mix='cutmix:probability=1.0',
      train_mix='cutmix:probability=1.0',
    ),
    # Activations of one class at 224 pixels fill a device.
    execution=dict(classes='scan'),
  )
  if chosen.factor >= 3 and chosen.ipc >= 20:
    made['formation'] = 'bound:cap=128'
  if classes < 100:
    return made | dict(method=dict(early_epochs=10))
  made['evaluation']['protocol'] = 'imagenet100'
  return made | dict(
    method=dict(
      network_batch_size=128,
      network_learning_rate=0.1,
      network_weight_decay=1e-4,
      pool_networks=10,
    )
  )
