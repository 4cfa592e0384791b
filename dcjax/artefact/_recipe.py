"""The text inside an artefact that says how to decode it with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcjax.artefact import _codebook_code

if TYPE_CHECKING:
  from dcjax.artefact._types import Artefact

_STEPS = """\
1. file = numpy.load(path, allow_pickle=False). Every entry but 'meta' is an
   array; 'meta' is this JSON text: json.loads(file['meta'].tobytes()).
2. {decode}
3. {labels}
4. To train, normalise each channel: (images - mean) / std, with mean and std
   from this text. The stored images are not normalised. {scale}{whitening}
Axes: C classes (order of class_names), N stored images of a class, M decoded
images of a class, H rows, W columns, D channels, K label dimension."""

_STORED = (
  "stored = file['params/images'] holds float images [C, N, H, W, D]"
  ' (channels last).'
)
_PLAIN = f'{_STORED} They are the training images as they are: M = N.'
_CODE = (
  f'{_STORED} Run the text decode_code of this file (NumPy only): its'
  ' decode(stored) returns the training images [C, M, H, W, D].'
)
_NETWORK = (
  "The formation named in 'spec' decodes the entries 'params/...' with a"
  ' network: dcjax.formations.build(spec).decode(params), where "/" in an'
  " entry's name separates the keys of nested dicts."
)
_HARD = 'The label of images[c, m] is the class index c (hard labels).'
_OWN = "The labels come with the decoding (entry 'params/labels')."
_SOFT = (
  "The label of images[c, m] is labels = file['labels'][c, m], float32 of"
  ' length K. Regime: {regime}.'
)
_CENTRED = (
  ' Labels are centred: about one-hot minus 1 / K, made for squared error or'
  ' regression. Cross-entropy needs probabilities: add 1 / K, clip to [0, 1],'
  ' divide by the sum.'
)

# A step of its own, so that the text stays as it is for plain images.
_WHITENED = """
5. The training images are ZCA-whitened. Whiten every other image, test images
   included, before step 4: run the text whitening_code of this file (NumPy
   only); its whiten(file, images) takes images [..., H, W, D] in [0, 1]. To
   look at training images, turn them back: unwhiten(file, images), clipped to
   [0, 1]. With F = H * W * D values of an image in this order, 'zca/mean' [F]
   is the mean image, 'zca/vectors' [F, F] holds the eigenvectors of the
   covariance as columns, 'zca/values' [F] its regularised eigenvalues.{unit}"""
_UNIT = """
   Before that, each channel is standardised by 'zca/channels' [2, D] (mean and
   deviation), and each image is centred and divided by its length."""

# Of sets that learned one; the steps before stay as they are.
_STEP_SIZE = {
  'plain': "file['params/step_size']",
  'softplus': "log(1 + exp(file['params/step_size']))",
}
_AT_RATE = """
{number}. The set was made for plain gradient descent at a learned rate, {rate}
   (one number, or one for each step)."""

_WHITENING_CODE = """\
import numpy as np


def whiten(file, images):
  # Whitened images [..., H, W, D] of images [..., H, W, D] in [0, 1].
  flat = images.reshape(-1, file['zca/mean'].size) - file['zca/mean']
  return (flat @ matrix(file, -0.5)).reshape(images.shape)


def unwhiten(file, images):
  # Images [..., H, W, D] of whitened images [..., H, W, D].
  flat = images.reshape(-1, file['zca/mean'].size)
  return (flat @ matrix(file, 0.5) + file['zca/mean']).reshape(images.shape)


def matrix(file, power):
  # U diag(values ** power) U^T, [F, F].
  vectors, values = file['zca/vectors'], file['zca/values']
  return (vectors * values ** power) @ vectors.T
"""

_CUT = """\
import numpy as np


def decode(stored):
  # Returns images [C, M, H, W, D] of stored [C, N, H, W, D]. A group of stored
  # images start:stop is cut into rows x columns crops, each enlarged to H x W.
  images = []
  for rows, columns, start, stop in GROUPS:
    images += cut(stored[:, start:stop], rows, columns)
  return np.concatenate(images, axis=1).astype(np.float32)


