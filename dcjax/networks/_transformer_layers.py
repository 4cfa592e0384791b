"""What the students with token mixing share: linear layers, norms, drop path.

Initialisation follows DeiT, Swin and ConvNeXt: linear weights are normal with
deviation 0.02, their biases 0. (The originals cut the normal at 2, a hundred
deviations away.)
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array
from dcjax.networks._efficientnet import drop

normal_init = nn.initializers.normal(0.02)


def dense(features: int, name: str, use_bias: bool = True) -> nn.Dense:
  """Returns a linear layer `[..., I] -> [..., features]`."""
  return nn.Dense(
    features, use_bias=use_bias, kernel_init=normal_init, name=name
  )


def layer_norm(name: str, epsilon: float) -> nn.LayerNorm:
  """Returns a norm over the channels of `[..., channels]`."""
  return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)


class Mlp(nn.Module):
  """Linear, GELU, linear, with `ratio` times as many units between."""

  ratio: int = 4

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[..., channels]` to the same shape."""
    channels = x.shape[-1]
    x = dense(self.ratio * channels, 'dense0')(x)
    return dense(channels, 'dense1')(jax.nn.gelu(x, approximate=False))


def split_heads(qkv: Array, heads: int) -> tuple[Array, Array, Array]:
  """Splits `[..., tokens, 3 channels]` into `[..., tokens, heads, c]` each."""
  qkv = qkv.reshape(*qkv.shape[:-1], 3, heads, -1)
  return qkv[..., 0, :, :], qkv[..., 1, :, :], qkv[..., 2, :, :]


def patch_embedding(images: Array, size: int, width: int) -> Array:
  """Maps patches of `images [B, H, W, D]` to tokens `[B, h, w, width]`.

  A convolution named `patches` with stride and kernel `size`, which starts as
  PyTorch's do. Call it from a compact method.
  """
  bound = 1 / math.sqrt(size * size * images.shape[-1])

  def uniform(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return nn.Conv(
    width,
    (size, size),
    size,
    padding='VALID',
    kernel_init=uniform,
    bias_init=uniform,
    name='patches',
  )(images)


def drop_path(module: nn.Module, x: Array, rate: float, train: bool) -> Array:
  """Drops whole images from a residual branch, Huang et al. (2016).

  Args:
    module: whose random numbers are drawn, from the stream `dropout`.
    x: the branch, `[B, ...]`.
    rate: probability of a drop.
    train: False drops nothing.
  """
  key = module.make_rng('dropout') if train and rate else None
  return drop(key, x, rate, (x.shape[0], *(1,) * (x.ndim - 1)))


def path_rates(rate: float, blocks: int) -> tuple[float, ...]:
  """Returns the drop rates of the blocks, which rise linearly from 0."""
  return tuple(rate * block / max(1, blocks - 1) for block in range(blocks))
