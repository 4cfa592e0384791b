"""Networks as pairs of pure functions, and adapters for one's own.

`build` makes a network by name: that is what configs and reports use.
"""

from collections.abc import Mapping
from typing import Any

from dcjax.base import Network
from dcjax.networks._adapters import from_linen, from_nnx
from dcjax.networks._conv import convolve, resolve_form
from dcjax.networks._convnet import ConvNet, convnet
from dcjax.networks._initialise import draw_params
from dcjax.utils import call_by_name

__all__ = [
  'ConvNet',
  'build',
  'convnet',
  'convolve',
  'draw_params',
  'from_linen',
  'from_nnx',
  'names',
  'resolve_form',
]

_FACTORIES = {'convnet': convnet}


def names() -> tuple[str, ...]:
  """Returns the names that `build` knows."""
  return tuple(_FACTORIES)


def build(
  spec: Mapping[str, Any], image_shape: tuple[int, int, int], num_classes: int
) -> Network:
  """Makes a network from a description.

  Args:
    spec: `{'name': 'convnet', 'width': 32, ...}`, options of that factory.
    image_shape: `(H, W, D)`.
    num_classes: `K`.

  Raises:
    ValueError: naming the known networks or options if one is unknown.
  """
  return call_by_name('network', _FACTORIES, spec, image_shape, num_classes)
