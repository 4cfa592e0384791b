"""Convolution with max pooling for layers of few channels, on CPUs.

Layers of six or sixteen channels are slow in the forms of `_conv`: products are
too small, and vectors are shorter than those of the machine. Here a window of
the pooling is a block of 2x2 pixels, whose convolutions are one product of four
times as many channels, and the images of a batch lie next to each other: every
copy, maximum and derivative runs along them.
"""

import jax.numpy as jnp
from jax import lax

from dcjax.base import Array
from dcjax.networks._conv import multiply

_BLOCK = 2  # rows and columns of a block, and of a window


def convolve_and_pool(
  images: Array, kernel: Array, bias: Array, padding: int
) -> Array:
  """Convolves, and keeps the largest of every 2x2 window, and 0, its ReLU.

  Args:
    images: `[B, H, W, I]`.
    kernel: `[k, k, I, O]`.
    bias: `[O]`.
    padding: zeros added on each side of rows and columns.

  Returns:
    `[B, h, w, O]`, `h = (H + 2 padding - k + 1) // 2`: what `convolve`, the
    bias, a ReLU and `pool` make of the images, as are its derivatives.
  """
  size, channels, out = kernel.shape[0], *kernel.shape[2:]
  span = -(-(size + _BLOCK - 1) // _BLOCK)  # blocks that a block looks at
  h, w = ((n + 2 * padding - size + 1) // _BLOCK for n in images.shape[1:3])
  blocks = _joined(images, padding, (h + span - 1, w + span - 1))
  patches = jnp.stack(
    [blocks[:, i : i + h, j : j + w] for i in range(span) for j in range(span)]
  ).reshape(-1, h * w * images.shape[0])
  wide = _moved(kernel, span).reshape(span**2 * 4 * channels, 4 * out)
  results = multiply(wide.T, patches)
  # A maximum of reductions: that of slices is slower here, unlike in `pool`.
  largest = results.reshape(_BLOCK**2, out, h, w, -1).max(0)
  largest += bias[:, None, None, None]
  # Transposed last of all, so that those of two layers in turn cancel out.
  return jnp.where(largest <= 0, 0, largest).transpose(3, 1, 2, 0)


def _joined(images, padding, blocks):
  """`[B, H, W, I] -> [4 I, *blocks, B]`, zeros or nothing where they end."""
  ends = [
    (padding, n * _BLOCK - before - padding, 0)
    for n, before in zip(blocks, images.shape[1:3], strict=True)
  ]
  images = images.transpose(3, 1, 2, 0)
  zero = jnp.zeros((), images.dtype)
  images = lax.pad(images, zero, [(0, 0, 0), *ends, (0, 0, 0)])
  return jnp.concatenate(
    [
      images[:, i::_BLOCK, j::_BLOCK]
      for i in range(_BLOCK)
      for j in range(_BLOCK)
    ]
  )


def _moved(kernel, span):
  """The kernel at each pixel of a block: `[span, span, 4, I, 4, O]`."""
  room = span * _BLOCK - kernel.shape[0]
  wide = jnp.stack(
    [
      jnp.pad(kernel, ((i, room - i), (j, room - j), (0, 0), (0, 0)))
      for i in range(_BLOCK)
      for j in range(_BLOCK)
    ],
    -2,
  )
  wide = wide.reshape(span, _BLOCK, span, _BLOCK, *wide.shape[2:])
  return wide.swapaxes(1, 2).reshape(span, span, _BLOCK**2, *wide.shape[4:])
