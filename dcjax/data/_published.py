"""Published data sets without their images: sizes, for planning."""

import numpy as np

from dcjax.data import _dataset, _specs

# Training images of each class; test images in all; image shape.
_MNIST = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
_SVHN = (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659)
_SIZES = {
  'cifar10': ((5000,) * 10, 10000, (32, 32, 3)),
  'cifar100': ((500,) * 100, 10000, (32, 32, 3)),
  'fashion_mnist': ((6000,) * 10, 10000, (28, 28, 1)),
  'mnist': (_MNIST, 10000, (28, 28, 1)),
  'svhn': (_SVHN, 26032, (32, 32, 3)),
  # No class of ImageNet has more than 1,300 images; most have as many.
  'imagenet10': ((1300,) * 10, 500, (224, 224, 3)),
  'imagenet100': ((1300,) * 100, 5000, (224, 224, 3)),
  'tfds:imagenet2012': ((1300,) * 1000, 50000, (224, 224, 3)),
}


def blank(
  name: str, *, size: int = 0, grayscale: bool = False, window: int = 0
) -> _dataset.Dataset | None:
  """A set of a published one's sizes whose images are all black.

  They take no memory. What a program for these data does can be told from it.

  Args:
    name: as in `load`.
    size: side in pixels; 0: as published.
    grayscale: one channel.
    window: images of each class in memory; 0: all.

  Returns:
    The set, or None where sizes of that name are not known.
  """
  if name not in _SIZES:
    return None
  counts, tests, (side, _, channels) = _SIZES[name]
  if window:
    counts = tuple(min(count, window) for count in counts)
  channels = 1 if grayscale else channels
  shape = (size or side, size or side, channels)

  def images(number):
    return np.broadcast_to(np.uint8(0), (number, *shape))

  known = 'imagenet' if side == 224 else name
  mean, std = _specs.NORMALIZATIONS[known]
  classes = np.arange(len(counts), dtype=np.int32)
  return _dataset.Dataset(
    name=name,
    images=images(sum(counts)),
    labels=np.repeat(classes, counts),
    test_images=images(tests),
    test_labels=np.resize(classes, tests),
    class_names=tuple(str(c) for c in classes),
    mean=mean[:channels],
    std=std[:channels],
  )


__all__ = ['blank']
