"""Decoded forms of an artefact: class batch, NumPy, JAX and PyTorch.

`dcjax.formations` is imported inside the functions: reading and writing
artefacts must not need it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.artefact._errors import ArtefactError
from dcjax.base import Batch

if TYPE_CHECKING:
  from dcjax.artefact._torch import CondensedDataset
  from dcjax.artefact._types import Artefact

# Those that labels can be asked for in.
_FORMS = ('probabilities', 'centred')


def batch(artefact: Artefact) -> Batch:
  """Returns images `[C, M, H, W, D]`, labels `[C, M, K]`, unnormalised."""
  decoded = _decoded(artefact)
  if artefact.labels is None:
    return decoded
  return decoded._replace(labels=jnp.asarray(artefact.labels))


def _decoded(artefact: Artefact) -> Batch:
  """Images with the formation's own labels."""
  from dcjax import formations

  if artefact.spec['name'] == 'codebook':
    images = jnp.asarray(artefact._generated)
    labels = jnp.eye(images.shape[0])[:, None]
    shape = (*images.shape[:2], images.shape[0])
    return Batch(images, jnp.broadcast_to(labels, shape))
  params = jax.tree.map(jnp.asarray, artefact.params)
  return formations.build(artefact.spec).decode(params)


def step_size(artefact: Artefact) -> np.ndarray | None:
  """Returns the stored step size, or None."""
  from dcjax import formations

  return formations.numpy_step_size(artefact.spec, artefact.params)


def generated(artefact: Artefact) -> np.ndarray:
  """Returns the images `[C, N, H, W, D]` of a codebook, checked, read-only."""
  from dcjax import formations

  formation = formations.build(artefact.spec)
  images = formations.decode_exactly(formation, artefact.params)
  expected = artefact.decoded_sha256
  if expected is not None and _sha256(images) != expected:
    raise ArtefactError(
      f'the images have the SHA-256 {_sha256(images)}, where the artefact was'
      f' saved they had {expected}: numbers of the file were changed, or this'
      ' release of dcjax or this machine decodes in another way; decoder_sha256'
      " in the file's meta names the decoder of that time."
    )
  images.flags.writeable = False
  return images


def generated_sha256(artefact: Artefact) -> str | None:
  """Returns the SHA-256 of a codebook's images; None for other formations."""
  if artefact.spec['name'] != 'codebook':
    return None
  return artefact.decoded_sha256 or _sha256(artefact._generated)


def _sha256(images: np.ndarray) -> str:
  return hashlib.sha256(images.astype('<f4', copy=False).data).hexdigest()


def numpy_arrays(
  artefact: Artefact, normalised: bool, label_form: str | None
) -> tuple[np.ndarray, np.ndarray]:
  """Returns images `[C * M, H, W, D]`, labels `[C * M]` or `[C * M, K]`."""
  images, labels = by_class(artefact)
  labels = in_form(artefact, labels, label_form)
  images = images.reshape(-1, *images.shape[2:])
  labels = labels.reshape(-1, *labels.shape[2:]).copy()
  if normalised:
    mean, std = (np.float32(v) for v in (artefact.mean, artefact.std))
    images = (images - mean) / std
  return images, labels


def mixed_batch(
  artefact: Artefact, normalised: bool, label_form: str | None
) -> Batch:
  """Returns images `[C * M, H, W, D]` and labels `[C * M, K]` on the device."""
  decoded = batch(artefact)
  labels = in_form(artefact, np.asarray(decoded.labels), label_form)
  images = decoded.images.reshape(-1, *decoded.images.shape[2:])
  labels = jnp.asarray(labels).reshape(-1, labels.shape[-1])
  if normalised:
    mean, std = jnp.asarray(artefact.mean), jnp.asarray(artefact.std)
    images = (images - mean) / std
  return Batch(images, labels, step_size=decoded.step_size)


