"""Files of the public IDC code: `data.pt`, a list of two PyTorch tensors."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dcjax import _torch_files, files
from dcjax.artefact._types import Artefact

# Images are saved unclamped: a few values lie a little outside.
_MARGIN = 0.05
_MOST_OUTSIDE = 0.02
_SHOWN = 10  # classes in a message


def import_idc(
  path: str | os.PathLike[str],
  spec: Mapping[str, Any],
  *,
  mean: Sequence[float],
  std: Sequence[float],
  class_names: Sequence[str] | None = None,
  value_range: tuple[float | None, float | None] = (0.0, 1.0),
) -> Artefact:
  """Reads a condensed set that the public IDC code wrote.

  `data.pt` is a list of the stored images, float32 `[C * N, D, H, W]`, in
  [0, 1] and unnormalised, and their labels, int64 `[C * N]`. It names neither
  formation nor classes nor normalisation, so these are arguments. That code
  saves images unclamped: single values may lie slightly outside the range, and
  stay so.

  Args:
    path: the file.
    spec: formation, such as `{'name': 'uniform', 'factor': 2}`.
    mean: per channel, length D.
    std: per channel, length D.
    class_names: length C; default '0', '1', ...
    value_range: lowest and highest value of an image.

  Returns:
    An `Artefact` with hard labels.

  Raises:
    ImportError: PyTorch is not installed.
    FileNotFoundError: there is no such file.
    ValueError: the file is damaged, holds something else, or classes of unequal
      size; or its images are of another scale than `value_range`.
  """
  images, labels = _tensors(path)
  images = by_class(os.fspath(path), images, labels)
  _check_scale(os.fspath(path), images, value_range)
  names = class_names or [str(c) for c in range(len(images))]
  return Artefact(
    params={'images': images},
    spec=spec,
    mean=tuple(mean),
    std=tuple(std),
    class_names=tuple(names),
    value_range=value_range,
    provenance={'method': 'idc', 'imported_from': os.path.basename(path)},
  )


def export_idc(path: str | os.PathLike[str], artefact: Artefact) -> None:
  """Writes an artefact as the public IDC code's `data.pt`.

  The stored (undecoded) images become float32 `[C * N, D, H, W]`, class by
  class, the labels int64 `[C * N]`. The format has no room for anything else.
  PyTorch is not needed.

  Raises:
    ValueError: the artefact has soft labels, parameters besides images, or
      whitened images.
    OSError: the file cannot be written; an earlier one is left untouched.
  """
  if artefact.labels is not None or set(artefact.params) != {'images'}:
    raise ValueError(
      'data.pt holds images with hard labels only, the artefact has params'
      f' {sorted(artefact.params)} and label_regime {artefact.label_regime!r}.'
    )
  if artefact.zca is not None:
    raise ValueError(
      'data.pt has no room for zca, without which whitened images are of no'
      ' use; save the artefact as .npz.'
    )
  images = artefact.params['images'].astype(np.float32)
  num_classes, ipc = images.shape[:2]
  images = images.reshape(-1, *images.shape[2:]).transpose(0, 3, 1, 2)
  labels = np.repeat(np.arange(num_classes, dtype=np.int64), ipc)
  with files.replacing(path) as stream:
    _torch_files.write_torch(stream, [images, labels])


def _tensors(path: str | os.PathLike[str]) -> list[np.ndarray]:
  """Returns images and labels as they are in the file."""
  value = _torch_files.read_torch(path)
  if (
    not isinstance(value, (list, tuple))
    or len(value) != 2
    or not all(hasattr(tensor, 'detach') for tensor in value)
  ):
    raise ValueError(
      f'{os.fspath(path)}: is not a list of two tensors [images, labels], but '
      f'a {type(value).__name__}'
    )
  # Of bfloat16, which NumPy does not know, too.
  images, labels = (tensor.detach() for tensor in value)
  return [
    (images.float() if images.is_floating_point() else images).numpy(),
    labels.numpy(),
  ]


def _check_scale(path: str, images: np.ndarray, value_range) -> None:
  """Raises a ValueError if many values lie outside of their range."""
  low, high = (
    bound if bound is not None else infinite
    for bound, infinite in zip(value_range, (-np.inf, np.inf), strict=True)
  )
  margin = _MARGIN * (high - low) if np.isfinite(high - low) else 0.0
  outside = np.mean((images < low - margin) | (images > high + margin))
  if outside > _MOST_OUTSIDE:
    raise ValueError(
      f'{path}: {outside:.0%} of its values, {images.min():.3g}..'
      f'{images.max():.3g}, lie outside of value_range {value_range}: are the '
      'images normalised, or in 0..255? Undo that before, or give their '
      'value_range'
    )


def by_class(path: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns float32 `[C, N, H, W, D]` of `[C * N, D, H, W]`."""
  if images.ndim != 4 or images.dtype.kind != 'f' or not len(images):
    raise ValueError(
      f'{path} must hold float images [C * N, D, H, W], got'
      f' {images.dtype} {images.shape}.'
    )
  if not np.isfinite(images).all():
    raise ValueError(
      f'{path} must hold finite images; some are NaN or infinite.'
    )
  if labels.shape != images.shape[:1] or labels.dtype.kind not in 'iu':
    raise ValueError(
      f'{path} must hold one integer label per image, got {labels.dtype}'
      f' {labels.shape} for {len(images)} images.'
    )
  classes, counts = np.unique(labels, return_counts=True)
  if len(set(counts)) != 1 or not np.array_equal(
    classes, np.arange(len(classes))
  ):
    raise ValueError(
      f'{path} must hold equally many images of the classes 0, 1, ...; got'
      f' classes {classes[:_SHOWN].tolist()} ... with'
      f' {counts[:_SHOWN].tolist()} ... images.'
    )
  order = np.argsort(labels, kind='stable')
  images = images[order].transpose(0, 2, 3, 1).astype(np.float32)
  return images.reshape(len(classes), -1, *images.shape[1:])
