"""Two-dimensional convolution in several forms that agree to any order.

The fastest form depends on the platform. XLA's CPU back end runs a plain
convolution slowly inside loops and under `vmap` over weights; a matrix product
over patches does not suffer. Accelerators want the plain convolution forward,
but a matrix product for the weight gradient, because `vmap` over classes turns
the plain one into a grouped convolution.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import Array

FORMS = ('auto', 'lax', 'patches', 'hybrid')
_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')


def resolve_form(form: str) -> str:
  """Returns the convolution form that `'auto'` means on this platform.

  Args:
    form: one of `'auto'`, `'lax'`, `'patches'`, `'hybrid'`.

  Raises:
    ValueError: if the form is unknown.
  """
  if form not in FORMS:
    raise ValueError(f'convolution form {form!r}: must be one of {FORMS}')
  if form == 'auto':
    return 'patches' if jax.default_backend() == 'cpu' else 'hybrid'
  return form


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
      `'hybrid'` needs stride 1 and falls back to `'lax'` elsewhere.

  Returns:
    `[B, (H + 2 padding - kh) // stride + 1, ..., O]`.

  Raises:
    ValueError: if the form is unknown.
  """
  form = resolve_form(form)
  if form == 'patches':
    return _by_patches(images, kernel, padding, stride)
  square = kernel.shape[0] == kernel.shape[1]
  if form == 'hybrid' and stride == 1 and square:
    return _hybrid(images, kernel, padding)
  return _by_lax(images, kernel, padding, stride)


def _by_lax(images, kernel, padding, stride=1):
  return lax.conv_general_dilated(
    images,
    kernel,
    (stride, stride),
    [(padding, padding)] * 2,
    dimension_numbers=_DIMENSIONS,
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


def _by_patches(images, kernel, padding, stride=1):
  kh, kw, _, out = kernel.shape
  if (kh, kw, padding) == (1, 1, 0):
    return images[:, ::stride, ::stride] @ kernel[0, 0]
  return _patches(images, (kh, kw), padding, stride) @ kernel.reshape(-1, out)


# The hybrid form: the two primitives below are each other's derivatives, so
# reverse differentiation works to any order without a grouped convolution.


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _hybrid(images, kernel, padding):
  return _by_lax(images, kernel, padding)


def _hybrid_fwd(images, kernel, padding):
  return _hybrid(images, kernel, padding), (images, kernel)


def _hybrid_bwd(padding, saved, cotangent):
  images, kernel = saved
  return (
    _hybrid(cotangent, _flipped(kernel), kernel.shape[0] - 1 - padding),
    _kernel_gradient(images, cotangent, kernel.shape[0], padding),
  )


_hybrid.defvjp(_hybrid_fwd, _hybrid_bwd)


def _flipped(kernel):
  return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _kernel_gradient(images, cotangent, size, padding):
  patches = _patches(images, (size, size), padding)
  gradient = jnp.einsum('bhwp,bhwo->po', patches, cotangent)
  return gradient.reshape(size, size, images.shape[-1], cotangent.shape[-1])


def _kernel_gradient_fwd(images, cotangent, size, padding):
  return _kernel_gradient(images, cotangent, size, padding), (images, cotangent)


def _kernel_gradient_bwd(size, padding, saved, tangent):
  images, cotangent = saved
  return (
    _hybrid(cotangent, _flipped(tangent), size - 1 - padding),
    _hybrid(images, tangent, padding),
  )


_kernel_gradient.defvjp(_kernel_gradient_fwd, _kernel_gradient_bwd)
