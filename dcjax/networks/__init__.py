"""Networks as pairs of pure functions, and adapters for one's own.

`build` makes a network by name: that is what configs and reports use.
"""

from dcjax.networks._adapters import from_linen, from_nnx
from dcjax.networks._classic import alexnet, lenet, mlp, vgg11
from dcjax.networks._conv import (
  PRECISIONS,
  convolve,
  resolve_form,
  with_precision,
)
from dcjax.networks._convnet import ConvNet, convnet
from dcjax.networks._convnext import convnext_tiny
from dcjax.networks._deit import deit_tiny
from dcjax.networks._densenet import densenet121
from dcjax.networks._discriminator import (
  Discriminator,
  feature_discriminator,
  image_discriminator,
)
from dcjax.networks._efficientnet import efficientnet_b0
from dcjax.networks._independence import images_are_independent
from dcjax.networks._initialise import SCHEMES, draw_params, drawn_as
from dcjax.networks._mobilenet import mobilenet_v2
from dcjax.networks._observe import (
  Observation,
  layer_inputs,
  layer_kinds,
  observe,
)
from dcjax.networks._outputs import mask_logits, with_outputs
from dcjax.networks._registry import build, factory, names, warn_condensation
from dcjax.networks._resnet import resnet
from dcjax.networks._shufflenet import shufflenet_v2
from dcjax.networks._swin import swin_tiny
from dcjax.networks._torch_import import load_torch, to_torch
from dcjax.networks._torch_state import from_torch_state
from dcjax.networks._wide_resnet import wide_resnet
from dcjax.networks._words import complete, options, parse

__all__ = [
  'PRECISIONS',
  'SCHEMES',
  'ConvNet',
  'Discriminator',
  'Observation',
  'alexnet',
  'build',
  'complete',
  'convnet',
  'convnext_tiny',
  'convolve',
  'deit_tiny',
  'densenet121',
  'draw_params',
  'drawn_as',
  'efficientnet_b0',
  'factory',
  'feature_discriminator',
  'from_linen',
  'from_nnx',
  'from_torch_state',
  'image_discriminator',
  'images_are_independent',
  'layer_inputs',
  'layer_kinds',
  'lenet',
  'load_torch',
  'mask_logits',
  'mlp',
  'mobilenet_v2',
  'names',
  'observe',
  'options',
  'parse',
  'resnet',
  'resolve_form',
  'shufflenet_v2',
  'swin_tiny',
  'to_torch',
  'vgg11',
  'warn_condensation',
  'wide_resnet',
  'with_outputs',
  'with_precision',
]
