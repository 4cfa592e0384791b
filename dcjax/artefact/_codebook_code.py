"""NumPy source that decodes a codebook, for the text inside an artefact."""

from collections.abc import Mapping
from typing import Any

TEXT = (
  "The entries 'params/codes' [N, codes], 'params/embeddings' [C, F],"
  " 'params/generator/...' and 'params/statistics/...' are a generator that"
  ' makes image n of class c from code n and embedding c. Run the text'
  ' decode_code of this file (NumPy only): its decode(file) returns the'
  ' training images [C, N, H, W, D]: M = N.'
)

_CODE = """\
import numpy as np


def decode(file):
  # Images [C, N, H, W, D] of every class and code.
  codes = read(file, 'codes')
  conditions = dense(file, 'projection', read(file, 'embeddings'))
  return np.stack([images_of(file, codes, row) for row in conditions])


def images_of(file, codes, condition):
  # Images [N, H, W, D] of one class.
  condition = np.tile(condition, (len(codes), 1))
  x = dense(file, 'stem', np.concatenate([codes, condition], axis=1))
  x = x.reshape(len(codes), 4, 4, -1)
  for block in range(BLOCKS):
    for name in (f'{block}_0', f'{block}_1'):
      x = norm(file, 'norm' + name, conv(file, 'conv' + name, x))
    x = x.repeat(2, axis=1).repeat(2, axis=2)
  x = np.tanh(conv(file, 'output', x))
  top, left = (x.shape[1] - HEIGHT) // 2, (x.shape[2] - WIDTH) // 2
  x = x[:, top:top + HEIGHT, left:left + WIDTH]
  return (LOW + (HIGH - LOW) * (x + 1) / 2).astype(np.float32)


def read(file, name):
  return np.asarray(file['params/' + name], np.float32)


def dense(file, name, x):
  kernel = read(file, f'generator/{name}/kernel')
  return x @ kernel + read(file, f'generator/{name}/bias')


def conv(file, name, x):
  # ReLU, then a convolution of 3 x 3 with a border of zeros.
  kernel = read(file, f'generator/{name}/kernel')
  h, w = x.shape[1:3]
  x = np.pad(np.maximum(x, 0), [(0, 0), (1, 1), (1, 1), (0, 0)])
  parts = [x[:, i:i + h, j:j + w] @ kernel[i, j]
           for i in range(3) for j in range(3)]
  return sum(parts) + read(file, f'generator/{name}/bias')


def norm(file, name, x):
  # BatchNorm with the stored statistics.
  x = x - read(file, f'statistics/{name}/mean')
  x = x / np.sqrt(read(file, f'statistics/{name}/var') + 1e-5)
  scale = read(file, f'generator/{name}/scale')
  return x * scale + read(file, f'generator/{name}/bias')
"""


def decode_code(spec: Mapping[str, Any]) -> str:
  """Returns NumPy source of `decode(file)` for the spec of a codebook."""
  from dcjax.formations import _generator

  height, width, _ = spec['image_shape']
  low, high = spec['value_range']
  numbers = {
    'BLOCKS': _generator.blocks_of(max(height, width)),
    'HEIGHT': height,
    'WIDTH': width,
    'LOW': low,
    'HIGH': high,
  }
  lines = [f'{name} = {value!r}\n' for name, value in numbers.items()]
  return _CODE + '\n\n' + ''.join(lines)
