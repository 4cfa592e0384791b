"""Every network by name, as configs and reports write them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dcjax import specs
from dcjax.base import Network
from dcjax.networks._classic import alexnet, lenet, mlp, vgg11
from dcjax.networks._convnet import convnet
from dcjax.networks._convnext import convnext_tiny
from dcjax.networks._deit import deit_tiny
from dcjax.networks._densenet import densenet121
from dcjax.networks._efficientnet import efficientnet_b0
from dcjax.networks._mobilenet import mobilenet_v2
from dcjax.networks._resnet import resnet
from dcjax.networks._shufflenet import shufflenet_v2
from dcjax.networks._swin import swin_tiny
from dcjax.networks._wide_resnet import wide_resnet
from dcjax.utils import check_choice

_FACTORIES = {
  'alexnet': alexnet,
  'convnet': convnet,
  'convnext_tiny': convnext_tiny,
  'deit_tiny': deit_tiny,
  'densenet121': densenet121,
  'efficientnet_b0': efficientnet_b0,
  'lenet': lenet,
  'mlp': mlp,
  'mobilenet_v2': mobilenet_v2,
  'resnet': resnet,
  'shufflenet_v2': shufflenet_v2,
  'swin_tiny': swin_tiny,
  'vgg11': vgg11,
  'wide_resnet': wide_resnet,
}


def names() -> tuple[str, ...]:
  """Returns the names that `build` knows."""
  return tuple(_FACTORIES)


def factory(name: str) -> Callable[..., Network]:
  """Returns the factory of a network by its name, one of `names()`."""
  return _FACTORIES[name]


def build(
  spec: Mapping[str, Any] | str,
  image_shape: tuple[int, int, int],
  num_classes: int,
) -> Network:
  """Makes a network from a description.

  Args:
    spec: `{'name': 'convnet', 'width': 32, ...}`, options of that factory, or
      the same as a word, `'convnet:width=32'`.
    image_shape: `(H, W, D)`.
    num_classes: `K`.

  Raises:
    ValueError: naming the known networks or options if one is unknown.
  """
  return specs.call('network', _FACTORIES, spec, image_shape, num_classes)


def options_of(network_spec: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the options of a network, with defaults where none are given.

  Args:
    network_spec: what `build` takes.

  Raises:
    ValueError: if the network's name is unknown; lists the known ones.
  """
  name = network_spec.get('name')
  check_choice('network', name, _FACTORIES)
  return {
    option: network_spec.get(option, parameter.default)
    for option, parameter in inspect.signature(
      _FACTORIES[name]
    ).parameters.items()
  }


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
  options = options_of(network_spec)
  name = network_spec['name']
  if options.get('norm') == 'batch':
    return (
      f'network {name!r} with batch norm: users report 12 to 20 % accuracy '
      'where batch statistics drive the match, while DC publishes 83 to 91 % '
      'on MNIST with the statistics of real images frozen; condense with dc or '
      'dsa, which freeze them, with dm, which matches all classes together, or '
      "with norm='instance'."
    )
  dropping = [
    field
    for field in ('dropout', 'drop_connect', 'drop_path')
    if options.get(field)
  ]
  if dropping:
    return (
      f'network {name!r} with {" and ".join(dropping)}: real and synthetic '
      'images lose different units, which the match takes for a difference '
      'of the images; condense with rates 0.'
    )
  return None
