"""Swin: hierarchical transformers with shifted windows, as students."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dcjax.base import Array, Network, Outputs
from dcjax.networks._adapters import wrap_linen
from dcjax.networks._transformer_layers import (
  Mlp,
  dense,
  drop_path,
  layer_norm,
  normal_init,
  patch_embedding,
  path_rates,
  split_heads,
)
from dcjax.networks._zoo_checks import check_rate
from dcjax.utils import check_at_least

_EPSILON = 1e-5
_DEPTHS = (2, 2, 6, 2)
_HEAD_WIDTH = 32
_MASKED = -100.0


class WindowAttention(nn.Module):
  """Self-attention within `window x window` windows, shifted or not.

  Liu et al. (2021), sections 3.2 and 3.3: relative position bias, and a cyclic
  shift whose mask keeps tokens apart that are no neighbours. Maps that no
  window divides are padded; a map that one window covers is not shifted.
  """

  heads: int
  window: int
  shift: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, h, w, channels]` to the same shape."""
    _, h, w, channels = x.shape
    bottom, right = -h % self.window, -w % self.window
    padded = jnp.pad(x, ((0, 0), (0, bottom), (0, right), (0, 0)))
    size = padded.shape[1:3]
    shifts = tuple(self.shift if n > self.window else 0 for n in size)
    tokens = _windows(_rolled(padded, shifts, -1), self.window)
    bias = self._position_bias() + region_mask(size, self.window, shifts)
    y = dense(3 * channels, 'qkv')(tokens)
    # All images share the bias of a window.
    attend = jax.vmap(jax.nn.dot_product_attention, in_axes=(0, 0, 0, None))
    y = attend(*split_heads(y, self.heads), bias).reshape(tokens.shape)
    y = dense(channels, 'projection')(y)
    y = _rolled(_joined(y, size, self.window), shifts, 1)
    return y[:, :h, :w]

  def _position_bias(self):
    """`[1, heads, tokens, tokens]`: a learnt number per offset."""
    span = 2 * self.window - 1
    shape = (span * span, self.heads)
    table = self.param('position_bias', normal_init, shape)
    rows, columns = np.indices((self.window,) * 2).reshape(2, -1)
    offset = (rows[:, None] - rows + self.window - 1) * span
    offset = offset + columns[:, None] - columns + self.window - 1
    return table[offset].transpose(2, 0, 1)[None]


def _rolled(x, shifts, sign):
  return jnp.roll(x, [sign * shift for shift in shifts], (1, 2))


