"""The data card of a condensed set, written from the artefact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dcjax import pictures
from dcjax.artefact import _decoded, _display, _storage

if TYPE_CHECKING:
  from dcjax.artefact._types import Artefact

_SIZES = ((10**3, 'n<1K'), (10**4, '1K<n<10K'), (10**5, '10K<n<100K'))
# Labels as they are in the artefact; those beside pictures are probabilities.
_FORMS = {
  'centred': ' (one-hot minus 1 / K; `soft_label`: probabilities)',
  'nonnegative': ' (not normalised; `soft_label`: divided by their sum)',
}
_CARD = """\
---
{header}---

# {title}

{classes} classes with {decoded} training images each, condensed by dcjax
{version} from {dataset}: few synthetic images to train on in place of the
whole set. They are no sample of it, and no guarantee of privacy: they may start
from, and resemble, single training images.

## Content

| | |
| --- | --- |
{content}

`train/` holds the decoded images, cut to [0, 1] and rounded to eight bits
(largest change of a value {change:.2g}; {outside:.1%} of them lay outside),
with `label`, the class index{soft}.
`condensed.npz` holds what was stored, unrounded, and how to decode it; a few
lines of NumPy read it.

## Training on it

```python
from datasets import load_dataset

data = load_dataset('FOLDER', split='train')  # or the name on the Hub
```

Scale pixels to [0, 1], subtract the mean {mean} and divide by the deviation
{std}, per channel; test images get the same. Protocol of the accuracies:

```json
{protocol}
```

## Accuracy

{accuracy}

## Making

```json
{provenance}
```

## Licence

That of {dataset}, from which these images were made: say it here, and in
`license` above.
"""


def card(artefact: Artefact) -> str:
  """Returns the text of a `README.md` in the form of the Hugging Face Hub."""
  made, spec = artefact.provenance, artefact.spec
  images = _decoded.by_class(artefact)[0]
  dataset = made.get('dataset', 'an unknown data set')
  method = made.get('method', 'an unknown method')
  size = _storage.storage(artefact)['total']
  content = {
    'method': method,
    'source': dataset,
    'images per class, stored': made.get('ipc', 'unknown'),
    'images per class, decoded': images.shape[1],
    'size': 'x'.join(map(str, images.shape[2:])),
    'formation': json.dumps(dict(spec)),
    'labels': artefact.label_regime + _FORMS.get(spec.get('labels'), ''),
    'bytes of condensed.npz': size['disk_bytes'],
    'seed': made.get('seed', 'unknown'),
  }
  change = np.abs(images - pictures.to_uint8(images) / np.float32(255)).max()
  outside = np.mean((images < 0) | (images > 1))
  return _CARD.format(
    header=_header(artefact, images, method, dataset),
    title=f'{dataset}, condensed by {method}',
    classes=len(artefact.class_names),
    decoded=images.shape[1],
    version=made.get('versions', {}).get('dcjax', '(unknown version)'),
    dataset=dataset,
    content='\n'.join(f'| {n} | {v} |' for n, v in content.items()),
    change=change,
    outside=outside,
    soft=''
    if artefact.labels is None
    else ', and `soft_label`, K probabilities',
    mean=list(artefact.mean),
    std=list(artefact.std),
    protocol=json.dumps(dict(artefact.protocol), indent=1),
    accuracy=_accuracy(artefact.results or {}),
    provenance=json.dumps(dict(made), indent=1),
  )


def _header(artefact, images, method, dataset) -> str:
  """The YAML block; JSON texts are YAML, too."""
  count = images.shape[0] * images.shape[1]
  size = next((name for most, name in _SIZES if count < most), '100K<n<1M')
  names = ''.join(
    f"          '{i}': {json.dumps(name)}\n"
    for i, name in enumerate(artefact.class_names)
  )
  soft = ''
  if artefact.labels is not None:
    soft = '  - name: soft_label\n    sequence: float32\n'
  return (
    f'pretty_name: {json.dumps(f"{dataset}, condensed by {method}")}\n'
    'license: other\n'
    'task_categories:\n- image-classification\n'
    'tags:\n- dataset-distillation\n- dataset-condensation\n- dcjax\n- image\n'
    f'size_categories:\n- {size}\n'
    'configs:\n- config_name: default\n  data_files:\n'
    '  - split: train\n    path: train/**\n'
    'dataset_info:\n  features:\n  - name: image\n    dtype: image\n'
    '  - name: label\n    dtype:\n      class_label:\n        names:\n'
    f'{names}{soft}'
  )


def _accuracy(results: Mapping[str, Any]) -> str:
  """A table of what the run measured."""
  rows = [
    f'| {name} | {entry.get("how") or entry.get("network", "")} | '
    f'{entry.get("images", "")} | {_display.accuracy(entry)} |'
    for kind in ('own', 'evaluations')
    for name, entry in results.get(kind, {}).items()
  ]
  if not rows:
    return 'Not measured where this card was written.'
  head = '| trained on | learner | images | test accuracy |'
  return '\n'.join([head, '| --- | --- | --- | --- |', *rows])
