"""Closed-form kernels of infinitely wide networks.

Covariances (NNGP) and tangent kernels (NTK) of networks in the NTK
parametrisation, layer by layer: Lee et al. (2018), Jacot et al. (2018), Arora
et al. (2019), as KIP (Nguyen et al., 2021) uses them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from dcjax import specs
from dcjax.base import Array
from dcjax.kernels._arc_cosine import arc_cosine_0, arc_cosine_1
from dcjax.kernels._types import Kernel, inner_products
from dcjax.utils import check_at_least, check_choice

FORMS = ('ntk', 'nngp')

Spread = Callable[[Array], Array]


class _Layers(NamedTuple):
  """Linear layers in order, a ReLU between each two.

  Attributes:
    spreads: what each does to covariances at pairs of positions.
    weight: variance of the weights, times the fan-in.
    bias: variance of the biases.
    form: see `FORMS`.
  """

  spreads: tuple[Spread, ...]
  weight: float
  bias: float
  form: str


def fully_connected(
  depth: int = 1,
  *,
  form: str = 'ntk',
  weight_variance: float = 2.0,
  bias_variance: float = 0.01,
) -> Kernel:
  """The kernel of an infinitely wide fully connected ReLU network.

  With one hidden layer and the defaults it is KIP's "FC1". `A` and `B` images
  of `d` numbers cost `A B d` products.

  Args:
    depth: hidden layers, at least 1.
    form: `'ntk'` (training of all layers) or `'nngp'` (of the last).
    weight_variance: of the weights, times the fan-in; above 0.
    bias_variance: at least 0; with 0 the kernel scales with its images.

  Raises:
    ValueError: if an argument is out of range.

  Example:
    >>> kernel = fully_connected(1)
    >>> kernel.apply(images, None).shape
    (10, 10)
  """
  spreads = (_same,) * (depth + 1)
  layers = _checked(depth, spreads, weight_variance, bias_variance, form)

  def apply(a: Array, b: Array | None = None) -> Array:
    left = a.reshape(a.shape[0], -1)
    right = left if b is None else b.reshape(b.shape[0], -1)
    size = left.shape[1]
    diagonal = None
    if b is None:
      diagonal = jnp.eye(left.shape[0], dtype=bool)
    return _propagate(
      layers,
      inner_products(left, right) / size,
      (jnp.sum(left * left, 1) / size)[:, None],
      (jnp.sum(right * right, 1) / size)[None],
      diagonal,
    )

  return Kernel(apply, f'fully connected {form}, {depth} hidden layers')


def convolutional(
  depth: int = 3,
  *,
  form: str = 'ntk',
  weight_variance: float = 2.0,
  bias_variance: float = 0.01,
  chunk: int = 10,
) -> Kernel:
  """The kernel of infinitely wide 3x3 convolutions without pooling.

  `depth` blocks of convolution (zero-padded to the same size) and ReLU, then
  all positions into one linear layer: KIP's "ConvVec". Only pairs of equal
  positions matter: `A` and `B` images of `H W` pixels cost `A B H W depth`
  steps.

  Args:
    depth: convolutions, at least 1.
    form: see `fully_connected`.
    weight_variance: see `fully_connected`.
    bias_variance: see `fully_connected`.
    chunk: images of the first argument at a time, at least 1: memory holds
      `chunk B H W` numbers; their gradient computes them once more.

  Raises:
    ValueError: if an argument is out of range.
  """
  spreads = (_window_mean,) * depth + (_position_mean,)
  layers = _checked(depth, spreads, weight_variance, bias_variance, form)
  check_at_least('chunk', chunk, 1)

  def apply(a: Array, b: Array | None = None) -> Array:
    right = a if b is None else b
    norms = jnp.mean(right * right, -1)
    numbers = jnp.arange(a.shape[0])

    def row(image, number):
      same = None
      if b is None:
        same = (jnp.arange(right.shape[0]) == number)[None, :, None, None]
      return _propagate(
        layers,
        jnp.mean(image * right, -1)[None],
        jnp.mean(image * image, -1)[None, None],
        norms[None],
        same,
      )[0]

    return lax.map(
      lambda pair: jax.checkpoint(row)(*pair), (a, numbers), batch_size=chunk
    )

  return Kernel(apply, f'convolutional {form}, {depth} layers')


_FACTORIES = {
  'convolutional': convolutional,
  'fully_connected': fully_connected,
}


def build(spec: Mapping[str, Any]) -> Kernel:
  """Makes a kernel from `{'name': 'fully_connected', 'depth': 1, ...}`.

  Raises:
    ValueError: naming the known kernels or options if one is unknown.
  """
  return specs.call('kernel', _FACTORIES, spec)


def _checked(depth, spreads, weight, bias, form):
  check_at_least('depth', depth, 1)
  check_choice('form', form, FORMS)
  if not 0 < weight < float('inf'):
    raise ValueError(f'weight_variance {weight!r}: must be above 0 and finite')
  check_at_least('bias_variance', bias, 0)
  return _Layers(spreads, weight, bias, form)


def _propagate(layers, covariance, left, right, diagonal):
  """Sends covariances through all layers.

  Args:
    layers: see `_Layers`.
    covariance: `[A, B, ...]` of the inputs.
    left: `[A, 1, ...]` and
    right: `[1, B, ...]` variances of the inputs.
    diagonal: `[A, B, ...]` where both images are one and the same, or None.

  Returns:
    `[A, B]`, the NTK or NNGP of the outputs.
  """
  first, *others = layers.spreads

  def linear(spread, x):
    return layers.weight * spread(x) + layers.bias

  covariance, left, right = (
    linear(first, x) for x in (covariance, left, right)
  )
  tangent = covariance
  for spread in others:
    covariance, slope = _through_relu(covariance, left, right, diagonal)
    tangent = layers.weight * spread(tangent * slope)
    covariance = linear(spread, covariance)
    tangent = tangent + covariance
    left, right = linear(spread, left / 2), linear(spread, right / 2)
  return tangent if layers.form == 'ntk' else covariance


def _through_relu(covariance, left, right, diagonal):
  """Covariance after a ReLU layer, and that of its slopes."""
  product = left * right
  positive = product > 0
  # Black images without biases have no angle, and stay black.
  scale = jnp.sqrt(jnp.where(positive, product, 1))
  cosine = covariance / scale
  if diagonal is not None:
    cosine = jnp.where(diagonal, 1, cosine)
    scale = jnp.where(diagonal, covariance, scale)
  scale = jnp.where(positive, scale, 0)
  return scale * arc_cosine_1(cosine) / 2, arc_cosine_0(cosine) / 2


def _same(x):
  return x


def _position_mean(x):
  return jnp.mean(x, (-2, -1))


def _window_mean(x):
  """Means over 3x3 windows of the last two axes, zero outside."""
  for axis in (x.ndim - 2, x.ndim - 1):
    sides = [(1, 1) if i == axis else (0, 0) for i in range(x.ndim)]
    padded, size = jnp.pad(x, sides), x.shape[axis]
    parts = [
      lax.slice_in_dim(padded, start, start + size, axis=axis)
      for start in range(3)
    ]
    x = sum(parts[1:], start=parts[0]) / 3
  return x
