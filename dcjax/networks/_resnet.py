"""Residual networks: the forms of IDC and of DC, strided or average-pooled."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._layers import Conv, activation, make_norm, pool
from dcjax.networks._zoo_checks import check_last_size, check_options
from dcjax.utils import check_at_least, check_choice

_FORMS = ('auto', 'cifar_thin', 'dc', 'small', 'mid', 'large')
# Depth -> blocks of the four stages; 50 and deeper use bottlenecks.
_STAGES = {
  10: (1, 1, 1, 1),
  18: (2, 2, 2, 2),
  34: (3, 4, 6, 3),
  50: (3, 4, 6, 3),
  101: (3, 4, 23, 3),
}
_BOTTLENECK_EXPANSION = 4
_relu = activation('relu')


class _Plan(NamedTuple):
  stem: str
  stages: tuple[int, ...]
  width: int
  bottleneck: bool


class ResidualBlock(nn.Module):
  """Two 3x3 convolutions, or 1x1, 3x3, 1x1, around a shortcut.

  He et al. (2016). With `average_pooling` every convolution has stride 1 and
  a 2x2 average pooling takes the place of the stride.
  """

  width: int
  stride: int
  norm: str
  bottleneck: bool
  average_pooling: bool
  conv_form: str

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps `[B, h, w, I]` to `[B, h / stride, w / stride, O]`."""
    if self.bottleneck:
      out = self.width * _BOTTLENECK_EXPANSION
      y = self._conv_norm(x, 1, self.width, 1, train)
      y = self._reduced(_relu(y), 2, train)
      y = self._conv_norm(y, 3, out, 1, train)
    else:
      out = self.width
      y = self._reduced(x, 1, train)
      y = self._conv_norm(y, 2, out, 3, train)
    return _relu(y + self._shortcut(x, out, train))

  def _reduced(self, x, index, train):
    """The 3x3 convolution that carries the block's stride, and what follows."""
    stride = 1 if self.average_pooling else self.stride
    x = self._conv_norm(x, index, self.width, 3, train, stride)
    x = _relu(x)
    return self._pooled(x)

  def _pooled(self, x):
    return pool(x, 'avg') if self.average_pooling and self.stride == 2 else x

  def _conv_norm(self, x, index, width, size, train, stride=1):
    x = self._conv(width, size, stride, f'conv{index}')(x)
    return make_norm(self.norm, f'norm{index}', train)(x)

  def _conv(self, width, size, stride, name):
    return Conv(
      width,
      size=size,
      stride=stride,
      padding=size // 2,
      use_bias=self.norm == 'none',
      form=self.conv_form,
      name=name,
    )

  def _shortcut(self, x, out, train):
    if self.stride == 1 and x.shape[-1] == out:
      return x
    stride = 1 if self.average_pooling else self.stride
    x = self._conv(out, 1, stride, 'shortcut_conv')(x)
    return make_norm(self.norm, 'shortcut_norm', train)(self._pooled(x))


