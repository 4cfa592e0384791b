"""Networks as pairs of pure functions, and adapters for one's own.

`build` makes a network by name: that is what configs and reports use.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from dcjax.base import Network
from dcjax.networks._adapters import from_linen, from_nnx
from dcjax.networks._classic import alexnet, lenet, mlp, vgg11
from dcjax.networks._conv import convolve, resolve_form
from dcjax.networks._convnet import ConvNet, convnet
from dcjax.networks._densenet import densenet121
from dcjax.networks._efficientnet import efficientnet_b0
from dcjax.networks._initialise import draw_params
from dcjax.networks._resnet import resnet
from dcjax.networks._torch_state import from_torch_state
from dcjax.utils import call_by_name, check_choice

__all__ = [
  'ConvNet',
  'alexnet',
  'build',
  'convnet',
  'convolve',
  'densenet121',
  'draw_params',
  'efficientnet_b0',
  'from_linen',
  'from_nnx',
  'from_torch_state',
  'lenet',
  'mlp',
  'names',
  'resnet',
  'resolve_form',
  'vgg11',
  'warn_condensation',
]

_FACTORIES = {
  'alexnet': alexnet,
  'convnet': convnet,
  'densenet121': densenet121,
  'efficientnet_b0': efficientnet_b0,
  'lenet': lenet,
  'mlp': mlp,
  'resnet': resnet,
  'vgg11': vgg11,
}


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


def warn_condensation(network_spec: Mapping[str, Any]) -> str | None:
  """Says what is known to go wrong when a network condenses images.

  The numbers for batch norm: issues 8, 32 and 35 of the repository of DC, DSA
  and DM; Zhao et al. (2021), Tables 2 (VGG 83.4, ResNet 89.4) and T5 (ConvNet
  90.9), one image per class. Evaluating the images with such a network is fine,
  and usual.

  Args:
    network_spec: what `build` takes; options left out have their defaults.

  Returns:
    One sentence, or None if nothing is known against the network.

  Raises:
    ValueError: if the network's name is unknown; lists the known ones.

  Example:
    >>> warn_condensation({'name': 'resnet', 'norm': 'batch'})
    "network 'resnet' with batch norm: ..."
  """
  name = network_spec.get('name')
  check_choice('network', name, _FACTORIES)
  options = {
    option: network_spec.get(option, parameter.default)
    for option, parameter in inspect.signature(
      _FACTORIES[name]
    ).parameters.items()
  }
  if options.get('norm') == 'batch':
    return (
      f'network {name!r} with batch norm: users report 12 to 20 % accuracy '
      'where batch statistics drive the match, while DC publishes 83 to 91 % '
      'on MNIST with the statistics of real images frozen; condense with dc or '
      'dsa, which freeze them, with dm, which matches all classes together, or '
      "with norm='instance'."
    )
  dropping = [
    field for field in ('dropout', 'drop_connect') if options.get(field)
  ]
  if dropping:
    return (
      f'network {name!r} with {" and ".join(dropping)}: real and synthetic '
      'images lose different units, which the match takes for a difference '
      'of the images; condense with rates 0.'
    )
  return None
