"""The data set type, its checks, and data sets from arrays."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dcjax.data import _checks
from dcjax.data._channels import channel_statistics, usable_deviations
from dcjax.data._checks import check_dataset
from dcjax.utils import check_choice

if TYPE_CHECKING:
  from dcjax.data._stream import Windows
  from dcjax.whitening import Zca


class DataWarning(UserWarning):
  """Something about a data set that is in its `notes` too."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """A labelled image set in host memory, with a training and a test part.

  M is the number of training images, M' that of test images. Images are stored
  unnormalised; `images / scale` is in `value_range`, and
  `(images / scale - mean) / std` is what networks see.

  Attributes:
    name: for reports and messages.
    images: `[M, H, W, D]`, uint8, or float32 (spectrograms, [0, 1] images).
    labels: `[M]` int32 in 0..C-1; every class has at least one image.
    test_images: `[M', H, W, D]`, dtype as `images`.
    test_labels: `[M']` int32 in 0..C-1; may lack classes.
    class_names: one name per class, in label order; defines C.
    mean: per channel, after division by `scale`.
    std: per channel, after division by `scale`; above 0.
    scale: 255.0 for uint8, 1.0 for float32.
    value_range: (lowest, highest) value of scaled training images, to which
      synthetic images are clamped; None leaves that side unbounded.
    extra: JSON-able facts about the features, recorded in artefacts.
    zca: how the images were whitened, None if they were not; see `whitened`.
    stream: where `images` are a window onto a larger training set, the windows
      that follow; None if `images` are all. Their `labels` are the same.
    notes: sentences about what was left out or changed when it was read, which
      a program should show; also given as `DataWarning`.

  Raises:
    ValueError: a field contradicts the above; see `check_dataset`.
  """

  name: str
  images: np.ndarray
  labels: np.ndarray
  test_images: np.ndarray
  test_labels: np.ndarray
  class_names: tuple[str, ...]
  mean: tuple[float, ...]
  std: tuple[float, ...]
  scale: float = 255.0
  value_range: tuple[float | None, float | None] = (0.0, 1.0)
  extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  zca: 'Zca | None' = None
  stream: 'Windows | None' = None
  notes: tuple[str, ...] = ()

  def __post_init__(self):
    check_dataset(self)

  def __repr__(self) -> str:
    size = 'x'.join(map(str, self.image_shape))
    return (
      f'<Dataset {self.name}: {self.num_classes} classes, {len(self.images)} '
      f'training and {len(self.test_images)} test images {size} '
      f'{self.images.dtype}>'
    )

  @property
  def num_classes(self) -> int:
    """C."""
    return len(self.class_names)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(H, W, D)."""
    return self.images.shape[1:]

  @property
  def counts(self) -> np.ndarray:
    """Training images of each class, `[C]` int32."""
    return _count(self.labels, self.num_classes)

  def class_index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns where each class's training images are.

    Returns:
      order: `[M]` int32, image numbers sorted by class, else in stored order.
      offsets: `[C]` int32, where each class starts in `order`.
      counts: `[C]` int32. Class c is `order[offsets[c]:][:counts[c]]`.
    """
    order = np.argsort(self.labels, kind='stable').astype(np.int32)
    counts = self.counts
    offsets = (np.cumsum(counts) - counts).astype(np.int32)
    return order, offsets, counts

  def class_images(self, c: int) -> np.ndarray:
    """Returns the training images of class `c`, `[N, H, W, D]`, as stored.

    Raises:
      ValueError: `c` is not in 0..C-1.
    """
    if not 0 <= c < self.num_classes:
      raise ValueError(
        f'class {c} does not exist in {self.name!r}; '
        f'allowed are 0..{self.num_classes - 1}.'
      )
    return self.images[self.labels == c]

  def whitened(self, form: str = 'mtt') -> 'Dataset':
    """Returns this data set with ZCA-whitened training and test images.

    The whitening is fitted on all training images in [0, 1] (see
    `dcjax.whitening`) and kept as `zca`. Whitened images are float32, centred
    and of no bounded range: `mean` is 0, `std` and `scale` are 1.

    Example:

      data.load('cifar10', folder).whitened('kip')

    Args:
      form: 'mtt' (constant regulariser), 'kip' (relative to the mean
        eigenvalue) or 'kip_unit' (the same of images of one length); see
        `whitening.FORMS`.

    Raises:
      ValueError: `form` is unknown, the images are not in [0, 1] (such as
        spectrograms and images that are whitened already), or only a window of
        them is in memory.
    """
    from dcjax import whitening

    check_choice('zca', form, whitening.FORMS)
    if self.stream is not None:
      raise ValueError(
        f'zca {form!r}: needs all training images of {self.name} in memory; '
        'allowed is window None.'
      )
    if tuple(self.value_range) != (0.0, 1.0):
      raise ValueError(
        f'zca {form!r}: {self.name} has value_range {self.value_range}; '
        'allowed is (0.0, 1.0), images that are not whitened yet.'
      )
    zca = whitening.fit(self.images, **whitening.FORMS[form])
    channels = self.images.shape[-1]
    return dataclasses.replace(
      self,
      images=whitening.apply_to_set(zca, self.images),
      test_images=whitening.apply_to_set(zca, self.test_images),
      mean=(0.0,) * channels,
      std=(1.0,) * channels,
      scale=1.0,
      value_range=(None, None),
      zca=zca,
    )


def from_arrays(
  images: np.ndarray,
  labels: np.ndarray,
  test_images: np.ndarray | None = None,
  test_labels: np.ndarray | None = None,
  *,
  name: str = 'arrays',
  class_names: Sequence[str] | None = None,
  mean: Sequence[float] | None = None,
  std: Sequence[float] | None = None,
  value_range: tuple[float | None, float | None] = (0.0, 1.0),
  test_fraction: float = 0.2,
  seed: int = 0,
  extra: Mapping[str, Any] | None = None,
  notes: Sequence[str] = (),
) -> Dataset:
  """Returns a `Dataset` of arrays.

  Example:

    data = from_arrays(images, labels)  # uint8 [M, H, W, 3], int [M]

  Args:
    images: `[M, H, W, D]`, or `[M, H, W]` for one channel; uint8, or floating
      point in `value_range`, which is kept as float32.
    labels: `[M]` integers 0..C-1.
    test_images: as `images`. Without them `test_fraction` of every class is
      held out by `stratified_split` and removed from the training images.
    test_labels: as `labels`; given exactly if `test_images` is.
    name: for reports and messages.
    class_names: C different names, texts or UTF-8 bytes; by default the largest
      label decides C, and the numbers are the names.
    mean: per channel, of images scaled to [0, 1] (uint8) or as they are
      (float); by default that of the training images.
    std: as `mean`; by default 1, with a note, for a channel that is constant.
    value_range: allowed values after scaling; None leaves a side unbounded.
    test_fraction: held-out part of every class, in (0, 1).
    seed: of the held-out draw.
    extra: JSON-able facts for `Dataset.extra`.
    notes: for `Dataset.notes`; each is given as a `DataWarning`.

  Raises:
    ValueError: arrays contradict each other or `Dataset`.
  """
  if (test_images is None) != (test_labels is None):
    raise ValueError(
      'test_images and test_labels must both be given, or neither.'
    )
  images, labels = _as_images('images', images), _as_labels('labels', labels)
  _checks.check_lengths('', images, labels)
  if test_images is None:
    train, test = stratified_split(labels, test_fraction, seed)
    test_images, test_labels = images[test], labels[test]
    images, labels = images[train], labels[train]
  else:
    test_images = _as_images('test_images', test_images)
    test_labels = _as_labels('test_labels', test_labels)
  if class_names is None:
    class_names = _numbered(labels, test_labels)
  class_names = _as_names(class_names)
  found = list(notes) + _doubts(images)
  found += _checks.untested(class_names, labels, test_labels)
  if mean is None or std is None:
    computed = channel_statistics(images)
    mean = computed[0] if mean is None else mean
    if std is None:
      std, more = usable_deviations(computed[1])
      found += more
  for note in found:
    warnings.warn(f'data set {name}: {note}', DataWarning, stacklevel=2)
  return Dataset(
    name=name,
    images=images,
    labels=labels,
    test_images=test_images,
    test_labels=test_labels,
    class_names=class_names,
    mean=tuple(float(m) for m in mean),
    std=tuple(float(s) for s in std),
    scale=_checks.scale_of(images),
    value_range=value_range,
    extra=dict(extra or {}),
    notes=tuple(found),
  )


def stratified_split(
  labels: np.ndarray, fraction: float = 0.2, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
  """Draws the same fraction of every class for testing.

  A class of n >= 2 images gives `round(fraction * n)` of them, but at least 1
  and at most n - 1; a class of one image stays in training.

  Args:
    labels: `[M]` non-negative integers.
    fraction: in (0, 1).
    seed: of the draw.

  Returns:
    Ascending image numbers (train, test), together 0..M-1.

  Raises:
    ValueError: `fraction` is outside (0, 1), or no class has two images.
  """
  if not 0 < fraction < 1:
    raise ValueError(f'test_fraction is {fraction}; allowed is 0 < x < 1.')
  rng = np.random.default_rng(seed)
  held_out = np.zeros(len(labels), bool)
  for c in np.unique(labels):
    members = rng.permutation(np.flatnonzero(labels == c))
    if len(members) > 1:
      count = np.clip(round(fraction * len(members)), 1, len(members) - 1)
      held_out[members[:count]] = True
  if not held_out.any():
    raise ValueError(
      'labels: no class has two images, so none can be held out for testing; '
      'give test_images and test_labels.'
    )
  return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _doubts(images: np.ndarray) -> list[str]:
  if images.dtype == np.uint8 and images.max() == 1:
    return [
      'images hold only 0 and 1 of 0..255, nearly black: 0 and 255 meant?'
    ]
  return []


def _as_names(names: Sequence[Any]) -> tuple[str, ...]:
  """Returns class names as texts; bytes, as HDF5 and NumPy give, are UTF-8."""
  if isinstance(names, (str, bytes)) or np.ndim(names) > 1:
    raise ValueError(
      f'class_names are {names!r}; allowed is one name per class, [C].'
    )
  try:
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in names)
  except UnicodeDecodeError as error:
    raise ValueError(f'class_names are no UTF-8: {error}.') from error


def _as_images(field: str, images) -> np.ndarray:
  _checks.check_unmasked(field, images)
  images = np.asarray(images)
  if images.ndim == 3:
    images = images[..., None]
  if np.issubdtype(images.dtype, np.floating):
    images = images.astype(np.float32, copy=False)
  _checks.check_images(field, images)
  return images


def _as_labels(field: str, labels) -> np.ndarray:
  _checks.check_unmasked(field, labels)
  labels = np.asarray(labels)
  _checks.check_label_form(field, labels)
  if labels.size and not 0 <= labels.min() <= labels.max() < 2**31:
    raise ValueError(
      f'{field} hold {labels.min()}..{labels.max()}; allowed are classes '
      'numbered from 0.'
    )
  return labels.astype(np.int32, copy=False)


def _numbered(labels: np.ndarray, test_labels: np.ndarray) -> tuple[str, ...]:
  num_classes = 1 + int(max(labels.max(), test_labels.max()))
  if num_classes > len(labels):
    raise ValueError(
      f'labels go up to {num_classes - 1} with {len(labels)} training images; '
      'allowed are class numbers 0..C-1, each with a training image.'
    )
  return tuple(str(c) for c in range(num_classes))


def _count(labels: np.ndarray, num_classes: int) -> np.ndarray:
  return np.bincount(labels, minlength=num_classes).astype(np.int32)
