"""The upsampling generator that turns a code and a class into an image."""

import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array, Key, Params
from dcjax.networks._layers import Conv

_FIRST = 4  # rows and columns of the stem
_INIT_SCALE = 0.02
_EPSILON = 1e-5
# Images of one piece of a decode: bounds the memory of all activations.
_AT_ONCE = 128


class Generator(nn.Module):
  """A linear stem, blocks of two convolutions and an upsampling, one output.

  Code and projected class embedding are joined and mapped to 4 x 4 pixels. A
  block is twice ReLU, 3 x 3 convolution and BatchNorm, then upsampling to twice
  the rows and columns, nearest neighbour. ReLU, a 3 x 3 convolution and tanh
  end it. There is no normalisation behind the last block's.

  Attributes:
    blocks: how often 4 x 4 pixels are doubled.
    width: channels of stem and blocks.
    channels: `D` of the images.
    projection: channels that a class embedding is projected to.
    momentum: of the running statistics, per batch; 0 replaces them.
  """

  blocks: int
  width: int
  channels: int
  projection: int
  momentum: float = 0.9

  @nn.compact
  def __call__(
    self, codes: Array, embeddings: Array, train: bool = False
  ) -> Array:
    """Generates square images in [-1, 1].

    Args:
      codes: `[B, dim]`.
      embeddings: `[B, F]`, of the classes of the images.
      train: whether BatchNorm takes, and tracks, the statistics of this batch.

    Returns:
      `[B, S, S, D]`, `S = 4 * 2**blocks`.
    """
    projected = nn.Dense(self.projection, name='projection')(embeddings)
    joined = jnp.concatenate([codes, projected], axis=-1)
    x = nn.Dense(_FIRST**2 * self.width, name='stem')(joined)
    x = x.reshape(-1, _FIRST, _FIRST, self.width)
    for block in range(self.blocks):
      for layer in range(2):
        x = Conv(self.width, name=f'conv{block}_{layer}')(nn.relu(x))
        x = nn.BatchNorm(
          use_running_average=not train,
          momentum=self.momentum,
          epsilon=_EPSILON,
          use_fast_variance=False,
          name=f'norm{block}_{layer}',
        )(x)
      x = double(x)
    return jnp.tanh(Conv(self.channels, name='output')(nn.relu(x)))


def double(images: Array) -> Array:
  """Repeats every pixel: `[B, h, w, D]` to `[B, 2 h, 2 w, D]`."""
  return jnp.repeat(jnp.repeat(images, 2, axis=1), 2, axis=2)


def blocks_of(size: int) -> int:
  """How often 4 pixels are doubled until they are at least `size`."""
  return max(1, math.ceil(math.log2(size / _FIRST)))


def generator_of(spec: Mapping[str, Any], momentum: float = 0.9) -> Generator:
  """The generator that the spec of a codebook describes."""
  height, width, channels = spec['image_shape']
  return Generator(
    blocks_of(max(height, width)),
    spec['width'],
    channels,
    spec['projection_dim'],
    momentum,
  )


def start(key: Key, spec: Mapping[str, Any]) -> tuple[Params, Params]:
  """Draws a generator's weights, and gives statistics of mean 0, variance 1.

  Kernels are normal of deviation 0.02, in one draw, so that little is compiled.
  """
  module = generator_of(spec)
  probes = (
    jnp.zeros((1, spec['codes_dim'])),
    jnp.zeros((1, spec['embedding_dim'])),
  )
  shapes = jax.eval_shape(module.init, jax.random.key(0), *probes)
  params, statistics = shapes['params'], shapes['batch_stats']
  kernels = [
    leaf.size
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    if path[-1].key == 'kernel'
  ]
  pool = _INIT_SCALE * jax.random.normal(key, (sum(kernels),))
  parts = iter(jnp.split(pool, list(_running_sum(kernels))[:-1]))

  def fill(path, leaf):
    if path[-1].key == 'kernel':
      return next(parts).reshape(leaf.shape)
    full = 1.0 if path[-1].key in ('scale', 'var') else 0.0
    return jnp.full(leaf.shape, full, jnp.float32)

  filled = jax.tree_util.tree_map_with_path(fill, params)
  return filled, jax.tree_util.tree_map_with_path(fill, statistics)


def _running_sum(sizes):
  total = 0
  for size in sizes:
    total += size
    yield total


def generate(
  spec: Mapping[str, Any],
  generator: Params,
  statistics: Params,
  codes: Array,
  embeddings: Array,
) -> Array:
  """Generates images with fixed statistics, a bounded number at a time.

  Args:
    spec: of the codebook.
    generator: its network's weights.
    statistics: running means and variances of its BatchNorm layers.
    codes: `[B, dim]`.
    embeddings: `[B, F]`.

  Returns:
    `[B, H, W, D]` in the value range of the spec.
  """
  module = generator_of(spec)
  variables = {'params': generator, 'batch_stats': statistics}

  # What a piece computes is computed again for its gradient, so that memory
  # does not grow with the number of images.
  @jax.checkpoint
  def some(pair):
    return to_images(spec, module.apply(variables, *pair))

  count = codes.shape[0]
  if count <= _AT_ONCE:
    return some((codes, embeddings))
  pieces = -(-count // _AT_ONCE)
  size = -(-count // pieces)
  padding = pieces * size - count

  def cut(rows):
    padded = jnp.pad(rows, ((0, padding), (0, 0)))
    return padded.reshape(pieces, size, -1)

  images = jax.lax.map(some, (cut(codes), cut(embeddings)))
  return images.reshape(-1, *images.shape[2:])[:count]


def to_images(spec: Mapping[str, Any], squares: Array) -> Array:
  """Maps generated squares to images: the middle, in the value range.

  Args:
    spec: of the codebook.
    squares: `[B, S, S, D]` in [-1, 1].

  Returns:
    `[B, H, W, D]`.
  """
  height, width, _ = spec['image_shape']
  low, high = spec['value_range']
  top, left = (squares.shape[1] - height) // 2, (squares.shape[2] - width) // 2
  middle = squares[:, top : top + height, left : left + width]
  return low + (high - low) * (middle + 1) / 2
