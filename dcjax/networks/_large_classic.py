"""AlexNet and VGG-11 as torchvision has them for ImageNet."""

import flax.linen as nn

from dcjax.base import Array, Outputs
from dcjax.networks._depthwise import adaptive_average_pool
from dcjax.networks._layers import Conv, activation, make_norm, pool

# (width, kernel size, stride, padding, whether a 3x3 max pooling follows)
_ALEXNET = (
  (64, 11, 4, 2, True),
  (192, 5, 1, 2, True),
  (384, 3, 1, 1, False),
  (256, 3, 1, 1, False),
  (256, 3, 1, 1, True),
)
_ALEXNET_GRID = 6
_VGG_GRID = 7
HIDDEN = 4096
_relu = activation('relu')


class LargeAlexNet(nn.Module):
  """Five convolutions, two hidden layers: Krizhevsky (2014), one column."""

  num_classes: int
  dropout: float = 0.0
  conv_form: str = 'auto'
  hidden: int = HIDDEN

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 3 taps of `images [B, H, W, D]`."""
    taps = []
    x = images
    for index, (width, size, stride, padding, pools) in enumerate(_ALEXNET):
      x = Conv(
        width,
        size=size,
        stride=stride,
        padding=padding,
        form=self.conv_form,
        name=f'conv{index}',
      )(x)
      x = _relu(x)
      if pools:
        x = nn.max_pool(x, (3, 3), (2, 2))
        taps.append(x)
    taps[-1] = adaptive_average_pool(x, _ALEXNET_GRID)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    x = taps[-1].reshape(x.shape[0], -1)
    for layer in range(2):
      x = _relu(nn.Dense(self.hidden, name=f'dense{layer}')(drop(x)))
    logits = nn.Dense(self.num_classes, name='classifier')(x)
    return Outputs(logits, x, tuple(taps))


class LargeVgg11(nn.Module):
  """Eight 3x3 convolutions in five stages, two hidden layers.

  Simonyan & Zisserman (2015), configuration A. `stages` are the channels.
  """

  num_classes: int
  stages: tuple[tuple[int, ...], ...]
  norm: str = 'batch'
  dropout: float = 0.0
  conv_form: str = 'auto'
  hidden: int = HIDDEN

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 5 taps of `images [B, H, W, D]`."""
    taps = []
    x = images
    index = 0
    for stage in self.stages:
      for width in stage:
        x = Conv(width, form=self.conv_form, name=f'conv{index}')(x)
        x = _relu(make_norm(self.norm, f'norm{index}', train)(x))
        index += 1
      x = pool(x, 'max')
      taps.append(x)
    taps[-1] = adaptive_average_pool(x, _VGG_GRID)
    drop = nn.Dropout(self.dropout, deterministic=not train)
    x = taps[-1].reshape(x.shape[0], -1)
    for layer in range(2):
      x = drop(_relu(nn.Dense(self.hidden, name=f'dense{layer}')(x)))
    logits = nn.Dense(self.num_classes, name='classifier')(x)
    return Outputs(logits, x, tuple(taps))


def last_alexnet_size(size: int) -> int:
  """Returns the rows of `LargeAlexNet`'s last map for images of `size` rows."""
  last = (size + 2 * 2 - 11) // 4 + 1
  for _ in range(3):
    last = (last - 3) // 2 + 1
  return last
