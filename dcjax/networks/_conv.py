"""Two-dimensional convolution in several forms that agree to any order.

A plain convolution is the fastest way forward, and back to the images. Its
weight gradient is not: XLA's CPU back end runs that one slowly inside loops,
and `vmap` over classes turns it into a grouped convolution, which no platform
likes. A matrix product over patches suffers from neither, so the hybrid form
takes the convolution for the former two and the product for the latter. Where
classes go one after another on TPUs, the plain one is faster in all three; on
CPUs, wide 3x3 layers are faster by Winograd's products (`_winograd`).
"""

import contextlib
import contextvars
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import Array, Network
from dcjax.networks import _winograd
from dcjax.utils import GPUS, check_choice, platform

FORMS = (
  'auto',
  'lax',
  'patches',
  'hybrid',
  'winograd',
  'forward',
)
# What operands are rounded to before products; sums are float32 throughout.
# 'auto' leaves it to the platform: TF32 on recent GPUs, bfloat16 on TPUs.
PRECISIONS = ('auto', 'float32', 'tensorfloat32', 'bfloat16')
_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
_LAX = {
  'auto': None,
  'float32': lax.Precision.HIGHEST,
  'tensorfloat32': lax.Precision.DEFAULT,
  'bfloat16': None,
}
# Set while a network is traced. An argument would have to pass through every
# layer of every network.
_PRECISION = contextvars.ContextVar('precision', default='auto')


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
  token = _PRECISION.set(name)
  try:
    yield
  finally:
    _PRECISION.reset(token)


def with_precision(network: Network, precision: str) -> Network:
  """Returns a network whose convolutions round their operands.

  Derivatives of every order are rounded alike; sums, normalisation, losses and
  distances between gradients stay float32. Only the convolution forms of dcjax
  know of it: `hybrid`, the default, keeps float32 results; the others round
  these, too, under `'bfloat16'`.

  Args:
    network: any; one without dcjax's convolutions is not changed by it.
    precision: `'auto'` (as the platform multiplies float32), `'float32'`,
      `'tensorfloat32'` or `'bfloat16'`.

  Raises:
    ValueError: if the precision is unknown.

  Example:
    >>> network = with_precision(networks.convnet((32, 32, 3), 10), 'bfloat16')
  """
  check_choice('precision', precision, PRECISIONS)

  def apply(variables, images, train):
    with _precision(precision):
      return network.apply(variables, images, train)

  return network._replace(apply=apply)


def _rounded(array, precision):
  return array.astype(jnp.bfloat16) if precision == 'bfloat16' else array


def resolve_form(form: str) -> str:
  """Returns the convolution form that is meant.

  `'auto'` is `'lax'` on TPUs, whose compiler estimates fewer cycles for it
  (docs/speed.md), but not where bfloat16 is asked for; `'winograd'` on a device
  of one CPU; `'hybrid'` elsewhere.
  `'forward'` is the fastest that is differentiable forward: `'patches'` on
  CPUs, `'lax'` elsewhere.

  Args:
    form: one of `FORMS`.

  Raises:
    ValueError: if the form is unknown.
  """
  if form not in FORMS:
    raise ValueError(f'convolution form {form!r}: must be one of {FORMS}')
  if form == 'forward':
    return 'patches' if platform() == 'cpu' else 'lax'
  if form != 'auto':
    return form
  if platform() == 'tpu' and _PRECISION.get() != 'bfloat16':
    return 'lax'
  return 'winograd' if _winograd.suits_device() else 'hybrid'


def convolve(
  images: Array,
  kernel: Array,
  *,
  padding: int,
  stride: int = 1,
  form: str = 'auto',
) -> Array:
  """Cross-correlates images with a kernel, as every deep-learning library.

  Args:
    images: `[B, H, W, I]`.
    kernel: `[kh, kw, I, O]`.
    padding: zeros added on each side of rows and columns.
    stride: step of rows and columns.
    form: how it is computed; all forms agree, also in their derivatives.
      `'hybrid'` is differentiable in reverse only (`jax.jvp` needs
      `'forward'`); with a stride or a kernel that is not square it means
      `'patches'` (on GPUs `'lax'`).
      `'winograd'` is `'hybrid'` with 2.25 times fewer products, of sums and
      differences of the numbers, in wide 3x3 layers of many float32 images.

  Returns:
    `[B, (H + 2 padding - kh) // stride + 1, ..., O]`.

  Raises:
    ValueError: if the form is unknown, or only one of the two is float64.
  """
  # As JAX reads them: NumPy's float64 is float32 unless x64 is switched on.
  images, kernel = jnp.asarray(images), jnp.asarray(kernel)
  types = {images.dtype.name, kernel.dtype.name}
  if 'float64' in types and len(types) > 1:
    raise ValueError(
      f'images are {images.dtype}, weights {kernel.dtype}: must be of one '
      'type; with JAX_ENABLE_X64 networks start as float64: switch it off, or '
      'give float64 images'
    )
  form, precision = resolve_form(form), _PRECISION.get()
  square = kernel.shape[0] == kernel.shape[1]
  if form in ('hybrid', 'winograd') and stride == 1 and square:
    return _hybrid(images, kernel, padding, (form, precision))
  if form in ('hybrid', 'winograd') and platform() in GPUS:
    form = 'lax'  # XLA finds no tiles there for large products over patches
  dtype = images.dtype
  images, kernel = _rounded(images, precision), _rounded(kernel, precision)
  if form == 'lax':
    result = _by_lax(images, kernel, padding, stride, precision)
  else:
    result = _by_patches(images, kernel, padding, stride, precision)
  return result.astype(dtype)