def torch_dataset(
  artefact: Artefact,
  normalised: bool,
  transform: Callable | None,
  target_transform: Callable | None,
  label_form: str | None,
) -> CondensedDataset:
  """Returns the decoded set for PyTorch; ImportError if that is missing."""
  require_torch()
  from dcjax.artefact._torch import CondensedDataset

  images, labels = numpy_arrays(artefact, normalised, label_form)
  return CondensedDataset(
    images, labels, artefact.class_names, transform, target_transform
  )


def require_torch():
  """Raises ImportError, saying how to get PyTorch, if it is not installed."""
  try:
    import torch  # noqa: F401
  except ImportError as error:
    raise ImportError(
      'This needs PyTorch, which is not installed: pip install torch'
    ) from error


def in_form(
  artefact: Artefact, labels: np.ndarray, wanted: str | None
) -> np.ndarray:
  """Labels `[C, M]` or `[C, M, K]` as probabilities or centred; warns if not.

  Class indices are probabilities too, and stay indices as such. Nonnegative
  labels are centred as evaluations centre them: 1 / K is subtracted.
  """
  if wanted not in (None, *_FORMS):
    raise ValueError(
      f'label_form must be None, {" or ".join(map(repr, _FORMS))}, got'
      f' {wanted!r}.'
    )
  stored = artefact.spec.get('labels', 'probabilities')
  if wanted is None and stored == 'centred':
    warnings.warn(
      'labels are centred (about one-hot minus 1 / K), made for squared error;'
      " for cross-entropy ask for label_form='probabilities', or say"
      " label_form='centred' to take them as they are.",
      stacklevel=4,
    )
  if wanted in (None, stored):
    return labels
  classes = len(artefact.class_names)
  if wanted == 'centred':
    if labels.ndim == 2:
      labels = np.eye(classes, dtype=np.float32)[labels]
    return labels - np.float32(1 / labels.shape[-1])
  if stored == 'centred':
    shifted = np.clip(labels + 1 / labels.shape[-1], 0, 1)
  else:  # Their sums are weights, which may be above 1.
    shifted = np.maximum(labels, 0)
  total = shifted.sum(-1, keepdims=True)
  uniform = np.full_like(labels, 1 / labels.shape[-1])
  shares = shifted / np.where(total > 0, total, 1)
  return np.where(total > 0, shares, uniform).astype(np.float32)


def by_class(artefact: Artefact) -> tuple[np.ndarray, np.ndarray]:
  """Returns images `[C, M, H, W, D]`, labels int `[C, M]` or `[C, M, K]`."""
  images = _numpy_decoded(artefact)
  if images is None:
    images, labels = (np.asarray(array) for array in batch(artefact)[:2])
    return images.astype(np.float32), _hard_if_one_hot(artefact, labels)
  if artefact.labels is not None:
    return images, artefact.labels
  classes = np.arange(images.shape[0], dtype=np.int32)[:, None]
  return images, np.broadcast_to(classes, images.shape[:2])


def _numpy_decoded(artefact: Artefact) -> np.ndarray | None:
  """Returns images `[C, M, H, W, D]`, or None if only JAX can decode them."""
  from dcjax import formations

  spec, params = artefact.spec, artefact.params
  if spec['name'] == 'codebook':
    return artefact._generated
  if formations.is_packed(spec, params):
    params = formations.numpy_unpacked(spec, params)
  if 'basis' in (spec['name'], spec.get('inner')):
    return formations.numpy_mixed(spec, params)
  if set(params) - {'step_size'} != {'images'}:
    return None
  stored = params['images']
  if stored.dtype.kind == 'f':
    stored = stored.astype(np.float32, copy=False)
  try:
    images = formations.numpy_decode(spec, stored)
  except ValueError:
    return None
  return np.asarray(images, np.float32)


def _hard_if_one_hot(artefact: Artefact, labels: np.ndarray) -> np.ndarray:
  hard = artefact.labels is None and np.isin(labels, (0, 1)).all()
  if hard and (labels.sum(-1) == 1).all():
    return labels.argmax(-1).astype(np.int32)
  return labels.astype(np.float32)
