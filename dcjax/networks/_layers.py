"""Layers shared by the networks: convolution, normalisation, pooling."""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import Array
from dcjax.networks._blocks import convolve_and_pool
from dcjax.networks._conv import convolve
from dcjax.utils import platform

NORMS = ('instance', 'batch', 'layer', 'group', 'none')


def _relu(x):
  """`jax.nn.relu`, which costs XLA's CPU back end a pass over memory more."""
  return jnp.where(x <= 0, 0, x)


_STEEP = 60.0  # of softplus (RCIG)
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  'relu': _relu,
  'sigmoid': jax.nn.sigmoid,
  'leaky_relu': lambda x: jax.nn.leaky_relu(x, 0.01),
  'swish': jax.nn.silu,
  # A ReLU with a curvature; steep, so that ReLU networks may take its place.
  'softplus': lambda x: jax.nn.softplus(_STEEP * x) / _STEEP,
}
POOLINGS = ('avg', 'max', 'none')
_EPSILON = 1e-5  # PyTorch's; linen's own default is 1e-6


class Conv(nn.Module):
  """Convolution `[B, H, W, I] -> [B, h, w, features]`; see `convolve`."""

  features: int
  size: int = 3
  stride: int = 1
  padding: int = 1
  use_bias: bool = True
  form: str = 'auto'
  kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, images: Array) -> Array:
    """Convolves `images [B, H, W, I]`."""
    result = convolve(
      images,
      self._kernel(images),
      padding=self.padding,
      stride=self.stride,
      form=self.form,
    )
    return result + self._bias() if self.use_bias else result

  def _kernel(self, images):
    shape = (self.size, self.size, images.shape[-1], self.features)
    return self.param('kernel', self.kernel_init, shape)

  def _bias(self):
    return self.param('bias', nn.initializers.zeros, (self.features,))


class ConvReluPool(Conv):
  """A `Conv`, its ReLU, and the maxima of 2x2 windows.

  With `'auto'` in one on CPUs (`convolve_and_pool`), for few channels.
  """

  @nn.compact
  def __call__(self, images: Array) -> Array:
    """Convolves and pools `images [B, H, W, I]`."""
    if self.form != 'auto' or platform() != 'cpu':
      return pool(_relu(super().__call__(images)), 'max')
    kernel, bias = self._kernel(images), self._bias()
    return convolve_and_pool(images, kernel, bias, self.padding)


class InstanceNorm(nn.Module):
  """Normalises every channel of every image `[B, H, W, D]`, affine.

  The numbers of `nn.GroupNorm` with groups of one channel, in fewer passes over
  memory, which counts in second derivatives.
  """

  epsilon: float = _EPSILON

  @nn.compact
  def __call__(self, images: Array) -> Array:
    """Normalises `images [B, H, W, D]`."""
    shape = images.shape[-1:]
    scale = self.param('scale', nn.initializers.ones, shape)
    bias = self.param('bias', nn.initializers.zeros, shape)
    # Rows and columns as one axis: XLA reduces one axis faster than two.
    pixels = images.reshape(images.shape[0], -1, images.shape[-1])
    if platform() == 'tpu':
      # Mean and variance in one pass, about a pixel instead of about zero, so
      # that no digits cancel: half of the cycles (docs/speed.md).
      pixels = pixels - lax.stop_gradient(pixels[:, :1])
      mean = jnp.mean(pixels, 1, keepdims=True)
      centred = pixels - mean
      variance = jnp.mean(pixels * pixels, 1, keepdims=True) - mean * mean
    else:
      centred = pixels - jnp.mean(pixels, 1, keepdims=True)
      variance = jnp.mean(centred * centred, 1, keepdims=True)
    result = centred * (jax.lax.rsqrt(variance + self.epsilon) * scale) + bias
    return result.reshape(images.shape)


def make_norm(kind: str, name: str, train: bool) -> Callable[[Array], Array]:
  """Returns a normalisation layer, eps 1e-5, affine.

  Args:
    kind: `'instance'` (per image and channel), `'batch'` (running statistics
      with momentum 0.1 in PyTorch's sense), `'layer'` (over rows, columns and
      channels, with an affine of that shape), `'group'` (4 groups), `'none'`.
    name: the layer's name.
    train: whether batch statistics are used and updated.

  Raises:
    ValueError: if `kind` is unknown.
  """
  if kind == 'instance':
    return InstanceNorm(name=name)
  if kind == 'group':
    return nn.GroupNorm(
      num_groups=4, epsilon=_EPSILON, use_fast_variance=False, name=name
    )
  if kind == 'layer':
    axes = (-3, -2, -1)
    return nn.LayerNorm(
      epsilon=_EPSILON,
      reduction_axes=axes,
      feature_axes=axes,
      use_fast_variance=False,
      name=name,
    )
  if kind == 'batch':
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=_EPSILON,
      use_fast_variance=False,
      name=name,
    )
  if kind == 'none':
    return lambda images: images
  raise ValueError(f'norm {kind!r}: must be one of {NORMS}')


def pool(images: Array, kind: str, size: int = 2) -> Array:
  """Pools disjoint `size x size` windows; odd borders are dropped.

  Args:
    images: `[B, H, W, D]`.
    kind: `'avg'`, `'max'` or `'none'`.
    size: window and stride.

  Raises:
    ValueError: if `kind` is unknown.
  """
  if kind == 'none':
    return images
  if kind not in POOLINGS:
    raise ValueError(f'pooling {kind!r}: must be one of {POOLINGS}')
  b, h, w, d = images.shape
  h, w = h // size, w // size
  windows = images[:, : h * size, : w * size]
  if kind == 'avg' and platform() == 'tpu':  # half of the cycles there
    return nn.avg_pool(windows, (size, size), (size, size))
  if kind == 'avg':
    return windows.reshape(b, h, size, w, size, d).mean((2, 4))
  # On CPUs three fifths of the time of a reduction with its derivative.
  for axis in (1, 2):
    starts = [
      lax.slice_in_dim(windows, i, None, size, axis) for i in range(size)
    ]
    windows = functools.reduce(jnp.maximum, starts)
  return windows


def activation(kind: str) -> Callable[[Array], Array]:
  """Returns an activation by name.

  Raises:
    ValueError: if `kind` is unknown.
  """
  if kind not in ACTIVATIONS:
    raise ValueError(
      f'activation {kind!r}: must be one of {tuple(ACTIVATIONS)}'
    )
  return ACTIVATIONS[kind]
