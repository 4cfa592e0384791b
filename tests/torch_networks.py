"""Observers written in torch.nn, with torchvision's names of the layers.

Import it only where torch is installed.
"""

import itertools

import torch
from torch import nn


def _conv(i, o, size=1, stride=1, groups=1):
  return nn.Conv2d(i, o, size, stride, size // 2, groups=groups, bias=False)


def _unit(act, *conv):
  layer = _conv(*conv)
  parts = [layer, nn.BatchNorm2d(layer.out_channels)]
  return nn.Sequential(*parts, *([act()] if act else []))


class _Basic(nn.Module):
  def __init__(self, i, o, stride):
    super().__init__()
    self.conv1, self.bn1 = _conv(i, o, 3, stride), nn.BatchNorm2d(o)
    self.conv2, self.bn2 = _conv(o, o, 3), nn.BatchNorm2d(o)
    if stride > 1:
      self.downsample = _unit(None, i, o, 1, stride)

  def forward(self, x):
    y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
    x = self.downsample(x) if hasattr(self, 'downsample') else x
    return (x + y).relu()


class ResNet18(nn.Module):
  """conv7x7, max pooling, four stages of two blocks."""

  def __init__(self, width, classes):
    super().__init__()
    self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
    self.bn1 = nn.BatchNorm2d(width)
    i = width
    for stage in range(4):
      o = width * 2**stage
      blocks = _Basic(i, o, 2 if stage else 1), _Basic(o, o, 1)
      setattr(self, f'layer{stage + 1}', nn.Sequential(*blocks))
      i = o
    self.fc = nn.Linear(i, classes)

  def forward(self, x):
    x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
    for stage in range(4):
      x = getattr(self, f'layer{stage + 1}')(x)
    return self.fc(x.mean((2, 3)))


class _Inverted(nn.Module):
  def __init__(self, i, o, stride, ratio):
    super().__init__()
    self.adds = stride == 1 and i == o
    inner = i * ratio
    expand = [_unit(nn.ReLU6, i, inner)] if ratio > 1 else []
    depthwise = _unit(nn.ReLU6, inner, inner, 3, stride, inner)
    project = _conv(inner, o), nn.BatchNorm2d(o)
    self.conv = nn.Sequential(*expand, depthwise, *project)

  def forward(self, x):
    return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
  """The widths are those of the stem, the stages and the head."""

  def __init__(self, widths, classes):
    super().__init__()
    stem, *widths, head = widths
    parts = [_unit(nn.ReLU6, 3, stem, 3, 2)]
    i = stem
    counts, strides = (1, 2, 3, 4, 3, 3, 1), (1, 2, 2, 2, 1, 2, 1)
    for o, count, stride in zip(widths, counts, strides, strict=True):
      for block in range(count):
        ratio = 1 if len(parts) == 1 else 6
        parts.append(_Inverted(i, o, 1 if block else stride, ratio))
        i = o
    self.features = nn.Sequential(*parts, _unit(nn.ReLU6, i, head))
    self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(head, classes))

  def forward(self, x):
    return self.classifier(self.features(x).mean((2, 3)))


class _Shuffle(nn.Module):
  def __init__(self, i, o, stride):
    super().__init__()
    half = o // 2
    self.branch1 = nn.Sequential()
    if stride == 2:
      depthwise = _unit(None, i, i, 3, 2, i)
      self.branch1 = nn.Sequential(*depthwise, *_unit(nn.ReLU, i, half))
    expand = _unit(nn.ReLU, i if stride == 2 else half, half)
    depthwise = _unit(None, half, half, 3, stride, half)
    project = _unit(nn.ReLU, half, half)
    self.branch2 = nn.Sequential(*expand, *depthwise, *project)

  def forward(self, x):
    left, right = (x, x) if len(self.branch1) else x.chunk(2, 1)
    x = torch.cat([self.branch1(left), self.branch2(right)], 1)
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class ShuffleNetV2(nn.Module):
  """Half of the usual width."""

  def __init__(self, classes):
    super().__init__()
    self.conv1 = _unit(nn.ReLU, 3, 24, 3, 2)
    widths = (24, 48, 96, 192)
    for stage, count in zip((2, 3, 4), (4, 8, 4), strict=True):
      i, o = widths[stage - 2 : stage]
      units = [
        _Shuffle(i, o, 2),
        *(_Shuffle(o, o, 1) for _ in range(count - 1)),
      ]
      setattr(self, f'stage{stage}', nn.Sequential(*units))
    self.conv5 = _unit(nn.ReLU, 192, 1024)
    self.fc = nn.Linear(1024, classes)

  def forward(self, x):
    x = nn.functional.max_pool2d(self.conv1(x), 3, 2, 1)
    x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
    return self.fc(x.mean((2, 3)))


