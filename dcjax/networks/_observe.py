"""What the layers of a network see, without editing the network."""

from collections import OrderedDict
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from dcjax.base import Array, Network, Outputs, PyTree, Variables
from dcjax.networks._depthwise import DepthwiseConv
from dcjax.networks._layers import Conv

BATCH_NORM = 'batch_norm'
CONVOLUTION = 'convolution'


class Observation(NamedTuple):
  """One forward pass and what its layers saw.

  Attributes:
    outputs: of the network.
    state: updated running statistics, as `Network.apply` returns them.
    inputs: see `layer_inputs`.
  """

  outputs: Outputs
  state: PyTree
  inputs: OrderedDict[str, Array]


def observe(
  network: Network, variables: Variables, images: Array, *, train: bool = False
) -> Observation:
  """Applies a network and keeps the inputs of its layers.

  One forward pass serves a loss on the logits and one on the statistics of the
  layers, as the statistics-matching methods from DeepInversion (Yin et al.,
  2020, equation 4) to EDC need.

  Args:
    network: of dcjax, or from `from_linen`.
    variables: of the network.
    images: `[B, H, W, D]`, normalised.
    train: see `Network`.

  Raises:
    ValueError: if the network has neither BatchNorm nor convolution that can
      be seen: other than linen layers, or an `apply` that is compiled already.
  """
  (outputs, state), inputs, _ = _watched(network, variables, images, train)
  return Observation(outputs, state, inputs)


def layer_inputs(
  network: Network, variables: Variables, images: Array, *, train: bool = False
) -> OrderedDict[str, Array]:
  """Returns the inputs of every BatchNorm and every convolution.

  Flattened inputs of dense layers are not among them, nor are those of other
  norms. The result is differentiable in the images and in the variables, and
  an ordered pytree, so that it keeps its order through `jit`, `vmap` and
  `grad`. `layer_kinds` tells norms from convolutions.

  Args:
    network: of dcjax, or from `from_linen`.
    variables: of the network.
    images: `[B, H, W, D]`, normalised.
    train: whether the layers before normalise with batch statistics.

  Returns:
    `{name: [B, h, w, channels]}` in the order of the forward pass. Names are
    the paths of the parameters, `'stage1_block0/conv1'`; a layer that is
    applied several times has `':1'`, `':2'` behind its name from the second
    time on.

  Raises:
    ValueError: if the network shows no such layer; see `observe`.

  Example:
    >>> network = convnet((32, 32, 3), 10, norm='batch')
    >>> blank = jnp.zeros([1, 32, 32, 3])
    >>> inputs = layer_inputs(network, network.init(key), blank)
    >>> list(inputs)
    ['conv0', 'norm0', 'conv1', 'norm1', 'conv2', 'norm2']
  """
  return observe(network, variables, images, train=train).inputs


def layer_kinds(
  network: Network, image_shape: tuple[int, int, int]
) -> OrderedDict[str, str]:
  """Returns the kinds of the layers of `layer_inputs`; computes no array.

  Args:
    network: of dcjax, or from `from_linen`.
    image_shape: `(H, W, D)`.

  Returns:
    `{name: 'batch_norm' or 'convolution'}` in the same order.

  Raises:
    ValueError: if the network shows no such layer; see `observe`.
  """
  kinds = OrderedDict()

  def run(key):
    images = jnp.zeros((1, *image_shape))
    kinds.update(_watched(network, network.init(key), images, False)[2])

  jax.eval_shape(run, jax.random.key(0))
  return kinds


def _watched(network, variables, images, train):
  """What `apply` returns, with inputs and kinds of the layers by name."""
  inputs, kinds = OrderedDict(), OrderedDict()
  with nn.intercept_methods(_recorder(inputs, kinds)):
    result = network.apply(variables, images, train)
  if not inputs:
    raise ValueError(
      f'network {network.name!r}: shows no BatchNorm and no convolution; '
      'observers are flax.linen modules, whose apply is not compiled by itself'
    )
  return result, inputs, kinds


def _recorder(inputs, kinds):
  """An interceptor that writes into two dicts by layer."""

  def record(call, args, kwargs, context):
    kind = _kind(context.module)
    if kind and context.method_name == '__call__':
      images = args[0] if args else next(iter(kwargs.values()))
      if images.ndim == 4:
        name = _unused('/'.join(context.module.path), inputs)
        inputs[name], kinds[name] = images, kind
    return call(*args, **kwargs)

  return record


def _kind(module):
  if isinstance(module, nn.BatchNorm):
    return BATCH_NORM
  if isinstance(module, (nn.Conv, Conv, DepthwiseConv)):
    return CONVOLUTION
  return None


def _unused(name, taken):
  times = sum(other.partition(':')[0] == name for other in taken)
  return f'{name}:{times}' if times else name
