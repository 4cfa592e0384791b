"""EfficientNet-B0, which IDC evaluates on ImageNet subsets."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs, Variables
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._depthwise import DepthwiseConv
from dcjax.networks._layers import Conv, make_norm
from dcjax.networks._zoo_checks import (
  check_last_size,
  check_options,
  check_rate,
)
from dcjax.utils import check_choice

# (blocks, kernel size, stride of the first, expansion, channels) of the stages
_STAGES = (
  (1, 3, 1, 1, 16),
  (2, 3, 2, 6, 24),
  (2, 5, 2, 6, 40),
  (3, 3, 2, 6, 80),
  (3, 5, 1, 6, 112),
  (4, 5, 2, 6, 192),
  (1, 3, 1, 6, 320),
)
_NUM_BLOCKS = sum(stage[0] for stage in _STAGES)
_STEM_WIDTH = 32
_HEAD_WIDTH = 1280
_SQUEEZE = 4
_REDUCTIONS = 5
_FORMS = ('tensorflow', 'torchvision')
# Drop masks use one generator everywhere, so that a saved key means the same.
_GENERATOR = 'threefry2x32'


class InvertedBottleneck(nn.Module):
  """Expansion, depthwise convolution, squeeze-and-excite, projection."""

  width: int
  size: int
  stride: int
  expansion: int
  norm: str
  conv_form: str
  form: str = 'tensorflow'

  @nn.compact
  def __call__(
    self, x: Array, train: bool, drop_rate: float, drop_key: Array | None
  ) -> Array:
    """Maps `[B, h, w, I]` to `[B, h / stride, w / stride, width]`.

    Args:
      x: feature maps.
      train: see `make_norm`.
      drop_rate: probability that an image skips the block's branch.
      drop_key: None drops nothing.
    """
    inner = x.shape[-1] * self.expansion
    y = x
    if self.expansion > 1:
      y = _pointwise(inner, self.conv_form, 'expand_conv')(y)
      y = jax.nn.silu(self._norm('expand_norm', train)(y))
    y = DepthwiseConv(
      self.size,
      self.stride,
      'SAME' if self.form == 'tensorflow' else 'EVEN',
      form=self.conv_form,
      name='depthwise_conv',
    )(y)
    y = jax.nn.silu(self._norm('depthwise_norm', train)(y))
    y = self._excited(y, max(1, x.shape[-1] // _SQUEEZE))
    y = _pointwise(self.width, self.conv_form, 'project_conv')(y)
    y = self._norm('project_norm', train)(y)
    if self.stride > 1 or x.shape[-1] != self.width:
      return y
    return x + drop(drop_key, y, drop_rate, (y.shape[0], 1, 1, 1))

  def _norm(self, name, train):
    return _norm(self.norm, self.form, name, train)

  def _excited(self, x, squeezed):
    """Weighs channels by what their means say."""
    form = self.conv_form
    y = jnp.mean(x, axis=(1, 2), keepdims=True)
    y = _pointwise(squeezed, form, 'squeeze_conv', use_bias=True)(y)
    y = jax.nn.silu(y)
    y = _pointwise(x.shape[-1], form, 'excite_conv', use_bias=True)(y)
    return x * jax.nn.sigmoid(y)


class EfficientNet(nn.Module):
  """EfficientNet-B0, Tan & Le (2019)."""

  num_classes: int
  norm: str = 'batch'
  dropout: float = 0.2
  drop_connect: float = 0.2
  conv_form: str = 'auto'
  form: str = 'tensorflow'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 8 taps of `images [B, H, W, D]`."""
    key = self._drop_key(train)
    x = nn.Conv(
      _STEM_WIDTH,
      (3, 3),
      2,
      padding='SAME' if self.form == 'tensorflow' else 1,
      use_bias=False,
      name='stem_conv',
    )(images)
    x = jax.nn.silu(_norm(self.norm, self.form, 'stem_norm', train)(x))
    taps = [x]
    index = 0
    for stage, (blocks, size, stride, expansion, width) in enumerate(_STAGES):
      for block in range(blocks):
        x = InvertedBottleneck(
          width,
          size,
          stride if block == 0 else 1,
          expansion,
          self.norm,
          self.conv_form,
          self.form,
          name=f'stage{stage + 1}_block{block}',
        )(x, train, self.drop_connect * index / _NUM_BLOCKS, _fold(key, index))
        index += 1
      taps.append(x)
    x = _pointwise(_HEAD_WIDTH, self.conv_form, 'head_conv')(x)
    x = jax.nn.silu(_norm(self.norm, self.form, 'head_norm', train)(x))
    embedding = jnp.mean(x, axis=(1, 2))
    x = drop(_fold(key, index), embedding, self.dropout, embedding.shape)
    logits = nn.Dense(self.num_classes, name='classifier')(x)
    return Outputs(logits, embedding, tuple(taps))

  def _drop_key(self, train):
    """The key of this step, or None; leaves the next one in the state."""
    if self.dropout == self.drop_connect == 0:
      return None
    stored = self.variable('dropout', 'key', jnp.zeros, (2,), jnp.uint32)
    if not train:
      return None
    key = jax.random.wrap_key_data(stored.value, impl=_GENERATOR)
    following, key = jax.random.split(key)
    stored.value = jax.random.key_data(following)
    return key


