"""ShuffleNet-V2: an observer of the statistics-matching methods."""

import flax.linen as nn
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._depthwise import DepthwiseConv
from dcjax.networks._layers import Conv, activation, make_norm
from dcjax.networks._zoo_checks import (
  check_last_size,
  check_options,
  resolve_size_form,
)
from dcjax.utils import check_choice

# Width multiplier -> channels of the three stages and of the head.
_WIDTHS = {
  0.5: (48, 96, 192, 1024),
  1.0: (116, 232, 464, 1024),
  1.5: (176, 352, 704, 1024),
  2.0: (244, 488, 976, 2048),
}
_STEM_WIDTH = 24
_BLOCKS = (4, 8, 4)
_relu = activation('relu')


class ShuffleUnit(nn.Module):
  """Half of the channels pass, or are reduced; the other half is convolved.

  Ma et al. (2018), Figure 3 (c), and (d) with `reduces`.
  """

  width: int
  reduces: bool
  norm: str
  conv_form: str

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps `[B, h, w, I]` to `[B, h, w, width]`, or half the rows, columns."""
    if self.reduces:
      left = self._depthwise(x, 'left_depthwise', train)
      left = self._pointwise(left, 'left_project', train)
      right = x
    else:
      left, right = jnp.split(x, 2, axis=-1)
    right = self._pointwise(right, 'expand', train)
    right = self._depthwise(right, 'depthwise', train)
    right = self._pointwise(right, 'project', train)
    return _shuffled(left, right)

  def _depthwise(self, x, name, train):
    stride = 2 if self.reduces else 1
    x = DepthwiseConv(3, stride, form=self.conv_form, name=f'{name}_conv')(x)
    return make_norm(self.norm, f'{name}_norm', train)(x)

  def _pointwise(self, x, name, train):
    x = Conv(
      self.width // 2,
      size=1,
      padding=0,
      use_bias=False,
      form=self.conv_form,
      name=f'{name}_conv',
    )(x)
    return _relu(make_norm(self.norm, f'{name}_norm', train)(x))


def _shuffled(left, right):
  """Interleaves the channels of two feature maps."""
  x = jnp.stack([left, right], axis=-1)
  return x.reshape(*x.shape[:3], -1)


class ShuffleNetV2(nn.Module):
  """A stem, three stages of shuffle units, a 1x1 head, a classifier."""

  num_classes: int
  large: bool
  widths: tuple[int, int, int, int]
  norm: str = 'batch'
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 4 taps of `images [B, H, W, D]`."""
    *widths, head = self.widths
    size, stride = (3, 2) if self.large else (1, 1)
    x = self._conv(images, _STEM_WIDTH, 'stem', train, size, stride)
    if self.large:
      x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
    taps = [x]
    for stage, blocks in enumerate(_BLOCKS):
      for block in range(blocks):
        x = ShuffleUnit(
          widths[stage],
          block == 0,
          self.norm,
          self.conv_form,
          name=f'stage{stage + 1}_block{block}',
        )(x, train)
      taps.append(x)
    x = self._conv(x, head, 'head', train)
    embedding = jnp.mean(x, axis=(1, 2))
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))

  def _conv(self, x, width, name, train, size=1, stride=1):
    x = Conv(
      width,
      size=size,
      stride=stride,
      padding=size // 2,
      use_bias=False,
      form=self.conv_form,
      name=f'{name}_conv',
    )(x)
    return _relu(make_norm(self.norm, f'{name}_norm', train)(x))


def shufflenet_v2(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  form: str = 'auto',
  width_multiplier: float = 0.5,
  norm: str = 'batch',
  conv_form: str = 'auto',
) -> Network:
  """Returns a ShuffleNet-V2, Ma et al. (2018), PyTorch's initialisation.

  Form `'imagenet'` is torchvision's: conv3x3 with stride 2 and max pooling in
  front; 1,366,792 (0.5x) or 2,278,604 (1x) parameters for 1000 classes. Form
  `'cifar'` is the one of the distillation literature: a 1x1 stem that reduces
  nothing. EDC's observers have width multiplier 0.5 in both.

  The taps are the stem and the three stages; `embedding` is the pooled head.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    form: `'cifar'`, `'imagenet'`, or `'auto'`: `'cifar'` up to 64 pixels.
    width_multiplier: 0.5, 1.0, 1.5 or 2.0.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    conv_form: see `convolve`; `'lax'` takes grouped convolutions too.

  Raises:
    ValueError: if an option is unknown or the images are too small.
  """
  form = resolve_size_form(form, image_shape)
  check_choice('width_multiplier', width_multiplier, _WIDTHS)
  widths = _WIDTHS[width_multiplier]
  check_options(
    norm, (_STEM_WIDTH, *(w // 2 for w in widths[:3]), widths[3]), conv_form
  )
  large = form == 'imagenet'
  last = -(-min(image_shape[:2]) // 2 ** (5 if large else 3))
  check_last_size('shufflenet_v2', image_shape, last, norm)
  module = ShuffleNetV2(num_classes, large, widths, norm, conv_form)
  return wrap_linen(module, image_shape, init='torch', name='shufflenet_v2')
