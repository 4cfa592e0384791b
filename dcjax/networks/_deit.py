"""DeiT: vision transformers as students."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._transformer_layers import (
  Mlp,
  dense,
  drop_path,
  layer_norm,
  normal_init,
  patch_embedding,
  path_rates,
  split_heads,
)
from dcjax.networks._zoo_checks import check_rate
from dcjax.utils import check_at_least

_EPSILON = 1e-6


class TransformerBlock(nn.Module):
  """Self-attention and an MLP, each after a norm and around a shortcut."""

  heads: int
  drop_path: float

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps tokens `[B, tokens, channels]` to the same shape."""
    y = layer_norm('norm1', _EPSILON)(x)
    y = dense(3 * x.shape[-1], 'qkv')(y)
    y = jax.nn.dot_product_attention(*split_heads(y, self.heads))
    y = dense(x.shape[-1], 'projection')(y.reshape(x.shape))
    x = x + drop_path(self, y, self.drop_path, train)
    y = Mlp(name='mlp')(layer_norm('norm2', _EPSILON)(x))
    return x + drop_path(self, y, self.drop_path, train)


class Deit(nn.Module):
  """Patches and a class token, a stack of transformer blocks, a classifier."""

  num_classes: int
  patch_size: int = 16
  width: int = 192
  depth: int = 12
  heads: int = 3
  drop_path: float = 0.0

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits and embedding of `images [B, H, W, D]`."""
    x = patch_embedding(images, self.patch_size, self.width)
    x = x.reshape(x.shape[0], -1, self.width)
    shape = (1, 1, self.width)
    token = self.param('class_token', nn.initializers.normal(1e-6), shape)
    x = jnp.concatenate([jnp.broadcast_to(token, (len(x), *shape[1:])), x], 1)
    x = x + self.param('positions', normal_init, (1, *x.shape[1:]))
    for index, rate in enumerate(path_rates(self.drop_path, self.depth)):
      x = TransformerBlock(self.heads, rate, name=f'block{index}')(x, train)
    embedding = layer_norm('final_norm', _EPSILON)(x)[:, 0]
    logits = dense(self.num_classes, 'classifier')(embedding)
    return Outputs(logits, embedding)


def deit_tiny(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  patch_size: int = 16,
  width: int = 192,
  depth: int = 12,
  heads: int = 3,
  drop_path: float = 0.0,
) -> Network:
  """Returns a DeiT-Tiny, Touvron et al. (2021), without distillation token.

  At 224x224 and for 1000 classes it has 5,717,416 parameters. `embedding` is
  the class token after the last norm, `[B, width]`; there are no taps.

  Args:
    image_shape: `(H, W, D)`, multiples of the patch size.
    num_classes: `K`.
    patch_size: rows and columns of a patch; 4 or 8 suits small images.
    width: channels of a token, a multiple of `heads`.
    depth: number of blocks.
    heads: of the attention.
    drop_path: rate of the last block's branches, in [0, 1); earlier ones have
      proportionally lower rates. DeiT's own training has 0.1.

  Raises:
    ValueError: if an option is out of range or the patches do not fit.
  """
  sizes = {'patch_size': patch_size, 'depth': depth, 'heads': heads}
  for field, value in sizes.items():
    check_at_least(field, value, 1)
  check_rate('drop_path', drop_path)
  h, w, _ = image_shape
  if h % patch_size or w % patch_size:
    raise ValueError(
      f'patch_size {patch_size}: must divide the rows and columns of {h}x{w}'
    )
  if width < 1 or width % heads:
    raise ValueError(f'width {width}: must be a multiple of heads {heads}')
  module = Deit(num_classes, patch_size, width, depth, heads, drop_path)
  return wrap_linen(
    module, image_shape, name='deit_tiny', dropout=drop_path > 0
  )
