"""An artefact to look at: one line of text, and a gallery for notebooks."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from dcjax import pictures, whitening
from dcjax.artefact import _decoded

if TYPE_CHECKING:
  from dcjax.artefact._types import Artefact

_ROWS, _COLUMNS = 10, 10
_SHOWN = ('network', 'epochs', 'learning_rate', 'batch_size', 'augmentation')


def one_line(artefact: Artefact) -> str:
  """Returns method, data set, sizes, formation and bytes."""
  ipc, shape = _stored(artefact)
  size = 'x'.join(map(str, shape))
  return (
    f'<Artefact: {_title(artefact)}, {len(artefact.class_names)} classes x '
    f'{ipc} images {size} ({_formation(artefact.spec)}), '
    f'labels: {artefact.label_regime}, {_bytes(artefact)}>'
  )


def _title(artefact):
  made = artefact.provenance
  return f'{made.get("method", "set")} on {made.get("dataset", "unknown data")}'


def _stored(artefact) -> tuple[int, tuple[int, ...]]:
  """Stored images of a class, and the shape of an image."""
  params, spec = artefact.params, artefact.spec
  if 'images' in params:
    return params['images'].shape[1], params['images'].shape[2:]
  shape = tuple(spec['image_shape'])
  if spec['name'] == 'codebook':
    return params['codes'].shape[0], shape
  name = 'coefficients' if 'coefficients' in params else 'codes'
  # Of packed coefficients, the codes are the first leaf.
  return jax.tree.leaves(params[name])[0].shape[1], shape


def _formation(spec: Mapping[str, Any]) -> str:
  sizes = ('inner', 'factor', 'bits')
  found = [f'{n}={spec[n]}' for n in sizes if n in spec]
  return ' '.join([spec['name'], *found])


def _bytes(artefact) -> str:
  leaves = jax.tree.leaves(artefact.params)
  if artefact.labels is not None:
    leaves.append(artefact.labels)
  size = sum(leaf.nbytes for leaf in leaves)
  return f'{size / 1e6:.2f} MB' if size >= 1e6 else f'{size / 1e3:.1f} kB'


def page(artefact: Artefact) -> str:
  """Returns HTML: images by class, size, accuracy, protocol."""
  ipc, shape = _stored(artefact)
  images, what = _gallery(artefact)
  spectrogram = bool(artefact.provenance.get('spectrogram'))
  shown = (None, None) if spectrogram else (0.0, 1.0)
  pixels = pictures.to_uint8(images, shown)
  rows = [
    f'<tr><th style="text-align:right">{html.escape(name)}</th><td>'
    + ''.join(map(_picture, of_class))
    + '</td></tr>'
    for name, of_class in zip(artefact.class_names, pixels, strict=False)
  ]
  size = 'x'.join(map(str, shape))
  facts = {
    'images': f'{len(artefact.class_names)} classes x {ipc} stored, {size}; '
    f'shown {what}, {pixels.shape[0]} x {pixels.shape[1]}',
    'formation': _formation(artefact.spec),
    'size': _bytes(artefact),
    'labels': artefact.label_regime,
    **_accuracies(artefact.results or {}),
    'protocol': _protocol(artefact.protocol),
  }
  listed = ''.join(
    f'<tr><th style="text-align:right">{html.escape(name)}</th>'
    f'<td style="text-align:left">{html.escape(str(text))}</td></tr>'
    for name, text in facts.items()
    if text
  )
  return (
    f'<div><b>{html.escape(_title(artefact))}</b>'
    f'<table>{"".join(rows)}</table><table>{listed}</table></div>'
  )


def _gallery(artefact) -> tuple[np.ndarray, str]:
  """Images `[C, N, H, W, D]` of the first classes, and what they are."""
  if artefact.zca is None and 'images' in artefact.params:
    images, what = artefact.params['images'], 'as stored'
  else:
    images, what = _decoded.by_class(artefact)[0], 'decoded'
  images = images[:_ROWS, :_COLUMNS]
  if artefact.zca is not None:
    images = whitening.invert(artefact.zca, images)
    return np.clip(np.asarray(images), 0, 1), 'decoded, whitening undone'
  return images, what


def _picture(pixels: np.ndarray) -> str:
  """An image element; small images are enlarged by the page, not here."""
  shown = pixels[..., : 3 if pixels.shape[-1] >= 3 else 1]
  data = base64.b64encode(pictures.encode_png(shown, 1, tallest=128)).decode()
  side = min(64, 8 * max(pixels.shape[:2]))
  return (
    f'<img src="data:image/png;base64,{data}" style="display:inline-block;'
    f'height:{side}px;margin:1px;image-rendering:pixelated">'
  )


def _accuracies(results: Mapping[str, Any]) -> dict[str, str]:
  """Of the set, by the method's own test first, and of what it beats."""
  found = {}
  for kind in ('own', 'evaluations'):
    for name in ('condensed', 'initial', 'random'):
      entry = results.get(kind, {}).get(name)
      if entry is not None:
        how = entry.get('how') or entry.get('network', 'network')
        found[f'{name} ({how})'] = accuracy(entry)
  return found


def accuracy(entry: Mapping[str, Any]) -> str:
  """An evaluation's mean and deviation, in percent."""
  mean, std = 100 * entry['last_mean'], 100 * entry['last_std']
  return f'{mean:.1f} ± {std:.1f} %'


def _protocol(protocol: Mapping[str, Any]) -> str:
  return ', '.join(f'{n} {protocol[n]}' for n in _SHOWN if n in protocol)