def _windows(x, window):
  """`[B, h, w, channels]` -> `[B, windows, window * window, channels]`."""
  b, h, w, channels = x.shape
  x = x.reshape(b, h // window, window, w // window, window, channels)
  return x.swapaxes(2, 3).reshape(b, -1, window * window, channels)


def _joined(tokens, size, window):
  """Undoes `_windows` for maps of `size` rows and columns."""
  h, w = size
  b, channels = tokens.shape[0], tokens.shape[-1]
  x = tokens.reshape(b, h // window, w // window, window, window, channels)
  return x.swapaxes(2, 3).reshape(b, h, w, channels)


def region_mask(
  size: tuple[int, int], window: int, shifts: tuple[int, int]
) -> np.ndarray:
  """Returns what is added to attention between tokens of a shifted map.

  Args:
    size: rows and columns of the map, multiples of the window.
    window: rows and columns of a window.
    shifts: by how many rows and columns the map was rolled back.

  Returns:
    `[windows, 1, tokens, tokens]`: 0 for pairs that were neighbours before the
    roll, -100 for others.
  """
  rows, columns = (
    np.searchsorted([n - window, n - shift], np.arange(n), side='right')
    if shift
    else np.zeros(n, int)
    for n, shift in zip(size, shifts, strict=True)
  )
  regions = 3 * rows[:, None] + columns
  regions = regions.reshape(size[0] // window, window, -1, window)
  regions = regions.swapaxes(1, 2).reshape(-1, 1, window * window)
  apart = regions[..., None] != regions[..., None, :]
  return np.where(apart, _MASKED, 0.0).astype(np.float32)


class SwinBlock(nn.Module):
  """Windowed attention and an MLP, each after a norm, around a shortcut."""

  heads: int
  window: int
  shift: int
  drop_path: float

  @nn.compact
  def __call__(self, x: Array, train: bool) -> Array:
    """Maps `[B, h, w, channels]` to the same shape."""
    attention = WindowAttention(
      self.heads, self.window, self.shift, name='attention'
    )
    y = attention(layer_norm('norm1', _EPSILON)(x))
    x = x + drop_path(self, y, self.drop_path, train)
    y = Mlp(name='mlp')(layer_norm('norm2', _EPSILON)(x))
    return x + drop_path(self, y, self.drop_path, train)


class PatchMerging(nn.Module):
  """Joins 2x2 tokens into one with twice the channels."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Maps `[B, h, w, channels]` to `[B, h / 2, w / 2, 2 channels]`."""
    _, h, w, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    corners = ((0, 0), (1, 0), (0, 1), (1, 1))
    x = jnp.concatenate([x[:, i::2, j::2] for i, j in corners], -1)
    x = layer_norm('norm', _EPSILON)(x)
    return dense(2 * channels, 'reduction', use_bias=False)(x)


class Swin(nn.Module):
  """Patches, four stages of windowed attention, a linear classifier."""

  num_classes: int
  patch_size: int = 4
  width: int = 96
  depths: tuple[int, ...] = _DEPTHS
  window: int = 7
  drop_path: float = 0.2

  @nn.compact
  def __call__(self, images: Array, train: bool = False) -> Outputs:
    """Returns logits, embedding and 4 taps of `images [B, H, W, D]`."""
    x = patch_embedding(images, self.patch_size, self.width)
    x = layer_norm('patch_norm', _EPSILON)(x)
    rates = iter(path_rates(self.drop_path, sum(self.depths)))
    taps = []
    for stage, blocks in enumerate(self.depths):
      if stage > 0:
        x = PatchMerging(name=f'merging{stage}')(x)
      for block in range(blocks):
        x = SwinBlock(
          x.shape[-1] // _HEAD_WIDTH,
          self.window,
          self.window // 2 if block % 2 else 0,
          next(rates),
          name=f'stage{stage + 1}_block{block}',
        )(x, train)
      taps.append(x)
    x = layer_norm('final_norm', _EPSILON)(x)
    embedding = jnp.mean(x, axis=(1, 2))
    logits = dense(self.num_classes, 'classifier')(embedding)
    return Outputs(logits, embedding, tuple(taps))


def swin_tiny(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  patch_size: int = 4,
  width: int = 96,
  depths: tuple[int, ...] = _DEPTHS,
  window: int = 7,
  drop_path: float = 0.2,
) -> Network:
  """Returns a Swin-Tiny, Liu et al. (2021).

  For 1000 classes it has 28,288,354 parameters. `embedding` is the mean token
  after the last norm; the taps are the stages.

  Args:
    image_shape: `(H, W, D)`, multiples of the patch size.
    num_classes: `K`.
    patch_size: rows and columns of a patch; 2 suits CIFAR-sized images.
    width: channels of the first stage, a multiple of 32: heads have 32.
    depths: blocks of every stage.
    window: rows and columns of an attention window.
    drop_path: rate of the last block's branches, in [0, 1); earlier ones have
      proportionally lower rates.

  Raises:
    ValueError: if an option is out of range or the patches do not fit.
  """
  for field, value in (('patch_size', patch_size), ('window', window)):
    check_at_least(field, value, 1)
  check_at_least('depths', min(depths, default=0), 1)
  check_rate('drop_path', drop_path)
  h, w, _ = image_shape
  if h % patch_size or w % patch_size:
    raise ValueError(
      f'patch_size {patch_size}: must divide the rows and columns of {h}x{w}'
    )
  if width < 1 or width % _HEAD_WIDTH:
    raise ValueError(f'width {width}: must be a multiple of {_HEAD_WIDTH}')
  module = Swin(
    num_classes, patch_size, width, tuple(depths), window, drop_path
  )
  return wrap_linen(
    module, image_shape, name='swin_tiny', dropout=drop_path > 0
  )
