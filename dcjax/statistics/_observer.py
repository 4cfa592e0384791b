"""Which layers of an observer count, and whether it fits the data."""

from collections import OrderedDict
from typing import Any

import jax
import jax.numpy as jnp

from dcjax import networks
from dcjax.base import Network, Variables
from dcjax.statistics._moments import LayerStatistics, Moments, Statistics
from dcjax.utils import check_choice

LAYERS = ('all', 'batch_norm', 'convolution')


def observed_layers(
  network: Network, image_shape: tuple[int, int, int], layers: str = 'all'
) -> OrderedDict[str, str]:
  """Returns the layers that count, with their kinds.

  Args:
    network: the observer.
    image_shape: `(H, W, D)`.
    layers: `'all'`, or only those of kind `'batch_norm'` or `'convolution'`.

  Returns:
    `{name: kind}` as `networks.layer_kinds`.

  Raises:
    ValueError: if `layers` is unknown or the network has no such layer.
  """
  check_choice('layers', layers, LAYERS)
  kinds = networks.layer_kinds(network, image_shape)
  chosen = OrderedDict(
    (name, kind) for name, kind in kinds.items() if layers in ('all', kind)
  )
  if not chosen:
    raise ValueError(f'network {network.name!r}: has no layer of kind {layers}')
  return chosen


def running_statistics(
  network: Network, variables: Variables, image_shape: tuple[int, int, int]
) -> Statistics:
  """The running statistics of every BatchNorm, as targets need them.

  They are all that SRe2L and CDA match: `Targets(running_statistics(...))`.

  Args:
    network: with BatchNorm.
    variables: of the network.
    image_shape: `(H, W, D)`.

  Returns:
    Leaves `[F]`, of the BatchNorm layers.

  Raises:
    ValueError: if the network has no BatchNorm.
  """
  names = observed_layers(network, image_shape, 'batch_norm')
  return OrderedDict(
    (name, LayerStatistics(running_moments(variables, name), None))
    for name in names
  )


def running_moments(variables: Variables, name: str) -> Moments:
  """The running statistics of the BatchNorm layer `name`."""
  node = variables.state['batch_stats']
  for part in name.partition(':')[0].split('/'):
    node = node[part]
  return Moments(node['mean'], node['var'])


def check_observer(
  network: Network,
  variables: Variables,
  image_shape: tuple[int, int, int],
  num_classes: int,
) -> None:
  """Raises a ValueError unless weights, network and data belong together.

  Args:
    network: the observer.
    variables: of the network, concrete or abstract.
    image_shape: `(H, W, D)` of the data.
    num_classes: `K` of the data.
  """
  expected = jax.eval_shape(network.init, jax.random.key(0))
  given: Any = jax.tree.structure(variables)
  wanted: Any = jax.tree.structure(expected)
  if given != wanted:
    raise ValueError(
      f'observer {network.name!r}: its weights have other entries than the '
      f'network, {given.num_leaves} instead of {wanted.num_leaves}'
    )
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  for (path, leaf), like in zip(leaves, jax.tree.leaves(expected), strict=True):
    if leaf.shape != like.shape:
      raise ValueError(
        f'observer {network.name!r}: {jax.tree_util.keystr(path)} has shape '
        f'{leaf.shape}; for images {tuple(image_shape)} and {num_classes} '
        f'classes it must be {like.shape}'
      )
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  outputs, _ = jax.eval_shape(
    lambda v, x: network.apply(v, x, False), variables, images
  )
  if outputs.logits.shape[-1] != num_classes:
    raise ValueError(
      f'observer {network.name!r}: tells {outputs.logits.shape[-1]} classes '
      f'apart; the data have {num_classes}'
    )
