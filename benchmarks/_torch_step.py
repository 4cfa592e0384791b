"""PyTorch's side of the benchmarks: the same steps, one class at a time.

Written for this comparison as one would write it with PyTorch: a loop over
classes, a double backward pass for each, SGD with momentum.
"""

from typing import Any

import torch
from _child import Prepared
from _problem import Data, Problem, drawn, problem_from
from _torch_augment import OPERATIONS, apply, cutmix, draw
from _torch_network import ConvNet, cosine, decode, gradient_distance, squared
from torch import Tensor, nn
from torch.nn import functional

FORMS = ('lean', 'channels_last', 'backward')


class Held:
  """The sizes, data and images of a step, and how tensors are computed."""

  def __init__(self, sizes: Problem, device, form, precision, data: Data):
    self.sizes, self.device, self.form = sizes, device, form
    self.precision = precision
    self.real = torch.from_numpy(data.images).permute(0, 3, 1, 2).to(device)
    self.labels = torch.from_numpy(data.labels).long().to(device)
    self.places = [
      torch.from_numpy((data.labels == c).nonzero()[0])
      for c in range(sizes.classes)
    ]
    mean, std = (torch.tensor(x)[:, None, None] for x in data[3:])
    self.mean, self.std = mean.to(device), std.to(device)
    stored = torch.from_numpy(data.stored).permute(0, 1, 4, 2, 3)
    self.images = stored.contiguous().to(device).requires_grad_()
    self.image_optimizer = torch.optim.SGD(
      [self.images], sizes.learning_rate, momentum=0.5
    )

  def network(self) -> ConvNet:
    """Draws a new network."""
    s = self.sizes
    network = ConvNet(s.image_shape, s.classes, s.width, s.depth)
    network = network.to(self.device)
    if self.form == 'channels_last':
      network = network.to(memory_format=torch.channels_last)
    return network

  def normalised(self, images: Tensor) -> Tensor:
    """Normalises images `[N, D, H, W]` in [0, 1]."""
    images = (images - self.mean) / self.std
    if self.form == 'channels_last':
      images = images.contiguous(memory_format=torch.channels_last)
    return images

  def batch(self, positions: Tensor) -> Tensor:
    """Returns real images at positions of the set, normalised."""
    images = self.real[positions.to(self.device)]
    scale = 255 if images.dtype == torch.uint8 else 1
    return self.normalised(images.float() / scale)

  def real_batch(self, label: int) -> Tensor:
    """Draws real images of a class without replacement, normalised."""
    places = self.places[label]
    return self.batch(
      places[torch.randperm(len(places))[: self.sizes.batch_real]]
    )

  def synthetic_batch(self, label: int) -> Tensor:
    """Decodes the images of a class, at most so many; normalised."""
    decoded = decode(self.images[label], self.sizes.factor)
    most = self.sizes.most_synthetic
    if len(decoded) > most:
      decoded = decoded[torch.randperm(len(decoded), device=self.device)[:most]]
    return self.normalised(decoded)

  def siamese(self, real, synthetic, names):
    """Treats both sides by one draw of the named operations."""
    drawn = draw(1, self.sizes.image_shape[:2], self.device)
    return apply(real, drawn, names), apply(synthetic, drawn, names)

  def gradient_in_images(self, loss: Tensor) -> None:
    """Adds the gradient of a loss to that of the images.

    `backward()`, which most code calls here, also computes the derivatives in
    the network's parameters, which nothing uses.
    """
    if self.form == 'backward':
      loss.backward()
      return
    (gradient,) = torch.autograd.grad(loss, self.images)
    held = self.images.grad
    self.images.grad = gradient if held is None else held + gradient

  def computing(self):
    """The context of networks: bfloat16 where that is asked for."""
    return torch.autocast(
      self.device, torch.bfloat16, enabled=self.precision == 'bfloat16'
    )


def step(
  problem: dict[str, Any],
  *,
  device: str = 'cpu',
  form: str = 'lean',
  precision: str = 'float32',
  threads: int = 0,
) -> Prepared:
  """Prepares the same step as `_dcjax_step.step`.

  Args:
    problem: see `Problem`.
    device: `'cpu'` or `'cuda'`.
    form: `'lean'` (gradients in the images only), `'channels_last'` (that, in
      the other memory layout) or `'backward'` (all gradients, as published).
    precision: `'float32'`, `'tf32'` or `'bfloat16'` (autocast).
    threads: of PyTorch's pool; 0 leaves it.

  Raises:
    ValueError: if the form is unknown.
  """
  if form not in FORMS:
    raise ValueError(f'PyTorch form {form!r}: must be one of {FORMS}')
  set_up(threads, precision)
  sizes = problem_from(problem)
  held = Held(sizes, device, form, precision, drawn(sizes))
  method = {'idc': _idc, 'dc': _dc, 'dm': _dm}[held.sizes.method]

  def run():
    loss = method(held).item()
    if device == 'cuda':
      torch.cuda.synchronize()
    return loss

  peak = torch.cuda.max_memory_allocated if device == 'cuda' else None
  return Prepared(run, {}, peak)