class ResNet(nn.Module):
  """A stem, four stages of residual blocks, a linear classifier."""

  num_classes: int
  stem: str
  stages: tuple[int, ...]
  width: int
  bottleneck: bool = False
  norm: str = 'instance'
  average_pooling: bool = False
  global_pooling: bool = True
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 5 taps of `images [B, H, W, D]`."""
    x = self._stem(images, train)
    taps = [x]
    for stage, blocks in enumerate(self.stages):
      for block in range(blocks):
        x = ResidualBlock(
          self.width * 2**stage,
          2 if stage > 0 and block == 0 else 1,
          self.norm,
          self.bottleneck,
          self.average_pooling,
          self.conv_form,
          name=f'stage{stage + 1}_block{block}',
        )(x, train)
      taps.append(x)
    if self.global_pooling:
      embedding = jnp.mean(x, axis=(1, 2))
    else:
      embedding = x.reshape(x.shape[0], -1)
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))

  def _stem(self, images, train):
    large = self.stem == 'large'
    size = 7 if large else 3
    x = Conv(
      self.width,
      size=size,
      stride=2 if large and not self.average_pooling else 1,
      padding=size // 2,
      use_bias=self.norm == 'none',
      form=self.conv_form,
      name='stem_conv',
    )(images)
    x = _relu(make_norm(self.norm, 'stem_norm', train)(x))
    if self.stem == 'small':
      return x
    if self.average_pooling:
      return pool(x, 'avg', 4 if large else 2)
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


def resnet(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  depth: int = 10,
  form: str = 'auto',
  norm: str = 'instance',
  average_pooling: bool = False,
  global_pooling: bool = True,
  width_multiplier: float = 1.0,
  conv_form: str = 'auto',
) -> Network:
  """Returns a residual network in one of the forms of IDC and DC.

  | form         | stem                          | widths   | start of kernels |
  | ------------ | ----------------------------- | -------- | ---------------- |
  | `cifar_thin` | conv3x3                       | 32..256  | He, fan-out      |
  | `dc`         | conv3x3                       | 64..512  | PyTorch          |
  | `small`      | conv3x3                       | 64..512  | He, fan-out      |
  | `mid`        | conv3x3, pooling by 2         | 64..512  | He, fan-out      |
  | `large`      | conv7x7, reduction by 4       | 64..512  | He, fan-out      |

  `auto` is IDC's rule for data sets other than CIFAR: `small` up to 64 pixels,
  `mid` up to 128, else `large`. IDC's ResNet-10 for CIFAR is `cifar_thin`,
  which no image size can tell: name it.

  The taps are the stem and the four stages; `embedding` is the pooled last
  stage `[B, F]`. The classifier starts as PyTorch's in every form.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    depth: 10, 18, 34 (basic blocks), 50 or 101 (bottlenecks). `cifar_thin`
      has `(depth - 2) // 6` basic blocks in each stage, for any depth from 8.
    form: see the table.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`; without a
      norm the convolutions have biases.
    average_pooling: True makes ResNetAP: stride 1 everywhere, and average
      pooling where the strides and the max pooling were.
    global_pooling: False flattens the last stage, as DC's ResNet18BN_AP does.
    width_multiplier: scales all widths (rounded down).
    conv_form: see `convolve`.

  Raises:
    ValueError: if an option is unknown or the images are too small.

  Example:
    >>> idc = resnet((224, 224, 3), 10, average_pooling=True)
    >>> dc = resnet((32, 32, 3), 10, depth=18, form='dc', norm='batch',
    ...             average_pooling=True, global_pooling=False)
  """
  plan = _plan(image_shape, depth, form, width_multiplier)
  check_options(norm, (plan.width,), conv_form)
  name = f'resnet{"ap" if average_pooling else ""}{depth}'
  last = _last_size(min(image_shape[:2]), plan.stem, average_pooling)
  check_last_size(name, image_shape, last, norm)
  module = ResNet(
    num_classes,
    plan.stem,
    plan.stages,
    plan.width,
    plan.bottleneck,
    norm,
    average_pooling,
    global_pooling,
    conv_form,
  )
  init = 'torch' if form == 'dc' else 'he_fan_out'
  return wrap_linen(
    module, image_shape, init=init, name=name, independent=norm != 'batch'
  )


def _plan(image_shape, depth, form, width_multiplier):
  check_choice('form', form, _FORMS)
  if form == 'cifar_thin':
    check_at_least('depth', depth, 8)
    blocks = (int(depth) - 2) // 6
    return _Plan('small', (blocks,) * 4, int(32 * width_multiplier), False)
  check_choice('depth', depth, _STAGES)
  if form == 'auto':
    size = max(image_shape[:2])
    form = 'small' if size <= 64 else 'mid' if size <= 128 else 'large'
  stem = 'small' if form == 'dc' else form
  return _Plan(stem, _STAGES[depth], int(64 * width_multiplier), depth >= 50)


def _last_size(size, stem, average_pooling):
  """Rows of the last stage: poolings round down, strides round up."""
  reductions = 3 + {'small': 0, 'mid': 1, 'large': 2}[stem]
  if average_pooling:
    return size >> reductions
  return -(-size // 2**reductions)
