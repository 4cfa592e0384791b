"""Means and variances of what the layers of a network see."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dcjax import resizing
from dcjax.base import Array


class Moments(NamedTuple):
  """First and second moment.

  Attributes:
    mean: `[..., F]`.
    variance: `[..., F]`, divided by the number of values.
  """

  mean: Array
  variance: Array


class LayerStatistics(NamedTuple):
  """Statistics of the input of one layer.

  Attributes:
    channel: of every channel, over rows and columns (and images).
    patch: of every patch position, over channels and the pixels of the patch
      (and images); None for BatchNorm.
  """

  channel: Moments
  patch: Moments | None


# Layers in the order of the forward pass; leaves [F], [B, F] or [C, F].
Statistics = OrderedDict[str, LayerStatistics]


class Targets(NamedTuple):
  """What the layers of one observer see of real images.

  Attributes:
    whole: leaves `[F]`, of all images.
    classes: leaves `[C, F]`, of the images of each class; None if unknown.
  """

  whole: Statistics
  classes: Statistics | None = None


def image_statistics(
  inputs: OrderedDict[str, Array],
  patched: Collection[str] = (),
  patch_size: int = 4,
) -> Statistics:
  """Statistics of each image on its own.

  Args:
    inputs: layer -> `[B, h, w, channels]`; see `networks.layer_inputs`.
    patched: layers whose patches count too: convolutions.
    patch_size: side of a patch; features are first enlarged bilinearly to a
      multiple of it.

  Returns:
    Leaves `[B, F]`.
  """
  return OrderedDict(
    (
      name,
      LayerStatistics(
        _moments(features, (1, 2)),
        _patch_moments(features, patch_size) if name in patched else None,
      ),
    )
    for name, features in inputs.items()
  )


def pool(statistics: Statistics, weights: Array | None = None) -> Statistics:
  """Statistics of a batch from those of its images: the total variance.

  `E[v_i] + Var[m_i]` of the images' variances and means is the variance over
  all pixels of the batch.

  Args:
    statistics: leaves `[B, F]`.
    weights: `[B]`, 0 marks padding; None: every image counts.

  Returns:
    Leaves `[F]`.
  """
  return map_moments(lambda m: _pool(m, weights), statistics)


def _moments(values, axes):
  mean = jnp.mean(values, axes, keepdims=True)
  variance = jnp.mean(jnp.square(values - mean), axes)
  return Moments(jnp.squeeze(mean, axes), variance)


def _patch_moments(features, size):
  b, h, w, c = features.shape
  rows, columns = -(-h // size), -(-w // size)
  features = resizing.bilinear(features, (rows * size, columns * size))
  patches = features.reshape(b, rows, size, columns, size, c)
  return jax.tree.map(
    lambda leaf: leaf.reshape(b, rows * columns),
    _moments(patches, (2, 4, 5)),
  )


def _pool(moments, weights):
  def average(values):
    if weights is None:
      return jnp.mean(values, 0)
    return weights @ values / jnp.sum(weights)

  mean = average(moments.mean)
  between = average(jnp.square(moments.mean - mean))
  return Moments(mean, average(moments.variance) + between)


def map_moments(
  function: Callable, *trees: OrderedDict, kind: type | None = None
) -> OrderedDict:
  """Maps a function of whole `Moments`, or of the first tree's `kind`.

  Args:
    function: of one `Moments` of each tree.
    *trees: statistics with the same layers.
    kind: what the first tree holds in place of `Moments`.
  """
  stop = (Moments,) if kind is None else (Moments, kind)
  return jax.tree.map(
    function, *trees, is_leaf=lambda node: isinstance(node, stop)
  )
