"""MobileNet-V2: an observer of the statistics-matching methods."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._depthwise import DepthwiseConv
from dcjax.networks._layers import Conv, activation, make_norm
from dcjax.networks._zoo_checks import (
  check_last_size,
  check_options,
  check_rate,
  resolve_size_form,
)

# (expansion, channels, blocks, stride of the first) of the stages.
_IMAGENET = (
  (1, 16, 1, 1),
  (6, 24, 2, 2),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
STAGES = {
  'imagenet': _IMAGENET,
  'cifar': (_IMAGENET[0], (6, 24, 2, 1), *_IMAGENET[2:]),
}
_STEM_WIDTH = 32
_HEAD_WIDTH = 1280
_WIDTH_MULTIPLIERS = {'imagenet': 1.0, 'cifar': 0.5}


class InvertedResidual(nn.Module):
  """Expansion, depthwise convolution, linear projection, shortcut.

  Sandler et al. (2018), Figure 4. `relu6` bounds the activations by 6;
  `expands` tells whether the 1x1 expansion is there (a ratio of 1 needs none).
  """

  width: int
  stride: int
  expansion: int
  expands: bool
  relu6: bool
  norm: str
  conv_form: str

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps `[B, h, w, I]` to `[B, h / stride, w / stride, width]`."""
    act = _activation(self.relu6)
    y = x
    if self.expands:
      width = x.shape[-1] * self.expansion
      y = _pointwise(width, self.conv_form, 'expand_conv')(y)
      y = act(make_norm(self.norm, 'expand_norm', train)(y))
    y = DepthwiseConv(
      3, self.stride, form=self.conv_form, name='depthwise_conv'
    )(y)
    y = act(make_norm(self.norm, 'depthwise_norm', train)(y))
    y = _pointwise(self.width, self.conv_form, 'project_conv')(y)
    y = make_norm(self.norm, 'project_norm', train)(y)
    same = self.stride == 1 and x.shape[-1] == self.width
    return x + y if same else y


class MobileNetV2(nn.Module):
  """A stem, seven stages of inverted residuals, a 1x1 head, a classifier."""

  num_classes: int
  form: str
  widths: tuple[int, ...]
  norm: str = 'batch'
  dropout: float = 0.0
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 8 taps of `images [B, H, W, D]`."""
    large = self.form == 'imagenet'
    stem, *widths, head = self.widths
    act = _activation(large)
    x = Conv(
      stem, stride=2, use_bias=False, form=self.conv_form, name='stem_conv'
    )(images)
    x = act(make_norm(self.norm, 'stem_norm', train)(x))
    taps = [x]
    for stage, (expansion, _, blocks, stride) in enumerate(STAGES[self.form]):
      for block in range(blocks):
        x = InvertedResidual(
          widths[stage],
          stride if block == 0 else 1,
          expansion,
          expansion > 1 or not large,
          large,
          self.norm,
          self.conv_form,
          name=f'stage{stage + 1}_block{block}',
        )(x, train)
      taps.append(x)
    x = _pointwise(head, self.conv_form, 'head_conv')(x)
    x = act(make_norm(self.norm, 'head_norm', train)(x))
    embedding = jnp.mean(x, axis=(1, 2))
    x = nn.Dropout(self.dropout, deterministic=not train)(embedding)
    logits = nn.Dense(self.num_classes, name='classifier')(x)
    return Outputs(logits, embedding, tuple(taps))


def _activation(relu6):
  return jax.nn.relu6 if relu6 else activation('relu')


def _pointwise(width, form, name):
  return Conv(width, size=1, padding=0, use_bias=False, form=form, name=name)


def mobilenet_v2(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  form: str = 'auto',
  width_multiplier: float | None = None,
  norm: str = 'batch',
  dropout: float = 0.0,
  conv_form: str = 'auto',
) -> Network:
  """Returns a MobileNet-V2, Sandler et al. (2018), He's fan-out kernels.

  Form `'imagenet'` is torchvision's: ReLU6, widths rounded to multiples of 8,
  3,504,872 parameters for 1000 classes. Form `'cifar'` is the one of the
  distillation literature, which G-VBSM and EDC take as observer: half the
  width, ReLU, no stride in the second stage, an expansion of ratio 1 in the
  first; 812,836 parameters for 100 classes.

  The taps are the stem and the seven stages; `embedding` is the pooled head
  `[B, 1280]`. The classifier starts as PyTorch's linear layers do, not as
  `Normal(0, 0.01)`.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    form: `'cifar'`, `'imagenet'`, or `'auto'`: `'cifar'` up to 64 pixels.
    width_multiplier: of all widths; None means 0.5 or 1, by form.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    dropout: rate before the classifier, in [0, 1). torchvision trains with 0.2;
      the default is 0 because observers are frozen.
    conv_form: see `convolve`; `'lax'` takes grouped convolutions too.

  Raises:
    ValueError: if an option is unknown or the images are too small.
  """
  form = resolve_size_form(form, image_shape)
  if width_multiplier is None:
    width_multiplier = _WIDTH_MULTIPLIERS[form]
  widths = _widths(form, width_multiplier)
  check_options(norm, widths, conv_form)
  check_rate('dropout', dropout)
  reductions = 5 if form == 'imagenet' else 4
  last = -(-min(image_shape[:2]) // 2**reductions)
  check_last_size('mobilenet_v2', image_shape, last, norm)
  module = MobileNetV2(num_classes, form, widths, norm, dropout, conv_form)
  return wrap_linen(
    module,
    image_shape,
    init='he_fan_out',
    name='mobilenet_v2',
    dropout=dropout > 0,
  )


def _widths(form, multiplier):
  """Channels of the stem, the seven stages and the head."""
  head = int(_HEAD_WIDTH * max(1.0, multiplier))
  plain = [_STEM_WIDTH, *(stage[1] for stage in STAGES[form])]
  if form == 'cifar':
    return (*(int(width * multiplier) for width in plain), head)
  return (*(_multiple_of_8(width * multiplier) for width in plain), head)


def _multiple_of_8(width):
  """The nearest multiple of 8, but never more than 10 % below `width`."""
  rounded = max(8, int(width + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * width else rounded
