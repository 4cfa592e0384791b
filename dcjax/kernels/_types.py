"""What a kernel is, and the kernel that a finite network's features make."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from dcjax.base import Array, Network, Variables


class Kernel(NamedTuple):
  """A positive semi-definite function of two images.

  Attributes:
    apply: `(a [A, H, W, D], b [B, H, W, D] or None) -> [A, B]`; None compares
      `a` with itself, with a diagonal that is exact and differentiable. Images
      are normalised; the result has their floating type.
    name: for reports and messages.
  """

  apply: Callable[[Array, Array | None], Array]
  name: str = 'kernel'


def of_features(
  network: Network, variables: Variables, *, train: bool = False
) -> Kernel:
  """The kernel of a finite network: inner products of its embeddings.

  Args:
    network: must expose an embedding.
    variables: its numbers.
    train: whether BatchNorm uses batch statistics; FRePo's features come from
      running ones.

  Raises:
    ValueError: when applied, if the network exposes no embedding.
  """

  def features(images):
    outputs, _ = network.apply(variables, images, train)
    if outputs.embedding is None:
      raise ValueError(f'network {network.name!r} exposes no embedding')
    return outputs.embedding

  def apply(a, b=None):
    left = features(a)
    return inner_products(left, left if b is None else features(b))

  return Kernel(apply, f'features of {network.name}')


def inner_products(a: Array, b: Array) -> Array:
  """Returns `a b^T` of `[A, F]` and `[B, F]`, without rounded factors.

  Rounded products (the default on some GPUs) can make a kernel indefinite.
  """
  return jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)
