"""Condensed sets from elsewhere: artefacts, `data.pt`, plain arrays."""

import os
import zipfile
from collections.abc import Sequence

import numpy as np

from dcjax import _user_npz, files
from dcjax.artefact._file import load
from dcjax.artefact._idc import by_class, import_idc
from dcjax.artefact._published import import_published
from dcjax.artefact._types import Artefact


def load_any(
  path: str | os.PathLike[str],
  *,
  mean: Sequence[float],
  std: Sequence[float],
  class_names: Sequence[str],
  factor: int = 1,
  layout: str = '',
) -> Artefact:
  """Reads a condensed set of any known form.

  Args:
    path: a file of `save`; a `data.pt` or `.pth` of the IDC code; or an `.npz`
      with `images` `[M, H, W, D]` (uint8, or floats in [0, 1]) and `labels`
      `[M]`, as many of every class.
    mean: per channel, where the file does not say.
    std: per channel, where the file does not say.
    class_names: where the file does not say.
    factor: multi-formation factor of a `data.pt`, which does not say.
    layout: of another code's file, see `import_published`; '' for the above.

  Raises:
    OSError: there is no such file.
    ValueError: it is damaged, or of no known form; names it.
  """
  name = os.fspath(path)
  if layout:
    if factor != 1:
      raise ValueError(f'factor {factor}: of layout {layout!r} it must be 1')
    return import_published(
      name, layout, mean=mean, std=std, class_names=class_names
    )
  if name.endswith(('.pt', '.pth')):
    spec = {'name': 'uniform', 'factor': factor}
    return import_idc(
      name,
      spec if factor > 1 else {'name': 'identity'},
      mean=mean,
      std=std,
      class_names=class_names,
    )
  if _is_own(name):
    return load(name)
  images, labels = _arrays(name)
  return Artefact(
    params={'images': by_class(name, images, labels)},
    spec={'name': 'identity'},
    mean=tuple(map(float, mean)),
    std=tuple(map(float, std)),
    class_names=tuple(class_names),
    provenance={'method': 'given', 'imported_from': os.path.basename(name)},
  )


def _is_own(name):
  with files.opened(name) as stream:
    try:
      with zipfile.ZipFile(stream) as archive:
        return 'meta.npy' in archive.namelist()
    # zipfile raises nearly anything on damaged files.
    except Exception:
      return False


def _arrays(name):
  """Images `[M, D, H, W]` in [0, 1] and labels, as `by_class` takes them."""
  found = _user_npz.read(name)
  missing = [key for key in ('images', 'labels') if key not in found]
  if missing:
    raise ValueError(
      f'{name}: must hold images and labels, or be a file of dcjax; '
      f'{missing} is missing'
    )
  images, labels = found['images'], found['labels']
  scale = 255.0 if images.dtype == np.uint8 else 1.0
  images = images.astype(np.float32) / scale
  if images.ndim == 3:
    images = images[..., None]
  if images.ndim != 4 or images.min() < 0 or images.max() > 1:
    raise ValueError(
      f'{name}: images {images.shape} must be [M, H, W, D], uint8 or in [0, 1]'
    )
  return images.transpose(0, 3, 1, 2), labels
