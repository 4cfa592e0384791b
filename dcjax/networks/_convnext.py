"""ConvNeXt: a modern convolutional student."""

import flax.linen as nn
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._conv import resolve_form
from dcjax.networks._depthwise import DepthwiseConv
from dcjax.networks._transformer_layers import (
  Mlp,
  dense,
  drop_path,
  layer_norm,
  normal_init,
  path_rates,
)
from dcjax.networks._zoo_checks import check_last_size, check_rate
from dcjax.utils import check_at_least

_EPSILON = 1e-6
_DEPTHS = (3, 3, 9, 3)
_LAYER_SCALE = 1e-6


class ConvNextBlock(nn.Module):
  """Depthwise conv7x7, norm, MLP, a scale per channel, around a shortcut."""

  drop_path: float
  conv_form: str

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps `[B, h, w, channels]` to the same shape."""
    y = DepthwiseConv(
      7,
      use_bias=True,
      form=self.conv_form,
      kernel_init=normal_init,
      name='depthwise_conv',
    )(x)
    y = Mlp(name='mlp')(layer_norm('norm', _EPSILON)(y))
    start = nn.initializers.constant(_LAYER_SCALE)
    y = self.param('layer_scale', start, x.shape[-1:]) * y
    return x + drop_path(self, y, self.drop_path, train)


class ConvNext(nn.Module):
  """Patches, four stages of blocks with reductions between, a classifier."""

  num_classes: int
  patch_size: int = 4
  width: int = 96
  depths: tuple[int, ...] = _DEPTHS
  drop_path: float = 0.1
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 4 taps of `images [B, H, W, D]`."""
    x = self._reduced(images, self.patch_size, self.width, 'stem_conv')
    x = layer_norm('stem_norm', _EPSILON)(x)
    rates = iter(path_rates(self.drop_path, sum(self.depths)))
    taps = []
    for stage, blocks in enumerate(self.depths):
      if stage > 0:
        x = layer_norm(f'reduction{stage}_norm', _EPSILON)(x)
        width = self.width * 2**stage
        x = self._reduced(x, 2, width, f'reduction{stage}_conv')
      for block in range(blocks):
        x = ConvNextBlock(
          next(rates), self.conv_form, name=f'stage{stage + 1}_block{block}'
        )(x, train)
      taps.append(x)
    embedding = layer_norm('final_norm', _EPSILON)(jnp.mean(x, axis=(1, 2)))
    logits = dense(self.num_classes, 'classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))

  def _reduced(self, x, size, width, name):
    return nn.Conv(
      width,
      (size, size),
      size,
      padding='VALID',
      kernel_init=normal_init,
      name=name,
    )(x)


def convnext_tiny(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  patch_size: int = 4,
  width: int = 96,
  depths: tuple[int, ...] = _DEPTHS,
  drop_path: float = 0.1,
  conv_form: str = 'auto',
) -> Network:
  """Returns a ConvNeXt-Tiny, Liu et al. (2022).

  For 1000 classes it has 28,589,128 parameters. `embedding` is the mean of the
  last stage after its norm, `[B, 8 width]`; the taps are the stages.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    patch_size: rows and columns of the stem; 1 or 2 suits small images.
    width: channels of the first stage; every next one has twice as many.
    depths: blocks of every stage.
    drop_path: rate of the last block's branch, in [0, 1); earlier ones have
      proportionally lower rates.
    conv_form: see `convolve`. The 7x7 kernels are grouped convolutions in
      every form.

  Raises:
    ValueError: if an option is out of range or the images are too small.
  """
  resolve_form(conv_form)
  check_at_least('patch_size', patch_size, 1)
  check_at_least('width', width, 1)
  check_at_least('depths', min(depths, default=0), 1)
  check_rate('drop_path', drop_path)
  last = min(image_shape[:2]) // patch_size >> (len(depths) - 1)
  check_last_size('convnext_tiny', image_shape, last)
  module = ConvNext(
    num_classes, patch_size, width, tuple(depths), drop_path, conv_form
  )
  return wrap_linen(
    module, image_shape, name='convnext_tiny', dropout=drop_path > 0
  )
