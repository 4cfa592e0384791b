"""Siamese augmentation in PyTorch, as the papers of DSA and IDC describe it.

A draw decides the treatment of all images alike (`[1]` parameters) or of each
image on its own (`[N]`). Images `[N, D, H, W]` are normalised; zeros come in
from outside.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_CROP_RATIO, _CUTOUT_RATIO = 0.125, 0.5


def draw(num: int, size: tuple[int, int], device: str) -> dict[str, Tensor]:
  """Draws the parameters of color, crop and cutout.

  Args:
    num: 1 for one draw that all images share, or the number of images.
    size: `(H, W)`.
    device: where the color parameters lie. Places stay on the host, so that no
      slice waits for the device.

  Returns:
    `brightness`, `saturation`, `contrast`: `[num]` in [0, 1]; `crop`,
    `cutout`: `[num, 2]` row and column shift, row and column of the centre.
  """
  reach = torch.tensor([int(s * _CROP_RATIO + 0.5) for s in size])
  # An even hole has no middle pixel; one more place balances both ends.
  places = torch.tensor(
    [s + 1 - int(s * _CUTOUT_RATIO + 0.5) % 2 for s in size]
  )
  shift = torch.floor(torch.rand(num, 2) * (2 * reach + 1)) - reach
  centre = torch.floor(torch.rand(num, 2) * places)
  uniform = torch.rand(3, num)
  return {
    'brightness': uniform[0].to(device),
    'saturation': uniform[1].to(device),
    'contrast': uniform[2].to(device),
    'crop': shift.long(),
    'cutout': centre.long(),
  }


def color(images: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
  """Brightness, saturation, contrast of images `[N, D, H, W]`, in order."""
  images = images + (_wide(drawn['brightness']) - 0.5)
  if images.shape[1] > 1:
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * _wide(drawn['saturation'])) + grey
  mean = images.mean((1, 2, 3), keepdim=True)
  return (images - mean) * (_wide(drawn['contrast']) + 0.5) + mean


def crop(images: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
  """Moves the window of images `[N, D, H, W]`."""
  n, _, h, w = images.shape
  reach = [int(s * _CROP_RATIO + 0.5) for s in (h, w)]
  padded = torch.nn.functional.pad(
    images, (reach[1], reach[1], reach[0], reach[0])
  )
  shift = drawn['crop'] + torch.tensor(reach)
  if len(shift) == 1:
    row, column = shift[0].tolist()
    return padded[:, :, row : row + h, column : column + w]
  shift = shift.to(images.device)
  rows = shift[:, 0, None] + torch.arange(h, device=images.device)
  columns = shift[:, 1, None] + torch.arange(w, device=images.device)
  picks = torch.arange(n, device=images.device)[:, None, None]
  window = padded.permute(0, 2, 3, 1)[picks, rows[:, :, None], columns[:, None]]
  return window.permute(0, 3, 1, 2)


def cutout(images: Tensor, drawn: Mapping[str, Tensor]) -> Tensor:
  """Zeroes one rectangle of images `[N, D, H, W]`."""
  keep = []
  for axis, size in enumerate(images.shape[2:]):
    side = int(size * _CUTOUT_RATIO + 0.5)
    first = drawn['cutout'][:, axis, None] - side // 2
    places = torch.arange(size)
    keep.append((places < first) | (places >= first + side))
  mask = keep[0][:, None, :, None] | keep[1][:, None, None, :]
  return images * mask.to(images.device)


OPERATIONS = {'color': color, 'crop': crop, 'cutout': cutout}


def apply(
  images: Tensor, drawn: Mapping[str, Tensor], names: list[str]
) -> Tensor:
  """Runs the named operations in order on images `[N, D, H, W]`."""
  for name in names:
    images = OPERATIONS[name](images, drawn)
  return images


def cutmix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, float]:
  """Pastes one box from a permutation of the batch, half of the time.

  Args:
    images: `[N, D, H, W]`.
    labels: `[N]` integers.

  Returns:
    Images, the permuted labels, and the share of the own labels.
  """
  if torch.rand(()) >= 0.5:
    return images, labels, 1.0
  h, w = images.shape[2:]
  side = (1 - torch.rand(()).item()) ** 0.5
  order = torch.randperm(len(images), device=images.device)
  box = []
  for size in (h, w):
    centre, half = int(torch.randint(size, ())), int(size * side) // 2
    box.append(slice(max(centre - half, 0), min(centre + half, size)))
  mixed = images.clone()
  mixed[:, :, box[0], box[1]] = images[order][:, :, box[0], box[1]]
  area = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
  return mixed, labels[order], 1 - area / (h * w)


def _wide(values):
  return values[:, None, None, None]
