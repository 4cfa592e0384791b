"""How PyTorch's networks call the layers of ours."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dcjax.networks._mobilenet import STAGES as MOBILENET_STAGES
from dcjax.networks._zoo_checks import resolve_size_form
from dcjax.utils import check_choice

_BLOCK = re.compile(r'stage(\d+)_block(\d+)/(.+)')


class Dialect(NamedTuple):
  """The names of one network.

  Attributes:
    layer: path of a layer, `'stage1_block0/conv1'`, -> `'layer1.0.conv1'`.
    canonical: an entry of a state dict -> the name that `layer` gives it.
    flattened: path of the dense layer that sees a flattened feature map, if
      any: its inputs come in another order there.
  """

  layer: Callable[[str], str]
  canonical: Callable[[str], str] = str
  flattened: str = ''


def dialect(
  options: Mapping[str, Any], name: str, image_shape: tuple[int, int, int]
) -> Dialect:
  """Returns the names of a network.

  Args:
    options: all options of the network, defaults filled in.
    name: of the network, as in `build`.
    image_shape: `(H, W, D)`, which decides forms that are `'auto'`.

  Raises:
    ValueError: if no names are known; lists the networks that have some.
  """
  check_choice('network with PyTorch names', name, _DIALECTS)
  options = dict(options)
  if name in ('mobilenet_v2', 'shufflenet_v2'):
    options['form'] = resolve_size_form(options['form'], image_shape)
  return _DIALECTS[name](options)


def _by_table(table, block=None):
  """Looks a layer up; `block(stage, index, part)` names those of blocks."""

  def layer(path):
    match = _BLOCK.fullmatch(path)
    if match:
      return block(int(match[1]), int(match[2]), match[3])
    return table[path]

  return layer


# torchvision's resnet18.., IDC's (`layer0`, norm after pooling) and DC's
# (`shortcut`, `classifier`).
_RESNET_ALIASES = (
  (r'^layer0\.', ''),
  (r'\.shortcut\.', '.downsample.'),
  (r'\.downsample\.2\.', '.downsample.1.'),
  (r'^(linear|classifier)\.', 'fc.'),
)


def _resnet(options):
  table = {'stem_conv': 'conv1', 'stem_norm': 'bn1', 'classifier': 'fc'}
  shortcut = {'shortcut_conv': 'downsample.0', 'shortcut_norm': 'downsample.1'}

  def block(stage, index, part):
    part = shortcut.get(part, part.replace('norm', 'bn'))
    return f'layer{stage}.{index}.{part}'

  def canonical(entry):
    for pattern, name in _RESNET_ALIASES:
      entry = re.sub(pattern, name, entry)
    return entry

  flattened = '' if options['global_pooling'] else 'classifier'
  return Dialect(_by_table(table, block), canonical, flattened)


def _numbered(convolutions, pooled, has_norm):
  """Names of convolution, norm, ReLU, pooling, ... in one nn.Sequential."""
  table = {}
  position = 0
  for index in range(convolutions):
    table[f'conv{index}'] = f'features.{position}'
    if has_norm:
      table[f'norm{index}'] = f'features.{position + 1}'
    position += 2 + has_norm + (index in pooled)
  return table


def _hidden(first, second, last):
  return {
    'dense0': f'classifier.{first}',
    'dense1': f'classifier.{second}',
    'classifier': f'classifier.{last}',
  }


def _alexnet(options):
  table = _numbered(5, (0, 1, 4), options['norm'] != 'none')
  if options['form'] == 'imagenet':
    return Dialect(_by_table(table | _hidden(1, 4, 6)), flattened='dense0')
  return Dialect(
    _by_table(table | {'classifier': 'fc'}), flattened='classifier'
  )


def _vgg11(options):
  table = _numbered(8, (0, 1, 3, 5, 7), options['norm'] != 'none')
  if options['form'] == 'imagenet':
    return Dialect(_by_table(table | _hidden(0, 3, 6)), flattened='dense0')
  table |= {'classifier': 'classifier'}
  return Dialect(_by_table(table), flattened='classifier')


def _convnet(options):
  """DC's `features.0`; IDC's `layers.conv.0` is the same."""
  depth = options['depth']
  pooled = range(depth) if options['pooling'] != 'none' else ()
  table = _numbered(depth, pooled, options['norm'] != 'none')

  def canonical(entry):
    match = re.fullmatch(r'layers\.(conv|norm)\.(\d+)\.(.+)', entry)
    layer = match and table.get(match[1] + match[2])
    return f'{layer}.{match[3]}' if layer else entry

  table |= {'classifier': 'classifier'}
  return Dialect(_by_table(table), canonical, 'classifier')


_INVERTED = ('expand', 'depthwise', 'project')


def _mobilenet_v2(options):
  stages = MOBILENET_STAGES[options['form']]
  if options['form'] == 'cifar':
    places = dict(zip(_INVERTED, (0, 3, 6), strict=True))

    def block(stage, index, part):
      layer, _, kind = part.partition('_')
      place = places[layer] + (kind == 'norm')
      return f'blocks.{stage - 1}.{index}.conv.{place}'

    outer = {'stem': 'conv1', 'head': 'conv2', 'classifier': 'classifier.0'}
    return Dialect(_by_table(_conv_norms(outer), block))

  blocks = [stage[2] for stage in stages]

  def block(stage, index, part):
    number = 1 + sum(blocks[: stage - 1]) + index
    layer, _, kind = part.partition('_')
    # Convolution, norm and activation share a place, but for the projection.
    place = _INVERTED.index(layer) - (stage == 1)
    norm = kind == 'norm'
    inner = place + norm if layer == 'project' else f'{place}.{int(norm)}'
    return f'features.{number}.conv.{inner}'

  outer = {
    'stem': 'features.0',
    'head': f'features.{1 + sum(blocks)}',
    'classifier': 'classifier.1',
  }
  return Dialect(_by_table(_conv_norms(outer), block))


def _conv_norms(outer):
  """Table of a stem and a head that are (convolution, norm, activation)."""
  table = {'classifier': outer['classifier']}
  for part in ('stem', 'head'):
    table |= {
      f'{part}_conv': f'{outer[part]}.0',
      f'{part}_norm': f'{outer[part]}.1',
    }
  return table


def _shufflenet_v2(options):
  if options['form'] == 'cifar':
    return Dialect(_by_table(_SHUFFLENET_CIFAR, _shuffle_unit_cifar))
  places = {
    'left_depthwise': (1, 0),
    'left_project': (1, 2),
    'expand': (2, 0),
    'depthwise': (2, 3),
    'project': (2, 5),
  }

  def block(stage, index, part):
    layer, _, kind = part.rpartition('_')
    branch, place = places[layer]
    place += kind == 'norm'
    return f'stage{stage + 1}.{index}.branch{branch}.{place}'

  outer = {'stem': 'conv1', 'head': 'conv5', 'classifier': 'fc'}
  return Dialect(_by_table(_conv_norms(outer), block))


_SHUFFLENET_CIFAR = {
  'stem_conv': 'conv1',
  'stem_norm': 'bn1',
  'head_conv': 'conv2',
  'head_norm': 'bn2',
  'classifier': 'linear',
}
_UNIT_PARTS = ('expand', 'depthwise', 'project')
_REDUCING_PARTS = ('left_depthwise', 'left_project', *_UNIT_PARTS)


def _shuffle_unit_cifar(stage, index, part):
  layer, _, kind = part.rpartition('_')
  parts = _REDUCING_PARTS if index == 0 else _UNIT_PARTS
  kind = 'bn' if kind == 'norm' else 'conv'
  return f'layer{stage}.{index}.{kind}{parts.index(layer) + 1}'


def _wide_resnet(options):
  del options
  table = {'stem_conv': 'conv1', 'final_norm': 'bn1', 'classifier': 'fc'}

  def block(stage, index, part):
    part = 'convShortcut' if part == 'shortcut_conv' else part
    return f'block{stage}.layer.{index}.{part.replace("norm", "bn")}'

  return Dialect(_by_table(table, block))


def _efficientnet_b0(options):
  if options['form'] != 'torchvision':
    raise ValueError(
      f"form {options['form']!r}: torchvision's weights of efficientnet_b0 "
      "need form 'torchvision'"
    )
  excitation = {'squeeze_conv': 'fc1', 'excite_conv': 'fc2'}
  places = {'expand': 0, 'depthwise': 1, 'project': 3}

  def block(stage, index, part):
    layer, _, kind = part.partition('_')
    # The first stage expands nothing.
    place = places.get(layer, 2) - (stage == 1)
    inner = excitation.get(part) or int(kind == 'norm')
    return f'features.{stage}.{index}.block.{place}.{inner}'

  outer = {
    'stem': 'features.0',
    'head': 'features.8',
    'classifier': 'classifier.1',
  }
  return Dialect(_by_table(_conv_norms(outer), block))


_DIALECTS: dict[str, Callable[[Mapping[str, Any]], Dialect]] = {
  'alexnet': _alexnet,
  'convnet': _convnet,
  'efficientnet_b0': _efficientnet_b0,
  'mobilenet_v2': _mobilenet_v2,
  'resnet': _resnet,
  'shufflenet_v2': _shufflenet_v2,
  'vgg11': _vgg11,
  'wide_resnet': _wide_resnet,
}