def drop(
  key: Array | None, x: Array, rate: float, shape: tuple[int, ...]
) -> Array:
  """Zeroes parts of `x` and scales the rest by `1 / (1 - rate)`.

  Args:
    key: None returns `x` as it is.
    x: any shape.
    rate: probability of zero.
    shape: of the mask, broadcast to `x`: ones make whole axes drop together.
  """
  if key is None or rate == 0:
    return x
  kept = jax.random.bernoulli(key, 1 - rate, shape)
  return jnp.where(kept, x / (1 - rate), 0)


def _fold(key, index):
  return None if key is None else jax.random.fold_in(key, index)


def _norm(kind, form, name, train):
  if kind != 'batch' or form == 'torchvision':
    return make_norm(kind, name, train)
  return nn.BatchNorm(
    use_running_average=not train,
    momentum=0.99,
    epsilon=1e-3,
    use_fast_variance=False,
    name=name,
  )


def _pointwise(width, form, name, use_bias=False):
  return Conv(width, size=1, padding=0, use_bias=use_bias, form=form, name=name)


def efficientnet_b0(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  form: str = 'tensorflow',
  norm: str = 'batch',
  dropout: float = 0.2,
  drop_connect: float = 0.2,
  conv_form: str = 'auto',
) -> Network:
  """Returns an EfficientNet-B0, Tan & Le (2019), PyTorch's initialisation.

  Form `'tensorflow'` is the original that IDC evaluates: strides pad as
  TensorFlow's `SAME`, BatchNorm has eps 1e-3 and keeps 0.99 of its running
  statistics a step. Form `'torchvision'`, which torchvision's weights need,
  pads both sides alike and has PyTorch's BatchNorm (eps 1e-5, 0.9). The
  parameters are the same: 5,288,548 for 1000 classes.

  Randomness: `Network.apply` takes no key, so the state carries one, in
  `state['dropout']['key']` (`[2]` uint32, drawn by `init`). A training step
  uses it and returns its successor; a step repeated from one state repeats its
  masks, and evaluation drops nothing. With both rates 0 there is no such entry
  and the network is deterministic: what gradient matching wants.

  The taps are the stem and the seven stages; `embedding` is the pooled head
  `[B, 1280]`, before dropout.

  Args:
    image_shape: `(H, W, D)`; made for 224x224. Five halvings round up.
    num_classes: `K`.
    form: `'tensorflow'` or `'torchvision'`.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    dropout: rate before the classifier, in [0, 1).
    drop_connect: rate of the last block's branch, in [0, 1); earlier blocks
      have proportionally lower ones.
    conv_form: of all convolutions but the first; see `convolve`.

  Raises:
    ValueError: if an option is unknown or a rate is outside [0, 1).
  """
  check_choice('form', form, _FORMS)
  check_options(norm, (_STEM_WIDTH,), conv_form)
  check_rate('dropout', dropout)
  check_rate('drop_connect', drop_connect)
  last = -(-min(image_shape[:2]) // 2**_REDUCTIONS)
  check_last_size('efficientnet_b0', image_shape, last, norm)
  module = EfficientNet(
    num_classes, norm, dropout, drop_connect, conv_form, form
  )
  network = wrap_linen(
    module, image_shape, init='torch', name='efficientnet_b0'
  )
  if dropout == drop_connect == 0:
    return network
  return network._replace(init=_with_drop_key(network.init))


def _with_drop_key(init):
  def with_key(key):
    params, state = init(key)
    bits = jax.random.bits(jax.random.fold_in(key, 2), (2,), jnp.uint32)
    return Variables(params, {**state, 'dropout': {'key': bits}})

  return with_key
