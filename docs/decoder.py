# ruff: noqa
# fmt: off
"""Reads condensed data sets, the `condensed.npz` of dcjax, with NumPy alone.

  import decoder

  images, labels, meta = decoder.read('condensed.npz')
  images = decoder.normalise(images, meta)  # ready to train on

Nothing that a file holds is run: it is numbers and a description in JSON.
"""

import hashlib
import json


def read(path):
  """Returns images [C, M, H, W, D] float32, labels, and the description.

  Labels are class numbers [C, M], or float32 [C, M, K] if they are soft. The
  images of a codebook are compared with the SHA-256 that the file names.
  """
  file, meta = load(path)
  images = decode(file, meta)
  expected = meta.get('decoded_sha256')
  content = images.astype('<f4', copy=False).tobytes()
  if expected and hashlib.sha256(content).hexdigest() != expected:
    raise ValueError(f'{path}: its images are not those that were saved.')
  if 'labels' in file:
    return images, file['labels'], meta
  classes = np.arange(images.shape[0], dtype=np.int32)[:, None]
  return images, np.broadcast_to(classes, images.shape[:2]), meta


def load(path):
  """Returns the arrays of a file by name, and its description."""
  with np.load(path, allow_pickle=False) as archive:
    file = {name: archive[name] for name in archive.files}
  meta = json.loads(file.pop('meta').tobytes())
  if (meta.get('format'), meta.get('version')) != ('dcjax-condensed', 1):
    raise ValueError(f'{path} is no condensed set of version 1.')
  return file, meta


def decode(file, meta):
  """Returns images [C, M, H, W, D] float32 of what `load` returned."""
  spec, steps = meta['spec'], meta.get('decoding')
  if spec['name'] == 'codebook':
    height, width, _ = spec['image_shape']
    return generate(file, height, width, *spec['value_range'])
  if 'basis' in (spec['name'], spec.get('inner')):
    (H, W, D), size, count = spec['image_shape'], spec['size'], spec['count']
    bases = numbers(file, 'params/bases', spec, (size, size, D))
    mixed = numbers(file, 'params/coefficients', spec, (1, 1, count))
    up, across = weights(bases.shape[1], H), weights(bases.shape[2], W)
    bases = np.einsum('Hh,Ww,khwd->kHWd', up, across, bases, optimize=True)
    mixed = mixed.reshape(*mixed.shape[:2], count)
    return np.tensordot(mixed, bases, 1).astype('f4')
  if steps is None:
    raise ValueError(f'the formation {spec["name"]!r} needs dcjax.')
  if spec['name'] == 'quantised':
    stored = numbers(file, 'params', spec, spec['image_shape'])
  else:
    stored = file['params/images'].astype(np.float32)
  # A group of stored images start:stop is cut into rows x columns crops, each
  # enlarged to H x W.
  images = []
  for rows, columns, start, stop in steps['groups']:
    images += cut(stored[:, start:stop], rows, columns, steps['padding'])
  return np.concatenate(images, axis=1).astype(np.float32)


def numbers(file, place, spec, shape):
  """Returns the entry of that name, unpacked if it is packed."""
  if place in file:
    return file[place]
  packed = (file[f'{place}/{n}'] for n in ('codes', 'scales', 'offsets'))
  return dequantise(*packed, spec['bits'], shape)


