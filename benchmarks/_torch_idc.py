"""PyTorch's side of `time_to_accuracy.py`: all of IDC's condensation.

Reads the settings of a dcjax config, so that both sides are told the same.
"""

import json
import math
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import _torch_network
import numpy as np
import torch
from _child import limit_threads, record_seconds
from _problem import Data, Problem
from _torch_augment import OPERATIONS
from _torch_step import Held, match, set_up, train_on_real
from torch import Tensor


def main(folder: str) -> None:
  """Condenses as `folder/config.json` says, from `folder/data.npz`.

  Writes `data.pt` as the public IDC code does. The seconds are those of the
  steps and of that file.
  """
  place = pathlib.Path(folder)
  told = json.loads((place / 'settings.json').read_text(encoding='utf-8'))
  config = json.loads((place / 'config.json').read_text(encoding='utf-8'))
  with np.load(place / 'data.npz') as file:
    data = Data(**{name: file[name] for name in Data._fields})
  limit_threads(told['threads'])
  set_up(told['threads'])
  torch.manual_seed(config['seed'])
  record_seconds(place, lambda: _write(place, condense(config, data)))


def condense(config: Mapping[str, Any], data: Data) -> Tensor:
  """Kim et al. (2022), Algorithm 1, on the host.

  The start and the settings are the same as dcjax's; draws are not.

  Args:
    config: the settings of a dcjax config `idc`, and `image_rate`.
    data: what it condenses, and starts from.

  Returns:
    The stored images `[C, ipc, D, H, W]`.
  """
  method = config['method']
  held = Held(_sizes(config, data), 'cpu', 'lean', 'float32', data)
  steps = config['outer'] * method['inner_steps']
  for done in range(steps):
    if done % method['inner_steps'] == 0:
      network = held.network()
      optimizer = torch.optim.SGD(
        network.parameters(),
        method['network_learning_rate'],
        momentum=0.9,
        weight_decay=method['network_weight_decay'],
      )
      print(f'{done} of {steps} steps', file=sys.stderr, flush=True)
    falling = 0.5 + 0.5 * math.cos(math.pi * done / steps)
    rate = config['image_rate']
    _image_step(
      held, network, method, rate * falling ** (method['decay'] == 'cosine')
    )
    train_on_real(held, network, optimizer)
  return held.images.detach().clamp(0, 1)


def _sizes(config, data):
  method = config['method']
  return Problem(
    'idc',
    image_shape=data.images.shape[1:],
    width=config['width'],
    depth=config['depth'],
    classes=len(data.stored),
    ipc=config['ipc'],
    factor=config['factor'],
    batch_real=method['batch_real'],
    most_synthetic=method['most_synthetic'],
    network_batches=method['network_batches'],
    network_batch_size=method['network_batch_size'],
    learning_rate=config['image_rate'],
  )


def _image_step(held, network, method, rate):
  """Class after class (`sweep`), or one step of all of them."""
  optimizer = held.image_optimizer
  optimizer.param_groups[0].update(lr=rate, momentum=method['momentum'])
  distance = getattr(_torch_network, method['distance'])
  with torch.no_grad():
    held.images.clamp_(0, 1)
  optimizer.zero_grad()
  for label in range(held.sizes.classes):
    match(held, network, label, list(OPERATIONS), distance)
    if method['sweep']:
      optimizer.step()
      optimizer.zero_grad()
  if not method['sweep']:
    optimizer.step()


def _write(place, images):
  labels = torch.arange(len(images)).repeat_interleave(images.shape[1])
  torch.save([images.flatten(0, 1), labels], place / 'data.pt')


if __name__ == '__main__':
  main(sys.argv[1])