def multiply(left: Array, right: Array) -> Array:
  """Multiplies matrices as `convolve` does those of patches.

  In the precision of the moment, which may round operands and results.
  """
  precision = _PRECISION.get()
  operands = _rounded(left, precision), _rounded(right, precision)
  return jnp.matmul(*operands, precision=_LAX[precision]).astype(left.dtype)


def _by_lax(images, kernel, padding, stride, precision, dtype=None):
  images, kernel = _with_four_channels(images, kernel)
  return lax.conv_general_dilated(
    images,
    kernel,
    (stride, stride),
    [(padding, padding)] * 2,
    dimension_numbers=_DIMENSIONS,
    precision=_LAX[precision],
    preferred_element_type=dtype,
  )


def _with_four_channels(images, kernel):
  """Adds zero channels to two or three: CPUs then load whole vectors.

  Four times as fast for the first layer of a ConvNet of width 32.
  """
  missing = 4 - images.shape[-1]
  if platform() != 'cpu' or missing not in (1, 2):
    return images, kernel
  return (
    jnp.pad(images, ((0, 0),) * 3 + ((0, missing),)),
    jnp.pad(kernel, ((0, 0),) * 2 + ((0, missing), (0, 0))),
  )


def _patches(images, size, padding, stride=1):
  """Gathers patches: `[B, H, W, I]` -> `[B, h, w, kh * kw * I]`."""
  kh, kw = size
  images = jnp.pad(images, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
  h = (images.shape[1] - kh) // stride + 1
  w = (images.shape[2] - kw) // stride + 1
  rows, columns = (h - 1) * stride + 1, (w - 1) * stride + 1
  return jnp.concatenate(
    [
      images[:, i : i + rows : stride, j : j + columns : stride]
      for i in range(kh)
      for j in range(kw)
    ],
    axis=-1,
  )


def _by_patches(images, kernel, padding, stride, precision, dtype=None):
  kh, kw, _, out = kernel.shape
  if (kh, kw, padding) == (1, 1, 0):
    patches = images[:, ::stride, ::stride]
  else:
    patches = _patches(images, (kh, kw), padding, stride)
  return jnp.matmul(
    patches,
    kernel.reshape(-1, out),
    precision=_LAX[precision],
    preferred_element_type=dtype,
  )


# The hybrid form: the two primitives below are each other's derivatives, so
# reverse differentiation works to any order without a grouped convolution.
# `how` is the pair of form and precision.


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _hybrid(images, kernel, padding, how):
  if _takes_tiles(how, kernel.shape[0], images, kernel, padding):
    return _winograd.convolve(images, kernel, padding)
  precision = how[1]
  operands = _rounded(images, precision), _rounded(kernel, precision)
  way = _by_patches if _are_smaller(images, kernel) else _by_lax
  return way(*operands, padding, 1, precision, images.dtype)


def _are_smaller(images, kernel):
  # XLA's CPU back end then has images and kernel change places, in a form that
  # takes twenty times as long (VGG-11's last layers).
  height, width = images.shape[1:3]
  small = height * width < kernel.shape[0] * kernel.shape[1]
  return small and platform() == 'cpu'


def _takes_tiles(how, size, images, other, padding):
  form, precision = how
  return (
    form == 'winograd'
    and size == 3
    and 'bfloat16' not in (precision, images.dtype.name)
    and _winograd.is_faster(images.shape, other.shape[-1], padding)
  )


def _hybrid_fwd(images, kernel, padding, how):
  saved = _saved(images, kernel)
  return _hybrid(images, kernel, padding, how), saved


def _hybrid_bwd(padding, how, saved, cotangent):
  images, kernel = saved
  size = kernel.shape[0]
  return (
    _hybrid(cotangent, _flipped(kernel), size - 1 - padding, how),
    _kernel_gradient(images, cotangent, size, padding, how),
  )


_hybrid.defvjp(_hybrid_fwd, _hybrid_bwd)


def _saved(*operands):
  # JAX looks up residuals that are inputs by their place among these, and finds
  # a constant there when a loop is differentiated twice. Copies, which XLA does
  # not make, are kept by themselves.
  return tuple(jnp.copy(x) for x in operands)


def _flipped(kernel):
  return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _kernel_gradient(images, cotangent, size, padding, how):
  if _takes_tiles(how, size, images, cotangent, padding):
    return _winograd.kernel_gradient(images, cotangent, padding)
  precision = how[1]
  # Channels come first, because a product wants to contract the last axis of
  # its left side: XLA would otherwise transpose all patches, not one image.
  # `lax.pad` crops where the padding is negative, as derivatives may ask.
  dtype = images.dtype
  images = _rounded(images, precision)
  cotangent = _rounded(cotangent, precision)
  borders = [(0, 0, 0)] * 2 + [(padding, padding, 0)] * 2
  zero = jnp.zeros((), images.dtype)
  images = lax.pad(images.transpose(3, 0, 1, 2), zero, borders)
  _, h, w, _ = cotangent.shape
  # A row of the kernel at a time: its patches still fit the caches.
  rows = [
    jnp.einsum(
      'pibhw,bhwo->pio',
      jnp.stack([images[:, :, i : i + h, j : j + w] for j in range(size)]),
      cotangent,
      precision=_LAX[precision],
      preferred_element_type=dtype,
    )
    for i in range(size)
  ]
  return jnp.stack(rows)


def _kernel_gradient_fwd(images, cotangent, size, padding, how):
  gradient = _kernel_gradient(images, cotangent, size, padding, how)
  return gradient, _saved(images, cotangent)


def _kernel_gradient_bwd(size, padding, how, saved, tangent):
  images, cotangent = saved
  return (
    _hybrid(cotangent, _flipped(tangent), size - 1 - padding, how),
    _hybrid(images, tangent, padding, how),
  )


_kernel_gradient.defvjp(_kernel_gradient_fwd, _kernel_gradient_bwd)
