"""ZCA whitening of images: fit, apply and undo.

Whitening removes the correlations between the F = H * W * D pixel values, so
that edges and textures weigh as much as the overall colour. With the
eigenvectors U [F, F] and the regularised eigenvalues s [F] of the covariance,

  whitened = (image - mean) U diag(s ** -1/2) U^T
  image = whitened U diag(s ** 1/2) U^T + mean

of images flattened in the order H, W, D (Krizhevsky, "Learning multiple layers
of features from tiny images", 2009, appendix A). The rotation back by U^T keeps
whitened images close to the originals.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array
from dcjax.data import _checks

# Options of `fit` by the method whose numbers they belong to; results with one
# form do not carry over to the other.
#
# mtt: Cazenavette et al., "Dataset distillation by matching training
#   trajectories", CVPR 2022: a constant is added to every eigenvalue.
# kip: Nguyen et al., "Dataset distillation with infinitely wide convolutional
#   networks", NeurIPS 2021, and FRePo (Zhou et al., NeurIPS 2022): the constant
#   is a part of the mean eigenvalue.
#
# kip_unit: the whole of what KIP's code does: channels are standardised and
#   every image is centred and brought to unit length before the fit, so that
#   images of little contrast weigh as much as others. FRePo does the former
#   alone.
#
# Deviation: in the forms 'mtt' and 'kip' images in [0, 1] are whitened as they
# are; a common scale cancels under a relative constant, so that from FRePo's
# form only the ratio of the channels' deviations differs.
FORMS: Mapping[str, Mapping[str, Any]] = {
  'mtt': {'regularisation': 0.1, 'relative': False},
  'kip': {'regularisation': 0.1, 'relative': True},
  'kip_unit': {'regularisation': 0.1, 'relative': True, 'unit': True},
}

# Images per step: bounds the copies in float64 and float32.
_CHUNK = 1024

# Centred images below this length have one colour, up to rounding.
_SHORTEST = 1e-4


class Zca(NamedTuple):
  """A fitted whitening; the forward and the backward matrix share it.

  F = H * W * D, in this order.

  Attributes:
    mean: `[F]` float32, the mean image.
    vectors: `[F, F]` float32, the covariance's eigenvectors as columns.
    values: `[F]` float32, ascending: eigenvalues plus the regularising
      constant; above 0.
    channels: `[2, D]` float32, mean and deviation of the channels, if images
      are standardised by them, centred one by one and brought to length 1
      before all else; None if not.
  """

  mean: Array | np.ndarray
  vectors: Array | np.ndarray
  values: Array | np.ndarray
  channels: Array | np.ndarray | None = None


def fit(
  images: np.ndarray,
  regularisation: float = 0.1,
  relative: bool = False,
  unit: bool = False,
) -> Zca:
  """Fits a whitening to training images.

  One pass over chunks of images sums the unbiased covariance (division by
  M - 1) in float64, so nothing grows with M; the memory is a few `[F, F]`
  matrices, the time of the decomposition grows with F cubed.

  Example:

    zca = fit(train_images, **FORMS['kip'])
    test_images = apply(zca, test_images)

  Args:
    images: `[M, H, W, D]`, M at least 2, in [0, 1]: uint8 (divided by 255
      first) or floats (taken as they are).
    regularisation: constant that is added to every eigenvalue, above 0.
    relative: whether the constant is in units of the mean eigenvalue.
    unit: whether images are standardised, centred and brought to length 1
      first, see `Zca.channels`.

  Returns:
    A `Zca` of NumPy arrays.

  Raises:
    ValueError: `regularisation` is not above 0 and finite, `images` are not
      as above, hold less than two or only equal images.
  """
  if not 0 < regularisation < math.inf:
    raise ValueError(
      f'regularisation {regularisation!r}: must be above 0 and finite'
    )
  images = _as_images(images)
  if len(images) < 2:
    raise ValueError(f'images hold {len(images)} image; at least 2 are needed')
  channels = _channels(images) if unit else None
  mean, covariance = _moments(images, channels)
  values, vectors = np.linalg.eigh(covariance)
  values = np.maximum(values, 0.0)  # rounding leaves some just below 0
  if not values[-1]:
    raise ValueError('images are all equal; there is nothing to whiten')
  values += regularisation * (values.mean() if relative else 1.0)
  mean, vectors, values = (
    x.astype(np.float32) for x in (mean, vectors, values)
  )
  return Zca(mean, vectors, values, channels)


def apply(zca: Zca, images: Array) -> Array:
  """Whitens images.

  Args:
    zca: what `fit` returned.
    images: `[..., H, W, D]` floats in [0, 1], any leading axes.

  Returns:
    Float32 `[..., H, W, D]`, of any range and of about unit variance in the
    directions whose eigenvalue is well above the regularising constant.

  Raises:
    ValueError: the images are no floats or not of the fitted size.
  """
  flat = unit_images(zca.channels, _flat(zca, images))
  return _rotated(zca, flat - zca.mean, -0.5, images.shape)


def invert(zca: Zca, images: Array) -> Array:
  """Undoes `apply`; lengths of images that were brought to 1 are lost.

  Such images come back with the deviation of the training images.

  Args:
    zca: what `fit` returned.
    images: `[..., H, W, D]` whitened floats, any leading axes.

  Returns:
    Float32 `[..., H, W, D]`; learned images may leave [0, 1]: clip to view.

  Raises:
    ValueError: see `apply`.
  """
  moved = _rotated(zca, _flat(zca, images), 0.5, images.shape)
  moved = moved + jnp.reshape(zca.mean, images.shape[-3:])
  if zca.channels is None:
    return moved
  mean, std = zca.channels
  return moved * zca.mean.shape[0] ** 0.5 * std + mean


def apply_to_set(zca: Zca, images: np.ndarray) -> np.ndarray:
  """Whitens a whole set in host memory; what `apply` does, chunk by chunk.

  Args:
    zca: what `fit` returned.
    images: `[M, H, W, D]`, M >= 1, uint8 or floats in [0, 1]; see `fit`.

  Returns:
    Float32 `[M, H, W, D]`.

  Raises:
    ValueError: the images are not as above or not of the fitted size.
  """
  images = _as_images(images)
  _check_size(zca, images.shape)
  # Many images share one matrix; a few are cheaper rotated there and back.
  matrix = (zca.vectors * zca.values**-0.5) @ zca.vectors.T
  whitened = np.empty(images.shape, np.float32)
  start = 0
  for chunk in _chunks(images, np.float32):
    stop = start + len(chunk)
    part = (unit_images(zca.channels, chunk) - zca.mean) @ matrix
    whitened[start:stop] = part.reshape(-1, *images.shape[1:])
    start = stop
  return whitened


def _as_images(images: np.ndarray) -> np.ndarray:
  images = np.asarray(images)
  if np.issubdtype(images.dtype, np.floating):
    images = images.astype(np.float32, copy=False)
  _checks.check_images('images', images)
  return images


def _chunks(images: np.ndarray, dtype: Any) -> Iterator[np.ndarray]:
  """Yields scaled images `[at most _CHUNK, F]`."""
  scale = dtype(_checks.scale_of(images))
  for start in range(0, len(images), _CHUNK):
    chunk = images[start : start + _CHUNK]
    yield chunk.reshape(len(chunk), -1).astype(dtype) / scale


def unit_images(channels: np.ndarray | None, flat: Array) -> Array:
  """Standardises channels, centres each image and brings it to length 1.

  Args:
    channels: see `Zca.channels`; None leaves the images as they are.
    flat: `[..., F]`, NumPy or JAX.

  Returns:
    `[..., F]`; images of one colour become 0.
  """
  if channels is None:
    return flat
  pixels = flat.reshape(*flat.shape[:-1], -1, channels.shape[1])
  mean, std = (x.astype(flat.dtype) for x in channels)
  flat = ((pixels - mean) / std).reshape(flat.shape)
  flat = flat - flat.mean(-1, keepdims=True)
  length = (flat**2).sum(-1, keepdims=True) ** 0.5
  return flat / (length + (length < _SHORTEST))


def _channels(images: np.ndarray) -> np.ndarray:
  """Mean and deviation `[2, D]` of the channels."""
  channels = images.shape[-1]
  count, sums = images.size / channels, np.zeros((2, channels))
  for chunk in _chunks(images, np.float64):
    pixels = chunk.reshape(-1, channels)
    sums += pixels.sum(0), (pixels**2).sum(0)
  mean, square = sums / count
  std = np.sqrt(np.maximum(square - mean**2, 0))
  if not std.all():
    raise ValueError('images have a channel of one value; no deviation')
  return np.stack([mean, std]).astype(np.float32)


def _moments(
  images: np.ndarray, channels: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the mean `[F]` and the unbiased covariance `[F, F]`, float64."""
  size = math.prod(images.shape[1:])
  # Sums around a value near the mean lose no digits to cancellation.
  first = next(_chunks(images, np.float64))
  shift = unit_images(channels, first).mean(0)
  total, products = np.zeros(size), np.zeros((size, size))
  for chunk in _chunks(images, np.float64):
    chunk = unit_images(channels, chunk)
    chunk -= shift
    total += chunk.sum(0)
    products += chunk.T @ chunk
  offset = total / len(images)
  products -= np.outer(offset, total)
  products /= len(images) - 1
  return shift + offset, products


