"""The ConvNet of dataset condensation."""

import flax.linen as nn

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._layers import (
  POOLINGS,
  Conv,
  activation,
  make_norm,
  pool,
)
from dcjax.networks._zoo_checks import check_options, layer_widths
from dcjax.utils import check_at_least, check_choice


class ConvNet(nn.Module):
  """`depth` blocks of conv3x3, norm, activation, pooling; one linear layer.

  Gidaris & Komodakis (2018), as DC (Zhao et al., 2021, section 4.1) and IDC
  (Kim et al., 2022) use it. The first convolution pads by 3 if the images have
  one channel, else by 1.
  """

  num_classes: int
  depth: int = 3
  width: int | tuple[int, ...] = 128
  norm: str = 'instance'
  activation: str = 'relu'
  pooling: str = 'avg'
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and block outputs of `images [B, H, W, D]`."""
    taps, unpooled = [], []
    x = images
    for block, width in enumerate(_widths(self.width, self.depth)):
      one_channel = block == 0 and images.shape[-1] == 1
      x = Conv(
        width,
        padding=3 if one_channel else 1,
        form=self.conv_form,
        name=f'conv{block}',
      )(x)
      x = make_norm(self.norm, f'norm{block}', train)(x)
      x = activation(self.activation)(x)
      unpooled.append(x)
      x = pool(x, self.pooling)
      taps.append(x)
    embedding = x.reshape(x.shape[0], -1)
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps), tuple(unpooled))


def convnet(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  depth: int = 3,
  width: int | tuple[int, ...] = 128,
  norm: str = 'instance',
  activation: str = 'relu',
  pooling: str = 'avg',
  conv_form: str = 'auto',
) -> Network:
  """Returns a ConvNet with PyTorch's initialisation.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    depth: number of blocks; each pooling halves rows and columns.
    width: channels of every block, or a tuple of those of each.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    activation: `'relu'`, `'sigmoid'`, `'leaky_relu'` or `'swish'`.
    pooling: `'avg'`, `'max'` or `'none'`.
    conv_form: see `convolve`.

  Raises:
    ValueError: if an option is unknown or the image too small for the depth.
  """
  _check(image_shape, depth, width, norm, activation, pooling, conv_form)
  module = ConvNet(
    num_classes, depth, width, norm, activation, pooling, conv_form
  )
  channels = '-'.join(map(str, width)) if isinstance(width, tuple) else width
  return wrap_linen(
    module,
    image_shape,
    init='torch',
    name=f'convnet{depth}w{channels}',
    independent=norm != 'batch',
  )


def _widths(width, depth):
  return layer_widths(width, (1,) * depth)


def _check(image_shape, depth, width, norm, kind, pooling, conv_form):
  activation(kind)
  check_choice('pooling', pooling, POOLINGS)
  check_at_least('depth', depth, 1)
  check_options(norm, _widths(width, depth), conv_form)
  smallest = min(image_shape[:2]) + (4 if image_shape[2] == 1 else 0)
  if pooling != 'none' and smallest >> depth < 1:
    raise ValueError(
      f'depth {depth}: images of {image_shape[0]}x{image_shape[1]} can be '
      f'halved {smallest.bit_length() - 1} times only'
    )
  if norm == 'instance' and pooling != 'none' and smallest >> (depth - 1) < 2:
    raise ValueError(
      f'depth {depth}: instance norm would see single pixels in the last '
      f'block; images of {image_shape[0]}x{image_shape[1]} allow depth '
      f'{smallest.bit_length() - 1}'
    )
