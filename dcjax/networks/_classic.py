"""The plain networks of DC's cross-architecture tests: MLP, LeNet, ...

Layers and sizes follow Zhao et al. (2021); all start as PyTorch's layers do.
"""

import itertools

import flax.linen as nn

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._conv import resolve_form
from dcjax.networks._large_classic import (
  LargeAlexNet,
  LargeVgg11,
  last_alexnet_size,
)
from dcjax.networks._layers import (
  Conv,
  ConvReluPool,
  activation,
  make_norm,
  pool,
)
from dcjax.networks._zoo_checks import (
  check_last_size,
  check_options,
  check_rate,
  layer_widths,
)
from dcjax.utils import check_at_least, check_choice

# Channels of VGG-11 in multiples of the first; each stage ends in a pooling.
_VGG11_STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))
_FORMS = ('dc', 'imagenet')
_relu = activation('relu')


class Mlp(nn.Module):
  """Flattened pixels, `depth` hidden layers with ReLU, a linear classifier."""

  num_classes: int
  depth: int = 2
  width: int = 128

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits and the last hidden layer of `images [B, H, W, D]`."""
    x = images.reshape(images.shape[0], -1)
    for layer in range(self.depth):
      x = _relu(nn.Dense(self.width, name=f'dense{layer}')(x))
    return Outputs(nn.Dense(self.num_classes, name='classifier')(x), x)


class LeNet(nn.Module):
  """Two 5x5 convolutions with max pooling, two hidden layers, a classifier."""

  num_classes: int
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 2 taps of `images [B, H, W, D]`."""
    taps = []
    x = images
    paddings = (_lenet_padding(images.shape), 0)
    for block, (width, padding) in enumerate(
      zip((6, 16), paddings, strict=True)
    ):
      layer = {'padding': padding, 'form': self.conv_form}
      x = ConvReluPool(width, size=5, **layer, name=f'conv{block}')(x)
      taps.append(x)
    x = x.reshape(x.shape[0], -1)
    for layer, width in enumerate((120, 84)):
      x = _relu(nn.Dense(width, name=f'dense{layer}')(x))
    logits = nn.Dense(self.num_classes, name='classifier')(x)
    return Outputs(logits, x, tuple(taps))


class AlexNet(nn.Module):
  """Five convolutions (128, 192, 256, 192, 192), three max poolings."""

  num_classes: int
  norm: str = 'none'
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 3 taps of `images [B, H, W, D]`."""
    first = _alexnet_padding(images.shape)
    # (width, kernel size, padding, whether a pooling follows)
    layers = (
      (128, 5, first, True),
      (192, 5, 2, True),
      (256, 3, 1, False),
      (192, 3, 1, False),
      (192, 3, 1, True),
    )
    taps = []
    x = images
    for index, (width, size, padding, pools) in enumerate(layers):
      x = Conv(
        width,
        size=size,
        padding=padding,
        form=self.conv_form,
        name=f'conv{index}',
      )(x)
      x = _relu(make_norm(self.norm, f'norm{index}', train)(x))
      if pools:
        x = pool(x, 'max')
        taps.append(x)
    embedding = x.reshape(x.shape[0], -1)
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))


class Vgg11(nn.Module):
  """Eight 3x3 convolutions in five stages that end in a max pooling."""

  num_classes: int
  width: int | tuple[int, ...] = 64
  norm: str = 'instance'
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 5 taps of `images [B, H, W, D]`."""
    taps = []
    x = images
    index = 0
    for stage in _vgg11_channels(self.width):
      for width in stage:
        x = Conv(
          width,
          padding=_vgg_padding(images.shape) if index == 0 else 1,
          form=self.conv_form,
          name=f'conv{index}',
        )(x)
        x = _relu(make_norm(self.norm, f'norm{index}', train)(x))
        index += 1
      x = pool(x, 'max')
      taps.append(x)
    embedding = x.reshape(x.shape[0], -1)
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))


# One-channel images (28x28) get a wider border, so that all later sizes are
# those of 32x32 images.


def _lenet_padding(shape):
  return 2 if shape[-1] == 1 else 0


def _alexnet_padding(shape):
  return 4 if shape[-1] == 1 else 2


def _vgg_padding(shape):
  return 3 if shape[-1] == 1 else 1


def mlp(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  depth: int = 2,
  width: int = 128,
) -> Network:
  """Returns a multilayer perceptron, Zhao et al. (2021), section 4.2.

  `embedding` is the last hidden layer `[B, width]`; there are no taps.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    depth: number of hidden layers.
    width: units of every hidden layer.

  Raises:
    ValueError: if depth or width is below 1.
  """
  check_at_least('depth', depth, 1)
  check_at_least('width', width, 1)
  module = Mlp(num_classes, depth, width)
  return wrap_linen(module, image_shape, init='torch', name='mlp')