def _flat(zca: Zca, images: Array) -> Array:
  """Returns `[..., F]` of images `[..., H, W, D]` of the fitted size."""
  images = jnp.asarray(images)
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(
      f'images have dtype {images.dtype}; must be floats, uint8 images '
      'divided by 255'
    )
  _check_size(zca, images.shape)
  flat = images.reshape(*images.shape[:-3], -1)
  return flat.astype(jnp.float32)


def _check_size(zca: Zca, shape: tuple[int, ...]):
  size = zca.mean.shape[0]
  if len(shape) < 3 or math.prod(shape[-3:]) != size:
    raise ValueError(
      f'images have shape {tuple(shape)}; must be [..., H, W, D] with '
      f'H * W * D = {size}, as the whitening was fitted'
    )


def _rotated(
  zca: Zca, flat: Array, power: float, shape: tuple[int, ...]
) -> Array:
  """Returns `flat U diag(values ** power) U^T` in the given shape."""
  # Accelerators round the factors of products unless told otherwise; small
  # eigenvalues would magnify that.
  highest = jax.lax.Precision.HIGHEST
  turned = jnp.matmul(flat, zca.vectors, precision=highest)
  scaled = turned * jnp.asarray(zca.values) ** power
  back = jnp.matmul(scaled, jnp.transpose(zca.vectors), precision=highest)
  return back.reshape(shape)