class _Excitation(nn.Module):
  def __init__(self, width, squeezed):
    super().__init__()
    self.fc1 = nn.Conv2d(width, squeezed, 1)
    self.fc2 = nn.Conv2d(squeezed, width, 1)

  def forward(self, x):
    y = nn.functional.silu(self.fc1(x.mean((2, 3), keepdim=True)))
    return x * self.fc2(y).sigmoid()


class _MBConv(nn.Module):
  def __init__(self, i, o, size, stride, ratio):
    super().__init__()
    self.adds = stride == 1 and i == o
    inner = i * ratio
    parts = [_unit(nn.SiLU, i, inner)] if ratio > 1 else []
    parts.append(_unit(nn.SiLU, inner, inner, size, stride, inner))
    parts.append(_Excitation(inner, i // 4))
    self.block = nn.Sequential(*parts, _unit(None, inner, o))

  def forward(self, x):
    return x + self.block(x) if self.adds else self.block(x)


class EfficientNetB0(nn.Module):
  """As torchvision has it: even padding, eps 1e-5."""

  def __init__(self, classes):
    super().__init__()
    parts = [_unit(nn.SiLU, 3, 32, 3, 2)]
    widths = (32, 16, 24, 40, 80, 112, 192, 320)
    sizes, strides = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
    counts = (1, 2, 2, 3, 3, 4, 1)
    for stage, (i, o) in enumerate(itertools.pairwise(widths)):
      blocks = []
      for block in range(counts[stage]):
        stride = 1 if block else strides[stage]
        ratio = 6 if stage else 1
        blocks.append(
          _MBConv(o if block else i, o, sizes[stage], stride, ratio)
        )
      parts.append(nn.Sequential(*blocks))
    self.features = nn.Sequential(*parts, _unit(nn.SiLU, 320, 1280))
    self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

  def forward(self, x):
    return self.classifier(self.features(x).mean((2, 3)))


class _Hidden(nn.Module):
  def forward(self, x):
    x = nn.functional.adaptive_avg_pool2d(self.features(x), self.grid)
    return self.classifier(x.flatten(1))


class AlexNet(_Hidden):
  """The first ReLU follows each convolution, as usual."""

  grid = 6

  def __init__(self, classes, hidden):
    super().__init__()
    layers = []
    i = 3
    for o, size, stride, padding, pools in (
      (64, 11, 4, 2, True),
      (192, 5, 1, 2, True),
      (384, 3, 1, 1, False),
      (256, 3, 1, 1, False),
      (256, 3, 1, 1, True),
    ):
      layers += [nn.Conv2d(i, o, size, stride, padding), nn.ReLU()]
      layers += [nn.MaxPool2d(3, 2)] if pools else []
      i = o
    self.features = nn.Sequential(*layers)
    self.classifier = nn.Sequential(
      *(nn.Dropout(), nn.Linear(256 * 36, hidden), nn.ReLU()),
      *(nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()),
      nn.Linear(hidden, classes),
    )


class Vgg11BatchNorm(_Hidden):
  """Stages of 1, 1, 2, 2, 2 convolutions."""

  grid = 7

  def __init__(self, width, classes, hidden):
    super().__init__()
    layers = []
    i = 3
    for index, multiple in enumerate((1, 2, 4, 4, 8, 8, 8, 8)):
      o = width * multiple
      layers += [nn.Conv2d(i, o, 3, 1, 1), nn.BatchNorm2d(o), nn.ReLU()]
      layers += [nn.MaxPool2d(2)] if index in (0, 1, 3, 5, 7) else []
      i = o
    self.features = nn.Sequential(*layers)
    self.classifier = nn.Sequential(
      *(nn.Linear(i * 49, hidden), nn.ReLU(), nn.Dropout()),
      *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout()),
      nn.Linear(hidden, classes),
    )


def randomised(network, seed=0):
  """The network in evaluation mode, its statistics unlike fresh ones."""
  generator = torch.Generator().manual_seed(seed)
  for module in network.modules():
    if isinstance(module, nn.BatchNorm2d):
      module.running_mean.normal_(0, 0.2, generator=generator)
      module.running_var.uniform_(0.5, 1.5, generator=generator)
      module.weight.data.uniform_(0.5, 1.5, generator=generator)
      module.bias.data.normal_(0, 0.2, generator=generator)
  return network.eval()
