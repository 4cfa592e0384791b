"""The PyTorch view; imported only once PyTorch is known to be there.

The class lives at module level so that data loader workers can unpickle it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch


class CondensedDataset(torch.utils.data.Dataset):
  """A decoded condensed set with torchvision's attribute names.

  Attributes:
    images: float32 tensor `[M, D, H, W]` over all classes.
    targets: list of M class indices if hard, else float32 tensor `[M, K]`.
    classes: class names.
    class_to_idx: class name -> class index.
    transform: applied to an image `[D, H, W]`, or None.
    target_transform: applied to a label, or None.
  """

  def __init__(
    self,
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    transform: Callable | None = None,
    target_transform: Callable | None = None,
  ):
    self.images = torch.tensor(images.transpose(0, 3, 1, 2).copy())
    hard = labels.ndim == 1
    self.targets = labels.tolist() if hard else torch.tensor(labels)
    self.classes = list(classes)
    self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
    self.transform = transform
    self.target_transform = target_transform

  def __len__(self) -> int:
    return len(self.images)

  def __getitem__(self, index: int):
    image, target = self.images[index], self.targets[index]
    if self.transform is not None:
      image = self.transform(image)
    if self.target_transform is not None:
      target = self.target_transform(target)
    return image, target
