"""Two-dimensional convolution in several forms that agree to any order.

A plain convolution is the fastest way forward, and back to the images. Its
weight gradient is not: XLA's CPU back end runs that one slowly inside loops,
and `vmap` over classes turns it into a grouped convolution, which no platform
likes. A matrix product over patches suffers from neither, so the hybrid form
takes the convolution for the former two and the product for the latter.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dcjax.base import Array

FORMS = ('auto', 'lax', 'patches', 'hybrid')
_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')


def resolve_form(form: str) -> str:
  """Returns the convolution form that is meant: `'auto'` is `'hybrid'`.

  Args:
    form: one of `'auto'`, `'lax'`, `'patches'`, `'hybrid'`.

  Raises:
    ValueError: if the form is unknown.
  """
  if form not in FORMS:
    raise ValueError(f'convolution form {form!r}: must be one of {FORMS}')
  return 'hybrid' if form == 'auto' else form


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
      `'hybrid'` is differentiable in reverse only (`jax.jvp` needs another
      form); with a stride or a kernel that is not square it means `'patches'`.

  Returns:
    `[B, (H + 2 padding - kh) // stride + 1, ..., O]`.

  Raises:
    ValueError: if the form is unknown.
  """
  form = resolve_form(form)
  if form == 'lax':
    return _by_lax(images, kernel, padding, stride)
  square = kernel.shape[0] == kernel.shape[1]
  if form == 'hybrid' and stride == 1 and square:
    return _hybrid(images, kernel, padding)
  return _by_patches(images, kernel, padding, stride)


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
  # Channels come first, because a product wants to contract the last axis of
  # its left side: XLA would otherwise transpose all patches, not one image.
  # `lax.pad` crops where the padding is negative, as derivatives may ask.
  borders = [(0, 0, 0)] * 2 + [(padding, padding, 0)] * 2
  zero = jnp.zeros((), images.dtype)
  images = lax.pad(images.transpose(3, 0, 1, 2), zero, borders)
  _, h, w, _ = cotangent.shape
  patches = jnp.stack(
    [
      images[:, :, i : i + h, j : j + w]
      for i in range(size)
      for j in range(size)
    ]
  )
  gradient = jnp.einsum('pibhw,bhwo->pio', patches, cotangent)
  return gradient.reshape(size, size, *gradient.shape[1:])


def _kernel_gradient_fwd(images, cotangent, size, padding):
  return _kernel_gradient(images, cotangent, size, padding), (images, cotangent)


def _kernel_gradient_bwd(size, padding, saved, tangent):
  images, cotangent = saved
  return (
    _hybrid(cotangent, _flipped(tangent), size - 1 - padding),
    _hybrid(images, tangent, padding),
  )


_kernel_gradient.defvjp(_kernel_gradient_fwd, _kernel_gradient_bwd)
