"""IDC on one's own arrays with one's own network.

python examples/own_data.py
"""

import flax.linen as nn
import numpy as np
from sklearn.datasets import load_digits

import dcjax.runs
from dcjax import data, networks


class SmallNet(nn.Module):
  """Any module that maps images `[B, H, W, D]` to logits `[B, K]`."""

  @nn.compact
  def __call__(self, images, train=False):
    x = nn.relu(nn.Conv(16, (3, 3))(images))
    x = nn.avg_pool(x, (2, 2), (2, 2))
    x = nn.relu(nn.Conv(16, (3, 3))(x))
    return nn.Dense(10)(x.reshape(x.shape[0], -1))


def load() -> data.Dataset:
  """Arrays: uint8 or float images [M, H, W] or [M, H, W, D], integer labels."""
  digits = load_digits()
  images = (digits.images * 15).astype(np.uint8)
  return data.from_arrays(images, digits.target, name='own digits')


def main(workdir: str = 'runs/own_digits', more: str = '') -> dict:
  """Condenses, evaluates, and writes the report; returns the results.

  Args:
    workdir: the run's folder; the same call goes on.
    more: further settings.
  """
  dataset = load()
  network = networks.from_linen(SmallNet(), dataset.image_shape)
  # Rates are published for images of 32 pixels and more: this one is as it is.
  return dcjax.runs.run(
    'idc:own,schedule=short,ipc=1,factor=1,outer=10,method.inner_steps=20,'
    'method.learning_rate=0.01,method.scale_learning_rate=false,'
    'evaluation.epochs=200,evaluation.baselines=initial+random' + more,
    workdir,
    dataset=dataset,
    network=network,
  )


if __name__ == '__main__':
  main()
