"""DenseNet-121 in the small form of IDC and in the form for large images."""

import flax.linen as nn
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._layers import Conv, activation, make_norm, pool
from dcjax.networks._zoo_checks import check_last_size, check_options
from dcjax.utils import check_at_least, check_choice

_FORMS = ('auto', 'cifar', 'imagenet')
_GROWTHS = {'cifar': 12, 'imagenet': 32}
_BLOCKS = (6, 12, 24, 16)
_BOTTLENECK_EXPANSION = 4
_relu = activation('relu')


class DenseLayer(nn.Module):
  """Norm, ReLU, conv1x1 to 4 growth, norm, ReLU, conv3x3 to growth channels."""

  growth: int
  norm: str
  conv_form: str

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Puts `growth` new channels before those of `x [B, h, w, I]`."""
    y = _relu(make_norm(self.norm, 'norm1', train)(x))
    width = _BOTTLENECK_EXPANSION * self.growth
    y = _conv(width, 1, self.conv_form, 'conv1')(y)
    y = _relu(make_norm(self.norm, 'norm2', train)(y))
    y = _conv(self.growth, 3, self.conv_form, 'conv2')(y)
    return jnp.concatenate([y, x], axis=-1)


class DenseNet(nn.Module):
  """A stem, four dense blocks with halving transitions, global pooling.

  Huang et al. (2017), bottleneck layers and compression by a half.
  """

  num_classes: int
  growth: int = 12
  large_stem: bool = False
  norm: str = 'batch'
  conv_form: str = 'auto'

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 5 taps of `images [B, H, W, D]`."""
    x = self._stem(images, train)
    taps = [x]
    for stage, layers in enumerate(_BLOCKS):
      for layer in range(layers):
        x = DenseLayer(
          self.growth,
          self.norm,
          self.conv_form,
          name=f'stage{stage + 1}_layer{layer}',
        )(x, train)
      name = f'transition{stage + 1}'
      x = _relu(make_norm(self.norm, f'{name}_norm', train)(x))
      if stage + 1 < len(_BLOCKS):
        x = _conv(x.shape[-1] // 2, 1, self.conv_form, f'{name}_conv')(x)
        x = pool(x, 'avg')
      taps.append(x)
    embedding = jnp.mean(x, axis=(1, 2))
    logits = nn.Dense(self.num_classes, name='classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))

  def _stem(self, images, train):
    width = 2 * self.growth
    if not self.large_stem:
      return _conv(width, 3, self.conv_form, 'stem_conv')(images)
    x = _conv(width, 7, self.conv_form, 'stem_conv', stride=2)(images)
    x = _relu(make_norm(self.norm, 'stem_norm', train)(x))
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


def _conv(width, size, form, name, stride=1):
  return Conv(
    width,
    size=size,
    stride=stride,
    padding=size // 2,
    use_bias=False,
    form=form,
    name=name,
  )


def densenet121(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  form: str = 'auto',
  growth: int | None = None,
  norm: str = 'batch',
  conv_form: str = 'auto',
) -> Network:
  """Returns a DenseNet-121 with PyTorch's initialisation.

  The network that the IDC paper calls DenseNet is form `'cifar'`: growth 12, a
  3x3 stem without norm, about one million parameters. Form `'imagenet'` is the
  one of Huang et al. (2017): growth 32, stem conv7x7 with stride 2, norm, ReLU
  and 3x3 max pooling.

  The taps are the stem, the three transitions' outputs and the last block
  after norm and ReLU; `embedding` is its mean over rows and columns.

  Args:
    image_shape: `(H, W, D)`, at least 8x8 (`'cifar'`) or 32x32.
    num_classes: `K`.
    form: `'cifar'`, `'imagenet'`, or `'auto'`: `'cifar'` up to 64 pixels.
    growth: channels that a layer adds; None means 12 or 32, by form.
    norm: `'instance'`, `'batch'`, `'layer'`, `'group'` or `'none'`.
    conv_form: see `convolve`.

  Raises:
    ValueError: if an option is unknown or the images are too small.
  """
  check_choice('form', form, _FORMS)
  if form == 'auto':
    form = 'cifar' if max(image_shape[:2]) <= 64 else 'imagenet'
  growth = _GROWTHS[form] if growth is None else growth
  check_at_least('growth', growth, 1)
  check_options(norm, _widths(growth), conv_form)
  large = form == 'imagenet'
  size = min(image_shape[:2])
  # The stem's two reductions round up, the transitions' poolings down.
  last = (-(-size // 4) if large else size) >> 3
  check_last_size('densenet121', image_shape, last, norm)
  module = DenseNet(num_classes, growth, large, norm, conv_form)
  return wrap_linen(module, image_shape, init='torch', name='densenet121')


def _widths(growth):
  """Channels of every normalised layer."""
  widths = [4 * growth]
  width = 2 * growth
  for layers in _BLOCKS:
    widths += [width + layer * growth for layer in range(layers + 1)]
    width = widths[-1] // 2
  return tuple(widths)
