"""The text inside an artefact that says how to decode it with NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcjax.artefact import _decoder

if TYPE_CHECKING:
  from dcjax.artefact._types import Artefact

_STEPS = """\
The published file decoder.py of dcjax (NumPy only, SHA-256 {digest})
does all of this: decoder.read(path). Take it from where dcjax is published, and
run no program that came with a data set. The steps:
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
_PACKED = (
  "stored = decoder.dequantise(file['params/codes'], file['params/scales'],"
  " file['params/offsets'], spec['bits'], spec['image_shape']) are float images"
  ' [C, N, H, W, D] (channels last): offset + scale * code, codes of spec.bits'
  ' bits packed end to end, highest bit first.'
)
_PLAIN = f'{_STORED} They are the training images as they are: M = N.'
_CUT = (
  f'{_STORED} Each [rows, columns, start, stop] of decoding.groups cuts the'
  ' stored images start:stop into rows x columns crops, row by row, padded'
  ' with decoding.padding where that does not divide evenly; each is enlarged'
  ' to H x W (bilinear, half-pixel centres), and all together are the training'
  ' images [C, M, H, W, D].'
)
_CODEBOOK = (
  "The entries 'params/codes' [N, codes], 'params/embeddings' [C, F],"
  " 'params/generator/...' and 'params/statistics/...' are a generator that"
  ' makes image n of class c from code n and embedding c: M = N. The bytes of'
  ' the images [C, N, H, W, D] (float32, little-endian) are the same on every'
  ' machine: their SHA-256 is decoded_sha256 of this text.'
)
_BASIS = (
  "'params/bases' [B, h, w, D] are images that all classes share, each enlarged"
  ' to the H x W of spec.image_shape (bilinear, half-pixel centres); training'
  " image m of class c is their sum with the coefficients 'params/coefficients'"
  ' [c, m] of [C, M, B].'
)
_PACKED_BASIS = (
  " These are decoder.dequantise(codes, scales, offsets, spec['bits'], shape)"
  " of the entries 'params/bases/...', shape (spec.size, spec.size, D), and"
  " 'params/coefficients/...', shape (1, 1, B), the axes of length 1 left out:"
  ' offset + scale * code, codes of spec.bits bits packed end to end, highest'
  ' bit first.'
)
_PATCHES = (
  ' Scales and offsets [C, N, rows, columns] are those of rows x columns'
  ' patches of a stored image, cut like the finest crops.'
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

_NONNEGATIVE = (
  ' Labels are not normalised: the set was made for, and is evaluated with, the'
  ' cross-entropy -sum(labels * log(p)) of the labels as they are, whose sum is'
  ' the weight of an image. Divide by the sum for probabilities.'
)

# A step of its own, so that the text stays as it is for plain images.
_WHITENED = """
5. The training images are ZCA-whitened. Whiten every other image, test images
   included, before step 4: decoder.whiten(file, images) takes images
   [..., H, W, D] in [0, 1]. To look at training images, turn them back:
   decoder.unwhiten(file, images), clipped to [0, 1]. With F = H * W * D values
   of an image in this order, 'zca/mean' [F] is the mean image m, 'zca/vectors'
   [F, F] holds the eigenvectors of the covariance as columns U, 'zca/values'
   [F] its regularised eigenvalues v: (x - m) U diag(v ** -0.5) U^T.{unit}"""
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


def how_to_decode(artefact: Artefact) -> dict[str, Any]:
  """Returns 'how_to_decode', 'decoder_sha256', and 'decoding' if there is any.

  Nothing of it is a program: what runs is the published decoder.
  """
  params, spec, decoding = artefact.params, artefact.spec, None
  alone = set(params) - {'step_size'} == {'images'}
  packed = set(params) - {'step_size'} == {'codes', 'scales', 'offsets'}
  name = spec.get('inner', 'identity') if packed else spec['name']
  plain = name == 'identity' and (alone or packed)
  if alone or packed:
    stored = params['codes' if packed else 'images']
    decoding = decoding_of(spec, stored.shape[1])
  text = _PLAIN if plain else _CUT if decoding else _NETWORK
  if packed and decoding:
    patches = _PATCHES if spec.get('scales') == 'patch' else ''
    text = text.replace(_STORED, _PACKED + patches)
  text = {'basis': _BASIS, 'codebook': _CODEBOOK}.get(spec['name'], text)
  if spec.get('inner') == 'basis':
    text = _BASIS + _PACKED_BASIS
  labels = _OWN if 'labels' in params else _HARD
  if artefact.labels is not None:
    labels = _SOFT.format(regime=artefact.label_regime)
  forms = {'centred': _CENTRED, 'nonnegative': _NONNEGATIVE}
  labels += forms.get(spec.get('labels'), '')
  digest = _decoder.decoder_sha256()
  steps = _STEPS.format(
    digest=digest,
    decode=text,
    labels=labels,
    scale=_scale(artefact.value_range),
    whitening=_further(artefact),
  )
  made = {'how_to_decode': steps, 'decoder_sha256': digest}
  return made if decoding is None else {**made, 'decoding': decoding}


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


def decoding_of(spec: Mapping[str, Any], ipc: int) -> dict[str, Any] | None:
  """Returns how stored images are cut, or None where JAX is needed.

  Args:
    spec: of a formation.
    ipc: stored images of a class.

  Returns:
    'groups', a list of [rows, columns, start, stop], and 'padding'.
  """
  from dcjax.formations import _grids

  spec = _grids.of_inner(spec)
  if spec['name'] not in set(_grids.NAMES) - set(_grids.BEYOND_IMAGES):
    return None
  padding = spec.get('padding', 0.0 if spec['name'] == 'time_axis' else 0.5)
  groups = [list(group) for group in _grids.groups(spec, ipc)]
  return {'groups': groups, 'padding': padding}


def _scale(value_range: tuple[float | None, float | None]) -> str:
  low, high = ('unbounded' if side is None else side for side in value_range)
  return f'Image values lie between {low} and {high}.'