def cut(stored, rows, columns, padding):
  """Returns the crops, row by row, each [C, N, H, W, D]."""
  if rows == columns == 1:
    return [stored]
  C, N, H, W, D = stored.shape
  h, w = -(-H // rows), -(-W // columns)
  pad = [(0, 0), (0, 0), (0, h * rows - H), (0, w * columns - W), (0, 0)]
  stored = np.pad(stored, pad, constant_values=padding)
  up, across = weights(h, H), weights(w, W)
  return [
    np.einsum('Hh,Ww,cnhwd->cnHWd', up, across,
              stored[:, :, i:i + h, j:j + w], optimize=True)
    for i in range(0, h * rows, h) for j in range(0, w * columns, w)
  ]


def weights(size, out):
  """Bilinear, half-pixel centres, edges held, no antialiasing: [out, size]."""
  x = np.clip((np.arange(out) + 0.5) * size / out - 0.5, 0, size - 1)
  return np.maximum(0, 1 - abs(x[:, None] - np.arange(size)))


def normalise(images, meta):
  """Returns images as networks see them."""
  return (images - np.array(meta['mean'])) / np.array(meta['std'])


def whiten(file, images):
  """Whitened images [..., H, W, D] of images in [0, 1], such as test images."""
  flat = images.reshape(-1, file['zca/mean'].size)
  if 'zca/channels' in file:  # images of one length
    mean, std = file['zca/channels']
    flat = ((images - mean) / std).reshape(flat.shape)
    flat = flat - flat.mean(-1, keepdims=True)
    length = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = flat / (length + (length < 1e-4))
  return ((flat - file['zca/mean']) @ _matrix(file, -0.5)).reshape(images.shape)


def unwhiten(file, images):
  """Images to look at, once clipped to [0, 1], of whitened images.

  Where images were brought to one length, all get the average contrast.
  """
  flat = images.reshape(-1, file['zca/mean'].size)
  flat = flat @ _matrix(file, 0.5) + file['zca/mean']
  if 'zca/channels' not in file:
    return flat.reshape(images.shape)
  mean, std = file['zca/channels']
  return (flat * flat.shape[1] ** 0.5).reshape(images.shape) * std + mean


def _matrix(file, power):
  # U diag(values ** power) U^T, [F, F].
  vectors, values = file['zca/vectors'], file['zca/values']
  return (vectors * values ** power) @ vectors.T


# What follows unpacks quantised numbers and decodes codebooks, as dcjax does.
"""Reads images, and other numbers, of few bits with NumPy alone.

Scales have 11 significant bits and codes at most 8, so that their product is
exact: only the sum with the offset rounds, and it does so alike everywhere.
"""

from collections.abc import Sequence

import numpy as np


def dequantise(
  codes: np.ndarray,
  scales: np.ndarray,
  offsets: np.ndarray,
  bits: int,
  image_shape: Sequence[int],
) -> np.ndarray:
  """Unpacks codes and returns `offset + scale * code`.

  Args:
    codes: uint8 `[..., bytes]`: the codes of an image `[H, W, D]` in this
      order, `bits` bits each, highest bit first, end to end; the last byte is
      filled up with zeros.
    scales: float16 `[..., D]`, or `[..., 1]` for all channels; with an axis
      more than codes `[..., rows, columns]`, see `spread`.
    offsets: float16, as scales.
    bits: of a code.
    image_shape: `(H, W, D)`.

  Returns:
    float32 `[..., H, W, D]`.
  """
  used = int(np.prod(image_shape)) * bits
  single = np.unpackbits(codes, axis=-1)[..., :used]
  single = single.reshape(*codes.shape[:-1], *image_shape, bits)
  values = single @ (2 ** np.arange(bits - 1, -1, -1))
  size = image_shape[:2] if scales.ndim > codes.ndim else None
  scales = spread(scales.astype(np.float32), size)
  offsets = spread(offsets.astype(np.float32), size)
  return values.astype(np.float32) * scales + offsets


def spread(values, size=None):
  """Brings scales to the pixels `[..., H, W, D]` that they are of.

  Args:
    values: `[..., D or 1]`; of patches `[..., rows, columns]`, each of
      `ceil(H / rows)` by `ceil(W / columns)` pixels, the last ones of what is
      left. Arrays of NumPy or JAX.
    size: `(H, W)` of patches.

  Returns:
    `[..., 1, 1, D or 1]`, or `[..., H, W, 1]`.
  """
  if size is None:
    return values[..., None, None, :]
  for axis, pixels in zip((-2, -1), size, strict=True):
    values = values.repeat(-(-pixels // values.shape[axis]), axis=axis)
  return values[..., : size[0], : size[1], None]


"""Decodes a codebook with NumPy alone, to the same bytes on every machine.

Sums of products are the one thing that processors, BLAS libraries and numbers
of threads round differently. Here convolutions multiply whole numbers, small
enough that a float64 holds every sum of them exactly, in whatever order it is
made; the other sums are made in a fixed order. What is left are additions,
products, quotients and roots of single numbers, whose last bit IEEE 754 fixes.
"""

from collections.abc import Iterator, Mapping

import numpy as np

_EXACT = 53  # bits of the whole numbers that a float64 holds
_PIXELS = 2**15  # of the images that are made at once: bounds the memory
_FIRST = 4  # rows and columns of the first layer


def generate(
  file: Mapping[str, np.ndarray],
  height: int,
  width: int,
  low: float,
  high: float,
) -> np.ndarray:
  """Makes image n of class c from code n and embedding c.

  Args:
    file: holds the entries 'params/codes' [N, codes], 'params/embeddings'
      [C, F], 'params/generator/...' and 'params/statistics/...'.
    height: rows of an image.
    width: columns of an image.
    low: value that the least output, -1, stands for.
    high: value that the largest output, 1, stands for.

  Returns:
    Images [C, N, H, W, D], float32.
  """
  params = {
    name.removeprefix('params/'): np.asarray(file[name], np.float64)
    for name in file
    if name.startswith('params/')
  }
  blocks = 0
  while f'generator/conv{blocks}_0/kernel' in params:
    blocks += 1
  params = _with_whole_kernels(params)
  side = _FIRST * 2**blocks
  top, left = (side - height) // 2, (side - width) // 2
  counts = len(params['embeddings']), len(params['codes'])
  channels = params['generator/output/bias'].size
  images = np.empty((*counts, height, width, channels), np.float32)
  flat, done = images.reshape(-1, height, width, channels), 0
  for x in _stems(params, max(1, _PIXELS // side**2)):
    x = _blocks(params, x, blocks)[:, top : top + height, left : left + width]
    flat[done : done + len(x)] = low + (high - low) * (x + 1) / 2
    done += len(x)
  return images


def _stems(params: dict[str, np.ndarray], size: int) -> Iterator[np.ndarray]:
  """Yields the first layer of `size` images at a time, class by class."""
  codes, kernel = params['codes'], params['generator/stem/kernel']
  conditions = _product(
    params['embeddings'], params['generator/projection/kernel']
  )
  conditions = conditions + params['generator/projection/bias']
  # What a code and what a class adds: once, not for every pair.
  of_codes = _product(codes, kernel[: codes.shape[1]])
  of_classes = _product(conditions, kernel[codes.shape[1] :])
  of_classes = of_classes + params['generator/stem/bias']
  for start in range(0, len(of_classes) * len(codes), size):
    stop = min(start + size, len(of_classes) * len(codes))
    classes, chosen = np.divmod(np.arange(start, stop), len(codes))
    x = of_classes[classes] + of_codes[chosen]
    yield x.reshape(len(x), _FIRST, _FIRST, -1)


def _blocks(
  params: dict[str, np.ndarray], x: np.ndarray, blocks: int
) -> np.ndarray:
  """Images [B, S, S, D] in [-1, 1] of the first layer [B, 4, 4, width]."""
  for block in range(blocks):
    for name in (f'{block}_0', f'{block}_1'):
      x = _convolution(params, f'conv{name}', x)
      x = _norm(params, f'norm{name}', x)
    x = x.repeat(2, axis=1).repeat(2, axis=2)
  return _tanh(_convolution(params, 'output', x))


def _product(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
  """Matrix product, summed in the order of the inputs."""
  total = np.zeros((len(x), kernel.shape[1]))
  for column, row in zip(x.T, kernel, strict=True):
    total = total + column[:, None] * row
  return total


def _convolution(
  params: dict[str, np.ndarray], name: str, x: np.ndarray
) -> np.ndarray:
  """ReLU, then a convolution of 3 x 3 with a border of zeros."""
  count, h, w, channels = x.shape
  whole, unit = _whole_numbers(np.maximum(x, 0), _bits(channels), (1, 2, 3))
  products = whole.reshape(-1, channels) @ params[f'{name}/whole']
  products = products.reshape(count, h, w, 3, 3, -1)
  total = np.zeros((count, h + 2, w + 2, products.shape[-1]))
  for i in range(3):
    for j in range(3):
      total[:, 2 - i : h + 2 - i, 2 - j : w + 2 - j] += products[:, :, :, i, j]
  total = total[:, 1:-1, 1:-1] * (unit * params[f'{name}/unit'])
  return total + params[f'generator/{name}/bias']


def _with_whole_kernels(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Adds the kernels of convolutions as whole numbers, `[cin, 9 * cout]`."""
  added = {}
  for path, kernel in params.items():
    if kernel.ndim == 4:
      name, channels = path.split('/')[1], kernel.shape[2]
      whole, unit = _whole_numbers(kernel, _bits(channels), (0, 1, 2))
      added[f'{name}/whole'] = whole.transpose(2, 0, 1, 3).reshape(channels, -1)
      added[f'{name}/unit'] = unit
  return params | added


def _bits(channels: int) -> int:
  """Bits of a factor: sums of 9 * channels products must stay exact."""
  return (_EXACT - (9 * channels - 1).bit_length()) // 2


def _whole_numbers(
  x: np.ndarray, bits: int, axes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
  """Whole numbers of so many bits and the power of 2 they are multiples of.

  Each part of the array along the other axes has a power of its own.
  """
  _, exponent = np.frexp(abs(x).max(axis=axes, keepdims=True))
  unit = np.ldexp(1.0, exponent - bits)
  return np.rint(x / unit), unit


def _norm(
  params: dict[str, np.ndarray], name: str, x: np.ndarray
) -> np.ndarray:
  """BatchNorm with the stored statistics."""
  spread = np.sqrt(params[f'statistics/{name}/var'] + 1e-5)
  gain = params[f'generator/{name}/scale'] / spread
  x = (x - params[f'statistics/{name}/mean']) * gain
  return x + params[f'generator/{name}/bias']


def _tanh(x: np.ndarray) -> np.ndarray:
  """Hyperbolic tangent; the last bit of np.tanh depends on the processor."""
  x = np.clip(x, -20.0, 20.0) / 32
  fraction = np.full_like(x, 17.0)
  for odd in (15, 13, 11, 9, 7, 5, 3, 1):  # Lambert's continued fraction
    fraction = odd + x * x / fraction
  x = x / fraction
  for _ in range(5):  # back from a 32nd: tanh 2x = 2 tanh x / (1 + tanh^2 x)
    x = 2 * x / (1 + x * x)
  return x
