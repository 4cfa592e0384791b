"""Wide residual networks: an observer of the statistics-matching methods."""

import flax.linen as nn
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._layers import Conv, activation, make_norm
from dcjax.networks._zoo_checks import (
  check_last_size,
  check_options,
  check_rate,
)
from dcjax.utils import check_at_least

_STEM_WIDTH = 16
_relu = activation('relu')


class PreactivationBlock(nn.Module):
  """Norm, ReLU and conv3x3, twice, around a shortcut.

  Zagoruyko & Komodakis (2016), Figure 1 (d). Where the width changes, the
  shortcut is a 1x1 convolution of the first norm's activation.
  """

  width: int
  stride: int
  norm: str
  dropout: float
  conv_form: str

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps `[B, h, w, I]` to `[B, h / stride, w / stride, width]`."""
    y = _relu(make_norm(self.norm, 'norm1', train)(x))
    if x.shape[-1] != self.width:
      x = self._conv(1, self.stride, 'shortcut_conv')(y)
    y = self._conv(3, self.stride, 'conv1')(y)
    y = _relu(make_norm(self.norm, 'norm2', train)(y))
    y = nn.Dropout(self.dropout, deterministic=not train)(y)
    return x + self._conv(3, 1, 'conv2')(y)

  def _conv(self, size, stride, name):
    return Conv(
      self.width,
      size=size,
      stride=stride,
      padding=size // 2,
      use_bias=False,
      form=self.conv_form,
      name=name,
    )


class WideResNet(nn.Module):
  """A 3x3 stem, three stages of preactivation blocks, a linear classifier."""

  num_classes: int
  blocks: int
  widen: int
  norm: str = 'batch'
  dropout: float = 0.0
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 4 taps of `images [B, H, W, D]`."""
    x = Conv(
      _STEM_WIDTH, use_bias=False, form=self.conv_form, name='stem_conv'
    )(images)
    taps = [x]
    for stage in range(3):
      for block in range(self.blocks):
        x = PreactivationBlock(
          _STEM_WIDTH * self.widen * 2**stage,
          2 if stage > 0 and block == 0 else 1,
          self.norm,
          self.dropout,
          self.conv_form,
          name=f'stage{stage + 1}_block{block}',
        )(x, train)
      taps.append(x)
    x = _relu(make_norm(self.norm, 'final_norm', train)(x))
    embedding = jnp.mean(x, axis=(1, 2))
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))


def wide_resnet(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  depth: int = 16,
  widen: int = 2,
  norm: str = 'batch',
  dropout: float = 0.0,
  conv_form: str = 'auto',
) -> Network:
  """Returns a wide residual network, Zagoruyko & Komodakis (2016).

  WRN-16-2, the default, is an observer of G-VBSM and EDC for CIFAR-sized images
  (703,284 parameters for 100 classes). Kernels start as He's, fan-out.

  The taps are the stem and the three stages; `embedding` is `[B, 64 widen]`,
  the mean of the last stage after norm and ReLU.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    depth: 6 n + 4, with n blocks in each stage, from 10.
    widen: multiplies the widths 16, 32 and 64 of the stages.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    dropout: rate between the convolutions of a block, in [0, 1).
    conv_form: see `convolve`.

  Raises:
    ValueError: if an option is unknown or the images are too small.
  """
  check_at_least('depth', depth, 10)
  check_at_least('widen', widen, 1)
  if (depth - 4) % 6:
    raise ValueError(f'depth {depth}: must be 6 n + 4, as 10, 16, 22, 28, 40')
  check_options(norm, (_STEM_WIDTH,), conv_form)
  check_rate('dropout', dropout)
  name = f'wide_resnet{depth}-{widen}'
  last = -(-min(image_shape[:2]) // 4)
  check_last_size(name, image_shape, last, norm)
  module = WideResNet(
    num_classes, (depth - 4) // 6, widen, norm, dropout, conv_form
  )
  return wrap_linen(
    module, image_shape, init='he_fan_out', name=name, dropout=dropout > 0
  )