def cut(stored, rows, columns):
  C, N, H, W, D = stored.shape
  h, w = -(-H // rows), -(-W // columns)
  pad = [(0, 0), (0, 0), (0, h * rows - H), (0, w * columns - W), (0, 0)]
  stored = np.pad(stored, pad, constant_values=PADDING)
  up, across = weights(h, H), weights(w, W)
  return [
    np.einsum('Hh,Ww,cnhwd->cnHWd', up, across,
              stored[:, :, i:i + h, j:j + w], optimize=True)
    for i in range(0, h * rows, h) for j in range(0, w * columns, w)
  ]


def weights(size, out):
  # Bilinear, half-pixel centres, edges held, no antialiasing: [out, size].
  x = np.clip((np.arange(out) + 0.5) * size / out - 0.5, 0, size - 1)
  return np.maximum(0, 1 - abs(x[:, None] - np.arange(size)))
"""


# In place of the first two functions, where images are brought to one length.
_UNIT_WHITENING_CODE = """\
import numpy as np


def whiten(file, images):
  # Whitened images [..., H, W, D] of images [..., H, W, D] in [0, 1].
  mean, std = file['zca/channels']
  flat = ((images - mean) / std).reshape(-1, file['zca/mean'].size)
  flat = flat - flat.mean(-1, keepdims=True)
  length = np.linalg.norm(flat, axis=-1, keepdims=True)
  flat = flat / (length + (length < 1e-4)) - file['zca/mean']
  return (flat @ matrix(file, -0.5)).reshape(images.shape)


def unwhiten(file, images):
  # Images [..., H, W, D] of whitened ones, all of the average contrast.
  mean, std = file['zca/channels']
  flat = images.reshape(-1, file['zca/mean'].size)
  flat = flat @ matrix(file, 0.5) + file['zca/mean']
  return (flat * flat.shape[1] ** 0.5).reshape(images.shape) * std + mean


def matrix(""" + _WHITENING_CODE.split('def matrix(')[1]


def how_to_decode(artefact: Artefact) -> dict[str, str]:
  """Returns 'how_to_decode', and NumPy code where steps need some.

  That is 'decode_code' for formations and 'whitening_code' for whitened images.
  """
  params, code = artefact.params, None
  alone = set(params) - {'step_size'} == {'images'}
  plain = artefact.spec['name'] == 'identity' and alone
  if not plain and alone:
    code = decode_code(artefact.spec, params['images'].shape[1])
  text = _PLAIN if plain else _CODE if code else _NETWORK
  if artefact.spec['name'] == 'codebook':
    text, code = _codebook_code.TEXT, _codebook_code.decode_code(artefact.spec)
  labels = _OWN if 'labels' in params else _HARD
  if artefact.labels is not None:
    labels = _SOFT.format(regime=artefact.label_regime)
  if artefact.spec.get('labels') == 'centred':
    labels += _CENTRED
  steps = _STEPS.format(
    decode=text,
    labels=labels,
    scale=_scale(artefact.value_range),
    whitening=_further(artefact),
  )
  codes = {
    'decode_code': code,
    'whitening_code': _whitening_code(artefact),
  }
  return {'how_to_decode': steps} | {k: v for k, v in codes.items() if v}


def _further(artefact: Artefact) -> str:
  """The steps that only some sets need."""
  text, form = '', artefact.spec.get('step_size')
  if artefact.zca is not None:
    unit = '' if artefact.zca.channels is None else _UNIT
    text += _WHITENED.format(unit=unit)
  if form is not None:
    number = 5 if artefact.zca is None else 6
    text += _AT_RATE.format(number=number, rate=_STEP_SIZE[form])
  return text


def _whitening_code(artefact: Artefact) -> str | None:
  if artefact.zca is None:
    return None
  return (
    _WHITENING_CODE if artefact.zca.channels is None else _UNIT_WHITENING_CODE
  )


def decode_code(spec: Mapping[str, Any], ipc: int) -> str | None:
  """Returns NumPy source of `decode(stored)`, or None where JAX is needed.

  Args:
    spec: of a formation; those that cut stored images have NumPy source.
    ipc: stored images of a class.
  """
  from dcjax.formations import _plan

  if spec['name'] not in set(_plan.NAMES) - set(_plan.WITH_NETWORK):
    return None
  padding = spec.get('padding', 0.0 if spec['name'] == 'time_axis' else 0.5)
  groups = [tuple(group) for group in _plan.groups(spec, ipc)]
  return f'{_CUT}\n\nPADDING = {padding!r}\nGROUPS = {groups!r}\n'


def _scale(value_range: tuple[float | None, float | None]) -> str:
  low, high = ('unbounded' if side is None else side for side in value_range)
  return f'Image values lie between {low} and {high}.'
