"""Condensed sets in the layouts in which other codes publish theirs."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dcjax import _torch_files, _user_npz, files
from dcjax.artefact._idc import by_class
from dcjax.artefact._types import Artefact
from dcjax.utils import check_choice

_MOST_BYTES = 2**31


class Found(NamedTuple):
  """What a file holds.

  Attributes:
    images: `[M, H, W, D]`, normalised.
    labels: `[M]` classes, or `[M, K]`.
    centred: whether labels `[M, K]` lie around zero.
    step_size: at which networks learn from the set; None if it does not say.
  """

  images: np.ndarray
  labels: np.ndarray
  centred: bool = False
  step_size: float | None = None


def import_published(
  path: str | os.PathLike[str],
  layout: str,
  *,
  mean: Sequence[float],
  std: Sequence[float],
  class_names: Sequence[str],
) -> Artefact:
  """Reads a condensed set that another code published.

  `dc` is `res_*.pt` of DC, DSA and DM, `{'data': [[images, labels], ...]}`, of
  which the first is taken. `mtt` is `images_*.pt` of MTT, TESLA, FTD or DATM,
  with `labels_*.pt` (classes, probabilities, or DATM's logits) and `lr_*.pt`
  beside it; `images_zca_*.pt` shows the same without whitening, and is refused.
  `kip` is an `.npz` with `images` and `labels`, `frepo` a Flax checkpoint whose
  `params` hold one `x_proto` and one `y_proto`; labels of both lie around zero.
  The first two are NCHW, the others NHWC.

  Images of all of them are normalised, or whitened: `mean` and `std` must be
  those that were used (they are undone), and of a whitened set those of the
  whitened data. The matrix that whitened them is in none of these files.

  Args:
    path: the file.
    layout: see above.
    mean: per channel, length D.
    std: per channel, length D.
    class_names: length C; labels count them from 0.

  Returns:
    An `Artefact` with unbounded `value_range`; its step size, if there is one,
    is what protocols take.

  Raises:
    ImportError: PyTorch is not installed, and the file is one of its.
    OSError: there is no such file.
    ValueError: the file is damaged or of another layout; names it.
  """
  check_choice('layout', layout, LAYOUTS)
  name = os.fspath(path)
  found = _READERS[layout](name)
  images, labels = found.images, found.labels
  if images.ndim != 4 or images.dtype.kind != 'f':
    raise ValueError(
      f'{name}: images {images.dtype} {images.shape} must be four-dimensional '
      'and floating point'
    )
  if images.shape[-1] != len(mean):
    raise ValueError(
      f'{name}: has {images.shape[-1]} channels, the data set {len(mean)}'
    )
  images = images * np.asarray(std) + np.asarray(mean)
  classes = len(class_names)
  spec: dict[str, Any] = {'name': 'identity', 'value_range': (None, None)}
  params: dict[str, Any] = {}
  soft = None
  if labels.ndim == 2:
    soft = _soft(name, found, classes)
    # Classes follow one another: a soft label need not be largest there.
    labels = np.repeat(np.arange(classes), len(images) // classes)
    if found.centred:
      spec['labels'] = 'centred'
  if found.step_size is not None:
    spec['step_size'] = 'plain'
    params['step_size'] = np.float32(found.step_size)
  params['images'] = by_class(name, images.transpose(0, 3, 1, 2), labels)
  if len(params['images']) != classes:
    raise ValueError(
      f'{name}: has {len(params["images"])} classes, the data set {classes}'
    )
  return Artefact(
    params=params,
    spec=spec,
    mean=tuple(map(float, mean)),
    std=tuple(map(float, std)),
    class_names=tuple(class_names),
    labels=soft,
    value_range=(None, None),
    label_regime='hard' if soft is None else 'one soft label per image',
    provenance={
      'method': f'given ({layout})',
      'imported_from': os.path.basename(name),
    },
  )


def _soft(name, found, classes) -> np.ndarray:
  """Labels `[C, N, K]`; what are no probabilities are logits."""
  labels = np.asarray(found.labels, np.float32)
  if labels.shape[1] != classes or len(labels) % classes:
    raise ValueError(
      f'{name}: labels {labels.shape} must be [C * N, K] with K = C = {classes}'
    )
  if not np.isfinite(labels).all():
    raise ValueError(f'{name}: labels must be finite; some are NaN or infinite')
  sums = np.allclose(labels.sum(-1), 1, atol=1e-3)
  if not found.centred and not (sums and labels.min() >= 0):
    labels = np.exp(labels - labels.max(-1, keepdims=True))
    labels /= labels.sum(-1, keepdims=True)
  return labels.reshape(classes, -1, classes)


def _dc(path) -> Found:
  value = _torch_files.read_torch(path)
  data = value.get('data') if isinstance(value, Mapping) else None
  if not isinstance(data, list | tuple) or not data or len(data[0]) != 2:
    raise ValueError(
      f"{path}: layout 'dc' must be {{'data': [[images, labels], ...]}}"
    )
  images, labels = map(_array, data[0])
  return Found(_rows_last(images), labels)


def _mtt(path) -> Found:
  folder, name = os.path.split(path)
  if name.startswith('images_zca'):
    whitened = os.path.join(folder, name.replace('images_zca', 'images', 1))
    raise ValueError(
      f'{path}: shows the images without their whitening; what networks learn '
      f'from is {whitened}'
    )
  images = _rows_last(_array(_torch_files.read_torch(path)))

  def beside(word):
    other = _sibling(path, word)
    return _array(_torch_files.read_torch(other)) if other else None

  labels, rate = beside('labels'), beside('lr')
  if labels is None:
    raise ValueError(
      f'{path}: the labels must lie beside it, as labels_* beside images_*'
    )
  return Found(images, labels, False, None if rate is None else float(rate))


def _sibling(path, word) -> str:
  """`labels_best.pt` of `images_best.pt`; or ''."""
  folder, name = os.path.split(path)
  if not name.startswith('images'):
    return ''
  other = os.path.join(folder, word + name.removeprefix('images'))
  return other if os.path.isfile(other) else ''


def _kip(path) -> Found:
  arrays = _user_npz.read(path)
  return _centred(path, arrays, 'images', 'labels')


def _frepo(path) -> Found:
  import flax

  with files.opened(path) as stream:
    content = stream.read(_MOST_BYTES + 1)
  if len(content) > _MOST_BYTES:
    raise ValueError(f'{path}: is above {_MOST_BYTES} bytes')
  try:
    tree = flax.serialization.msgpack_restore(content)
  # msgpack raises nearly anything on damaged files.
  except Exception as error:
    raise ValueError(
      f'{path}: is no Flax checkpoint, or damaged ({files.one_line(error)})'
    ) from error
  # Beside them, an optimiser's moments have the same names.
  if isinstance(tree, Mapping) and 'params' in tree:
    tree = tree['params']
  names = ('x_proto', 'y_proto')
  leaves = [(n, leaf) for n, leaf in _leaves(tree) if n in names]
  if len(leaves) > len(dict(leaves)):
    raise ValueError(f'{path}: must hold one x_proto and one y_proto, not more')
  return _centred(path, dict(leaves), *names)


def _leaves(tree, name='') -> Iterator[tuple[str, Any]]:
  """The arrays of a nested dict, with their own names."""
  if not isinstance(tree, Mapping):
    yield name, tree
    return
  for key, child in tree.items():
    yield from _leaves(child, str(key))


def _centred(path, arrays, images, labels) -> Found:
  missing = [n for n in (images, labels) if n not in arrays]
  if missing:
    raise ValueError(
      f'{path}: must hold {images} and {labels}; {missing[0]} is missing'
    )
  found = [np.asarray(arrays[n]) for n in (images, labels)]
  if found[1].ndim != 2:
    raise ValueError(
      f'{path}: {labels} {found[1].shape} must be [M, K], around zero'
    )
  return Found(found[0].astype(np.float32), found[1], True)


def _array(value) -> np.ndarray:
  """A tensor as an array; of bfloat16, which NumPy does not know, too."""
  if not hasattr(value, 'detach'):
    return np.asarray(value)
  value = value.detach()
  return (value.float() if value.is_floating_point() else value).numpy()


def _rows_last(images) -> np.ndarray:
  """`[M, H, W, D]` of PyTorch's `[M, D, H, W]`."""
  return images.transpose(0, 2, 3, 1) if images.ndim == 4 else images


_READERS: dict[str, Callable[[str], Found]] = {
  'dc': _dc,
  'mtt': _mtt,
  'kip': _kip,
  'frepo': _frepo,
}
LAYOUTS = tuple(_READERS)
