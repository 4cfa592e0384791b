"""What students of relabelled sets see: crops and flips."""

from collections.abc import Sequence

from dcjax.augment._plain import random_crop, random_flip, random_resized_crop
from dcjax.augment._sequence import chain, normalise
from dcjax.base import Augment
from dcjax.utils import check_choice

CROPS = ('pad4', 'resized', 'none')
_PADDING = 4


def student_crops(
  mean: Sequence[float],
  std: Sequence[float],
  image_size: tuple[int, int],
  *,
  crop: str = 'resized',
  smallest_crop: float = 0.08,
  flip: bool = True,
) -> Augment:
  """Crops, mirrors and normalises images, each on its own.

  SRe2L's code trains students on CIFAR with `'pad4'`, those on larger images
  with `'resized'` from 0.08, EDC all of them with `'resized'` from 0.5. On
  small images the choice is worth many points, so that methods are to be
  compared under the crop each was published with, or under one for all.

  Args:
    mean: `[D]` of the normalisation.
    std: `[D]` of the normalisation.
    image_size: `(H, W)` of the images.
    crop: `'pad4'`: 4 black pixels on each side, of which a window of the old
      size is cut out; `'resized'`: see `random_resized_crop`; `'none'`.
    smallest_crop: share of the area that a resized crop keeps at least.
    flip: whether half of the images are mirrored.

  Returns:
    `(key, images [N, H, W, D] in [0, 1]) -> ` normalised images.

  Raises:
    ValueError: if the crop is unknown, or its share of the area out of range.

  Example:
    >>> seen = student_crops(dataset.mean, dataset.std, (32, 32), crop='pad4')
  """
  check_choice('crop', crop, CROPS)
  flips = (random_flip(),) if flip else ()
  last = normalise(mean, std)
  if crop == 'pad4':  # black is 0 before the normalisation only
    return chain(random_crop(_PADDING), *flips, last)
  if crop == 'none':
    return chain(*flips, last)
  resized = random_resized_crop(image_size, (smallest_crop, 1.0))
  return chain(last, resized, *flips)
