"""Bilinear resizing by shifts and weights, without a matrix product.

`jax.image.resize` multiplies by a dense matrix of weights in the highest
precision; here each output pixel costs the two taps that it has.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array


def bilinear(images: Array, size: tuple[int, int]) -> Array:
  """Resizes images bilinearly: half-pixel centres, edges held, no antialiasing.

  That is PyTorch's `interpolate(mode='bilinear', align_corners=False)`. Linear
  in the images, and its transposition takes slices, not scattered sums, where
  the size is a multiple.

  Args:
    images: `[..., h, w, D]` float.
    size: `(H, W)`.

  Returns:
    `[..., H, W, D]`.
  """
  rows = images.ndim - 3
  return _axis(_axis(images, rows, size[0]), rows + 1, size[1])


def _axis(images, axis, size):
  """Resizes one axis.

  Output pixels whose left tap is one pixel are a run. The first pixel of every
  run is computed at once, then the second, ...; they are put side by side, and
  places that a run does not need are left out.
  """
  length = images.shape[axis]
  if length == size:
    return images
  weights, kept = _runs(length, size)
  runs, longest = weights.shape

  def along(pair, others):
    return [pair if i == axis else others for i in range(images.ndim)]

  padded = jnp.pad(images, along((1, 1), (0, 0)))
  left = jax.lax.slice_in_dim(padded, 0, runs, axis=axis)
  right = jax.lax.slice_in_dim(padded, 1, runs + 1, axis=axis)
  zero, spread = jnp.zeros((), images.dtype), 0
  for place in range(longest):
    weight = weights[:, place].astype(images.dtype).reshape(along(runs, 1))
    mixed = left * (1 - weight) + right * weight
    gaps = (place, longest - 1 - place, longest - 1)
    spread += jax.lax.pad(mixed, zero, along(gaps, (0, 0, 0)))
  if len(kept) == kept[-1] - kept[0] + 1:
    return jax.lax.slice_in_dim(spread, kept[0], kept[-1] + 1, axis=axis)
  return spread.at[(slice(None),) * axis + (kept,)].get(
    unique_indices=True, indices_are_sorted=True
  )


def _runs(length, size):
  """Weights of right taps `[length + 1, longest run]`, and which are used."""
  centres = (np.arange(size) + 0.5) * length / size - 0.5
  left = np.floor(centres).astype(int)
  weights = centres - left
  # Outside the image the edge holds: what lies beyond it weighs nothing.
  weights = np.where(left < 0, 1, np.where(left >= length - 1, 0, weights))
  counts = np.bincount(left + 1, minlength=length + 1)
  places = np.arange(counts.max())
  used = places < counts[:, None]
  used[0] = used[0][::-1]  # The first run lacks its beginning.
  full = np.zeros(used.shape, np.float32)
  full[used] = weights
  return full, [int(i) for i in np.flatnonzero(used)]