def set_up(threads: int, precision: str = 'float32') -> None:
  """Sets seed, threads and the precision of matrix products."""
  torch.manual_seed(0)
  if threads:
    torch.set_num_threads(threads)
  exact = precision == 'float32'
  torch.set_float32_matmul_precision('highest' if exact else 'high')
  torch.backends.cudnn.allow_tf32 = not exact
  torch.backends.cudnn.benchmark = True


def train(
  held: Held,
  network: nn.Module,
  optimizer: torch.optim.Optimizer,
  images: Tensor,
  labels: Tensor,
  *,
  augmented: bool,
) -> Tensor:
  """One update of a network by cross-entropy; returns the loss `[]`.

  Args:
    held: for sizes and precision.
    network: trained.
    optimizer: its optimiser.
    images: `[B, D, H, W]` normalised.
    labels: `[B]` integers.
    augmented: whether by color and crop for each image, then CutMix.
  """
  others, share = labels, 1.0
  if augmented:
    drawn = draw(len(images), held.sizes.image_shape[:2], held.device)
    images = apply(images, drawn, ['color', 'crop'])
    images, others, share = cutmix(images, labels)
  with held.computing():
    logits = network(images).float()
  loss = functional.cross_entropy(logits, labels)
  if share < 1:
    mixed = functional.cross_entropy(logits, others)
    loss = share * loss + (1 - share) * mixed
  optimizer.zero_grad()
  loss.backward()
  optimizer.step()
  return loss.detach()


def match(
  held: Held, network: nn.Module, label: int, names: list[str], distance
) -> Tensor:
  """Adds a class's gradient in the images; returns its loss `[]`.

  Args:
    held: for images, real images and sizes.
    network: whose gradients are matched.
    label: the class.
    names: of the siamese augmentation's operations.
    distance: `(real, synthetic) -> []` of one tensor.
  """
  real, synthetic = held.real_batch(label), held.synthetic_batch(label)
  real, synthetic = held.siamese(real, synthetic, names)
  with held.computing():
    loss = gradient_distance(network, real, synthetic, label, distance)
  held.gradient_in_images(loss)
  return loss.detach()


def _idc(held: Held) -> Tensor:
  """Kim et al. (2022), Algorithm 1: an image step after each class."""
  network, total = held.network(), 0.0
  with torch.no_grad():
    held.images.clamp_(0, 1)
  for label in range(held.sizes.classes):
    held.image_optimizer.zero_grad()
    names = list(OPERATIONS)
    total += match(held, network, label, names, squared)
    held.image_optimizer.step()
  optimizer = torch.optim.SGD(
    network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4
  )
  train_on_real(held, network, optimizer)
  return total


def train_on_real(
  held: Held, network: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
  """Trains a network on batches of all real images, augmented, with CutMix."""
  for _ in range(held.sizes.network_batches):
    order = torch.randperm(len(held.labels))[: held.sizes.network_batch_size]
    labels = held.labels[order.to(held.device)]
    train(held, network, optimizer, held.batch(order), labels, augmented=True)


def _dc(held: Held) -> Tensor:
  """Zhao et al. (2021), Algorithm 1: one image step for all classes."""
  network, total = held.network(), 0.0
  held.image_optimizer.zero_grad()
  for label in range(held.sizes.classes):
    total += match(held, network, label, [], cosine)
  held.image_optimizer.step()
  optimizer = torch.optim.SGD(network.parameters(), 0.01)
  images = held.normalised(held.images.detach().flatten(0, 1))
  labels = torch.arange(held.sizes.classes, device=held.device)
  labels = labels.repeat_interleave(len(images) // len(labels))
  for _ in range(held.sizes.epochs):
    order = torch.randperm(len(images), device=held.device)
    for chosen in order.split(held.sizes.network_batch_size):
      train(
        held,
        network,
        optimizer,
        images[chosen],
        labels[chosen],
        augmented=False,
      )
  return total


def _dm(held: Held) -> Tensor:
  """Zhao & Bilen (2023), Algorithm 1: class means of embeddings."""
  network, total = held.network().requires_grad_(False), 0.0
  held.image_optimizer.zero_grad()
  for label in range(held.sizes.classes):
    names = list(OPERATIONS)
    names = [names[int(torch.randint(len(names), ()))]]
    real, synthetic = held.real_batch(label), held.synthetic_batch(label)
    real, synthetic = held.siamese(real, synthetic, names)
    with held.computing():
      with torch.no_grad():
        target = network.embed(real).float().mean(0)
      mean = network.embed(synthetic).float().mean(0)
    loss = (mean - target).square().sum()
    held.gradient_in_images(loss)
    total += loss.detach()
  held.image_optimizer.step()
  return total
