"""The ConvNet, multi-formation and distances in PyTorch."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvNet(nn.Module):
  """Blocks of conv3x3, instance norm, ReLU, average pooling; a linear layer.

  Gidaris & Komodakis (2018) as Zhao et al. (2021) and Kim et al. (2022) use
  it. Layers are named as dcjax names them: conv0, norm0, ..., classifier.
  """

  def __init__(self, image_shape, num_classes: int, width: int, depth: int):
    """Draws a network for images `(H, W, D)`, with PyTorch's initialisation."""
    super().__init__()
    h, w, channels = image_shape
    border = 3 if channels == 1 else 1
    h, w = h + 2 * (border - 1), w + 2 * (border - 1)
    self.depth = depth
    for block in range(depth):
      padding = border if block == 0 else 1
      conv = nn.Conv2d(channels, width, 3, padding=padding)
      self.add_module(f'conv{block}', conv)
      # One group a channel: instance norm whose second derivative is a formula.
      self.add_module(f'norm{block}', nn.GroupNorm(width, width))
      h, w, channels = h // 2, w // 2, width
    self.classifier = nn.Linear(h * w * width, num_classes)

  def embed(self, images: Tensor) -> Tensor:
    """Returns the embedding `[N, F]` of images `[N, D, H, W]`."""
    x = images
    for block in range(self.depth):
      x = self.get_submodule(f'norm{block}')(
        self.get_submodule(f'conv{block}')(x)
      )
      x = functional.avg_pool2d(functional.relu(x), 2)
    return x.flatten(1)

  def forward(self, images: Tensor) -> Tensor:
    """Returns the logits `[N, K]` of images `[N, D, H, W]`."""
    return self.classifier(self.embed(images))


def decode(images: Tensor, factor: int) -> Tensor:
  """Multi-formation (Kim et al., 2022, section 3.2).

  Args:
    images: `[N, D, H, W]`.
    factor: cells of a row and of a column; 1 returns the images.

  Returns:
    `[factor**2 * N, D, H, W]`, crop-major.
  """
  if factor == 1:
    return images
  h, w = images.shape[2:]
  s, t = -(-h // factor), -(-w // factor)
  images = functional.pad(
    images, (0, factor * t - w, 0, factor * s - h), value=0.5
  )
  crops = torch.cat(
    [
      images[:, :, i * s : (i + 1) * s, j * t : (j + 1) * t]
      for i in range(factor)
      for j in range(factor)
    ]
  )
  return functional.interpolate(
    crops, (h, w), mode='bilinear', align_corners=False
  )


def squared(real: Tensor, synthetic: Tensor) -> Tensor:
  """Sum of squared differences of convolution kernels; 0 for the rest."""
  if real.ndim != 4:
    return real.new_zeros(())
  return (real - synthetic).square().sum()


def l1(real: Tensor, synthetic: Tensor) -> Tensor:
  """Sum of absolute differences of convolution kernels; 0 for the rest."""
  if real.ndim != 4:
    return real.new_zeros(())
  return (real - synthetic).abs().sum()


def cosine(real: Tensor, synthetic: Tensor) -> Tensor:
  """Sum over outputs of one minus the cosine; 0 for biases and scales.

  Zhao et al. (2021), equation 10.
  """
  if real.ndim == 1:
    return real.new_zeros(())
  real, synthetic = real.flatten(1), synthetic.flatten(1)
  norms = real.norm(dim=1) * synthetic.norm(dim=1)
  return (1 - (real * synthetic).sum(1) / (norms + 1e-6)).sum()


def gradient_distance(
  network: nn.Module,
  real: Tensor,
  synthetic: Tensor,
  label: int,
  distance,
) -> Tensor:
  """Distance of the network gradients of one class's images.

  Args:
    network: any.
    real: `[N, D, H, W]`, normalised and augmented.
    synthetic: `[M, D, H, W]`, likewise; the result is differentiable in it.
    label: the class.
    distance: `(real, synthetic) -> []` of one tensor.
  """
  params = list(network.parameters())

  def gradient(images, **options):
    labels = torch.full((len(images),), label, device=images.device)
    loss = functional.cross_entropy(network(images).float(), labels)
    return torch.autograd.grad(loss, params, **options)

  pairs = zip(
    gradient(real), gradient(synthetic, create_graph=True), strict=True
  )
  return sum(distance(r.detach(), s) for r, s in pairs)