def lenet(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  conv_form: str = 'auto',
) -> Network:
  """Returns a LeNet with ReLU and max pooling, as DC uses it.

  The first convolution pads by 2 if the images have one channel, else by 0.
  `embedding` is `[B, 84]`; the taps are the two pooled blocks.

  Args:
    image_shape: `(H, W, D)`, at least 12x12 (one channel) or 16x16.
    num_classes: `K`.
    conv_form: see `convolve`; `'auto'` pools at once on CPUs.

  Raises:
    ValueError: if the form is unknown or the images are too small.
  """
  resolve_form(conv_form)
  padded = min(image_shape[:2]) + 2 * _lenet_padding(image_shape)
  check_last_size('lenet', image_shape, ((padded - 4) // 2 - 4) // 2)
  module = LeNet(num_classes, conv_form)
  return wrap_linen(module, image_shape, init='torch', name='lenet')


def alexnet(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  form: str = 'dc',
  norm: str = 'none',
  dropout: float = 0.0,
  conv_form: str = 'auto',
) -> Network:
  """Returns the small AlexNet of DC, or torchvision's for ImageNet.

  Form `'dc'`: the first convolution pads by 4 if the images have one channel,
  else by 2. `embedding` is the flattened last tap; the taps are the 3 pooled
  maps. `norm='batch'` makes its AlexNetBN.

  Form `'imagenet'`: conv11x11 with stride 4, overlapping max pooling, average
  pooling to 6x6 (the last tap), two hidden layers of 4096 units, the second
  being `embedding`; 61,100,840 parameters for 1000 classes. It has no norm.

  Args:
    image_shape: `(H, W, D)`, at least 8x8 (4x4 with one channel), or 63x63.
    num_classes: `K`.
    form: `'dc'` or `'imagenet'`.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`, after each
      convolution.
    dropout: rate before the hidden layers of `'imagenet'`, in [0, 1).
      torchvision trains with 0.5; the default is 0 because observers are
      frozen.
    conv_form: see `convolve`.

  Raises:
    ValueError: if an option is unknown, one that the form does not have, or
      the images are too small.
  """
  check_choice('form', form, _FORMS)
  _check_dropout(form, dropout)
  if form == 'imagenet':
    check_choice("norm of form 'imagenet'", norm, ('none',))
    resolve_form(conv_form)
    last = last_alexnet_size(min(image_shape[:2]))
    check_last_size('alexnet', image_shape, last)
    large = LargeAlexNet(num_classes, dropout, conv_form)
    return wrap_linen(
      large, image_shape, init='torch', name='alexnet', dropout=dropout > 0
    )
  check_options(norm, (128, 192, 256), conv_form)
  border = 4 if image_shape[2] == 1 else 0
  last = (min(image_shape[:2]) + border) // 4
  check_last_size('alexnet', image_shape, last if last > 1 else 0, norm)
  module = AlexNet(num_classes, norm, conv_form)
  return wrap_linen(module, image_shape, init='torch', name='alexnet')


def vgg11(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  form: str = 'dc',
  width: int | tuple[int, ...] = 64,
  norm: str = 'instance',
  dropout: float = 0.0,
  conv_form: str = 'auto',
) -> Network:
  """Returns the VGG-11 of DC, or torchvision's for ImageNet.

  Form `'dc'`: the first convolution pads by 3 if the images have one channel,
  else by 1. `embedding` is the flattened last tap; the taps are the 5 stages,
  pooled. `norm='batch'` makes its VGG11BN.

  Form `'imagenet'`: average pooling to 7x7 (the last tap) and two hidden layers
  of 4096 units, the second being `embedding`. With `norm='batch'` it is
  torchvision's VGG-11-BN: 132,868,840 parameters for 1000 classes. Its kernels
  start as He's, fan-out, the rest as PyTorch's layers.

  Args:
    image_shape: `(H, W, D)`, at least 32x32 (28x28 with one channel and form
      `'dc'`).
    num_classes: `K`.
    form: `'dc'` or `'imagenet'`.
    width: channels of the first stage; the later ones have 2, 4, 8, 8 times
      as many. Or a tuple of the channels of each of the 8 convolutions.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    dropout: rate after the hidden layers of `'imagenet'`, in [0, 1).
      torchvision trains with 0.5; the default is 0 because observers are
      frozen.
    conv_form: see `convolve`.

  Raises:
    ValueError: if an option is unknown, one that the form does not have, or
      the images are too small.
  """
  check_choice('form', form, _FORMS)
  _check_dropout(form, dropout)
  channels = tuple(itertools.chain(*_vgg11_channels(width)))
  check_options(norm, channels, conv_form)
  if form == 'imagenet':
    return _large_vgg11(
      image_shape, num_classes, width, norm, dropout, conv_form
    )
  border = 4 if image_shape[2] == 1 else 0
  last = (min(image_shape[:2]) + border) // 16
  check_last_size('vgg11', image_shape, last if last > 1 else 0, norm)
  module = Vgg11(num_classes, width, norm, conv_form)
  return wrap_linen(module, image_shape, init='torch', name='vgg11')


def _large_vgg11(image_shape, num_classes, width, norm, dropout, conv_form):
  last = min(image_shape[:2]) // 16
  check_last_size('vgg11', image_shape, last if last > 1 else 0, norm)
  stages = _vgg11_channels(width)
  module = LargeVgg11(num_classes, stages, norm, dropout, conv_form)
  return wrap_linen(
    module, image_shape, init='he_fan_out', name='vgg11', dropout=dropout > 0
  )


def _vgg11_channels(width):
  """Channels of every convolution, stage by stage."""
  multiples = itertools.chain(*_VGG11_STAGES)
  channels = iter(layer_widths(width, tuple(multiples)))
  return tuple(tuple(next(channels) for _ in stage) for stage in _VGG11_STAGES)


def _check_dropout(form, dropout):
  check_rate('dropout', dropout)
  if dropout and form == 'dc':
    raise ValueError(f"dropout {dropout!r}: form 'dc' has none; leave it 0")
