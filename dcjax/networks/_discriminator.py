"""Networks that tell real from synthetic: by features, and by pixels."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array, Key, Params
from dcjax.networks._initialise import draw_params
from dcjax.networks._layers import Conv
from dcjax.utils import check_at_least

_SLOPE = 0.2


class Discriminator(NamedTuple):
  """A discriminator as two pure functions.

  Attributes:
    init: `key -> params`.
    apply: of features, `(params, features [B, F], conditions [B, E]) -> logits
      [B]`, positive for real; of images, `(params, images [B, H, W, D]) ->
      (scores [B], class logits [B, K])`.
  """

  init: Callable[[Key], Params]
  apply: Callable


class _FeatureModule(nn.Module):
  widths: tuple[int, ...]

  @nn.compact
  def __call__(self, features: Array, conditions: Array) -> Array:
    x = jnp.concatenate([features, conditions], axis=-1)
    for i, width in enumerate(self.widths):
      x = nn.leaky_relu(nn.Dense(width, name=f'dense{i}')(x), _SLOPE)
    return nn.Dense(1, name='output')(x)[:, 0]


class _ImageModule(nn.Module):
  num_classes: int
  width: int
  depth: int

  @nn.compact
  def __call__(self, images: Array) -> tuple[Array, Array]:
    x = images
    for i in range(self.depth):
      x = Conv(self.width, stride=2, name=f'conv{i}')(x)
      x = nn.leaky_relu(x, _SLOPE)
    x = x.reshape(x.shape[0], -1)
    scores = nn.Dense(1, name='score')(x)[:, 0]
    return scores, nn.Dense(self.num_classes, name='classifier')(x)


def feature_discriminator(
  feature_dim: int, condition_dim: int, widths: Sequence[int] = (512, 256)
) -> Discriminator:
  """A perceptron on a network's feature of an image and its class's embedding.

  "Dataset Condensation via Generative Model" (2023), section 3.3: the paper
  gives no sizes, and ends with a sigmoid; here the output is the logit.

  Args:
    feature_dim: `F`.
    condition_dim: `E`.
    widths: of the hidden layers; leaky ReLU of slope 0.2 follows each.

  Raises:
    ValueError: if a size is below 1.
  """
  for name, size in (
    ('feature_dim', feature_dim),
    ('condition_dim', condition_dim),
    *(('widths', width) for width in widths),
  ):
    check_at_least(name, size, 1)
  blanks = (jnp.zeros((1, feature_dim)), jnp.zeros((1, condition_dim)))
  return _functions(_FeatureModule(tuple(widths)), blanks)


def image_discriminator(
  image_shape: tuple[int, int, int],
  num_classes: int,
  *,
  width: int = 64,
  depth: int | None = None,
) -> Discriminator:
  """A small convolutional critic with a classifier beside it (AC-GAN).

  What the generator of a codebook is pretrained against. No normalisation: a
  gradient penalty needs scores that do not depend on the rest of the batch.

  Args:
    image_shape: `(H, W, D)`.
    num_classes: `K`.
    width: channels of every layer.
    depth: convolutions, each of which halves rows and columns; None for as many
      as lead to 4 of them.

  Raises:
    ValueError: if a size is below 1.
  """
  if depth is None:
    depth = max(1, math.ceil(math.log2(max(image_shape[:2]) / 4)))
  for name, size in (
    ('num_classes', num_classes),
    ('width', width),
    ('depth', depth),
  ):
    check_at_least(name, size, 1)
  module = _ImageModule(num_classes, width, depth)
  return _functions(module, (jnp.zeros((1, *image_shape)),))


def _functions(module, blanks):
  shapes = jax.eval_shape(module.init, jax.random.key(0), *blanks)['params']

  def apply(params, *inputs):
    return module.apply({'params': params}, *inputs)

  return Discriminator(lambda key: draw_params(key, shapes), apply)
