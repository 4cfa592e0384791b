"""Depthwise convolution, and averages over a grid of windows."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax

from dcjax.base import Array

_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
# Beyond it, the sum over shifts is too long a program to compile in good time.
_LARGEST_SHIFTED = 5


class DepthwiseConv(nn.Module):
  """One `size x size` kernel per channel, as in MobileNet or ConvNeXt.

  Small kernels are a sum of shifted, scaled copies of the images: on CPU that
  is several times faster than XLA's grouped convolution, and its derivatives
  are again sums.

  Attributes:
    size: rows and columns of the kernel.
    stride: step of rows and columns.
    padding: `'EVEN'`, `size // 2` zeros on all sides as in PyTorch's networks,
      or `'SAME'`, TensorFlow's, which strides make uneven.
    use_bias: whether a shift per channel follows.
    form: `'lax'` for the grouped convolution; see `convolve`.
    kernel_init: linen initialiser of the kernel.
  """

  size: int = 3
  stride: int = 1
  padding: str = 'EVEN'
  use_bias: bool = False
  form: str = 'auto'
  kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, images: Array) -> Array:
    """Maps `[B, H, W, D]` to `[B, h, w, D]`."""
    channels = images.shape[-1]
    shape = (self.size, self.size, 1, channels)
    kernel = self.param('kernel', self.kernel_init, shape)
    padding = self._borders(images.shape[1:3])
    if self.form == 'lax' or self.size > _LARGEST_SHIFTED:
      result = lax.conv_general_dilated(
        images,
        kernel,
        (self.stride,) * 2,
        padding,
        dimension_numbers=_DIMENSIONS,
        feature_group_count=channels,
      )
    else:
      result = _by_shifts(images, kernel, self.stride, padding)
    if not self.use_bias:
      return result
    return result + self.param('bias', nn.initializers.zeros, (channels,))

  def _borders(self, shape):
    """Zeros before and after the rows, and the columns."""
    if self.padding == 'EVEN':
      return [(self.size // 2,) * 2] * 2
    sizes, strides = (self.size,) * 2, (self.stride,) * 2
    return lax.padtype_to_pads(shape, sizes, strides, self.padding)


def _by_shifts(images, kernel, stride, padding):
  images = jnp.pad(images, ((0, 0), *padding, (0, 0)))
  size = kernel.shape[0]
  rows, columns = (
    (length - size) // stride * stride + 1 for length in images.shape[1:3]
  )
  return sum(
    images[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j, 0]
    for i in range(size)
    for j in range(size)
  )


def adaptive_average_pool(images: Array, size: int) -> Array:
  """Averages a grid of `size x size` windows that cover the images.

  Windows overlap or repeat pixels where `size` does not divide the rows and
  columns, as in PyTorch's adaptive pooling.

  Args:
    images: `[B, H, W, D]`.
    size: rows and columns of the result.

  Returns:
    `[B, size, size, D]`.
  """
  rows, columns = (_window_weights(n, size) for n in images.shape[1:3])
  return jnp.einsum('bhwd,ih,jw->bijd', images, rows, columns)


def _window_weights(length, size):
  """`[size, length]`: each row averages one window."""
  steps = np.arange(size)
  start = steps * length // size
  end = -(-(steps + 1) * length // size)
  pixels = np.arange(length)
  inside = (pixels >= start[:, None]) & (pixels < end[:, None])
  weights = inside / inside.sum(1, keepdims=True)
  return weights.astype(np.float32)
