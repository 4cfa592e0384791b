"""The published decoder: one file that reads artefacts with NumPy alone."""

import hashlib
import inspect

_HEAD = '''\
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
'''


def decoder_source() -> str:
  """Returns the text of the decoder, the same for all artefacts.

  It is published as `docs/decoder.py`; for quantised numbers and codebooks it
  is the source that decodes them in this package, so that a reader gets the
  same bytes.
  """
  from dcjax.formations import _codebook_numpy, _quantised_numpy

  sources = map(inspect.getsource, (_quantised_numpy, _codebook_numpy))
  return _HEAD + '\n\n'.join(sources)


def decoder_sha256() -> str:
  """Returns the SHA-256 of `decoder_source`, which artefacts name."""
  return hashlib.sha256(decoder_source().encode()).hexdigest()
