"""Condensed sets for others: pictures, Hugging Face Hub, DD-Ranking.

None of it needs PyTorch or a network; nothing is uploaded.
"""

from __future__ import annotations

import json
import os
import pathlib
import re

import numpy as np

from dcjax import _torch_files, files, pictures
from dcjax.artefact import _card, _decoded, _file
from dcjax.artefact._types import Artefact


def export_images(
  folder: str | os.PathLike[str], artefact: Artefact
) -> pathlib.Path:
  """Writes the decoded images as PNG files, with a file of labels.

  `train/INDEX_CLASS/NUMBER.png`, which image folders of PyTorch, of the Hugging
  Face Hub and of dcjax read with the classes in their order, and
  `train/metadata.jsonl` with a line for each: `file_name`, `label` (the class
  index), `class` and, of soft labels, `soft_label`, a list of K probabilities,
  whatever form the artefact stores. Pixels are cut to [0, 1] and rounded to
  eight bits.

  Args:
    folder: to write; new, or empty.
    artefact: of images that are neither whitened nor spectrograms.

  Returns:
    The folder.

  Raises:
    ValueError: the folder holds something, or images are whitened, spectrograms
      or of other than one or three channels.
    OSError: it cannot be written.
  """
  images, labels = _decoded.by_class(artefact)
  _check_pixels(artefact, images)
  labels = _decoded.in_form(artefact, labels, 'probabilities')
  folder = _new_folder(folder)
  pixels = pictures.to_uint8(images)
  lines = []
  for c, name in enumerate(artefact.class_names):
    place = f'{c:04d}_{_slug(name)}'
    (folder / 'train' / place).mkdir(parents=True)
    for i, image in enumerate(pixels[c]):
      file = f'{place}/{i:05d}.png'
      line = {'file_name': file, 'label': c, 'class': name}
      if labels.ndim == 3:
        line['soft_label'] = labels[c, i].tolist()
      (folder / 'train' / file).write_bytes(pictures.encode_png(image, 1))
      lines.append(json.dumps(line) + '\n')
  (folder / 'train' / 'metadata.jsonl').write_text(''.join(lines))
  return folder


def export_hub(
  folder: str | os.PathLike[str], artefact: Artefact
) -> pathlib.Path:
  """Writes a data set folder of the Hugging Face Hub, ready to be pushed.

  What `export_images` writes, the artefact itself as `condensed.npz`, and
  `README.md`, a data card that is made from the artefact: method, source,
  classes, normalisation, formation, labels, protocol, accuracies, bytes.
  `datasets.load_dataset(FOLDER)` reads the pictures.

  Args:
    folder: see `export_images`.
    artefact: see `export_images`; as `load` read it from a run, it has the
      accuracies that stand in the card.

  Returns:
    The folder.

  Raises:
    ValueError: as `export_images`.
    OSError: it cannot be written.
  """
  folder = export_images(folder, artefact)
  _file.save(folder / 'condensed.npz', artefact)
  text = _card.card(artefact)
  (folder / 'README.md').write_text(text, encoding='utf-8')
  return folder


def export_ddranking(
  folder: str | os.PathLike[str], artefact: Artefact
) -> pathlib.Path:
  """Writes the files that DD-Ranking's scores take, without PyTorch.

  `images.pt`, float32 `[M, D, H, W]`, decoded and normalised; `labels.pt`,
  int64 `[M]` or float32 `[M, K]`, probabilities; and `lr.pt`, float32 `[]`,
  where the set or its protocol has one rate. They are loaded by `torch.load`
  and given to `compute_metrics(image_tensor=..., hard_labels=...)`,
  `soft_labels` or `syn_lr`. Its default hard labels suppose as many images a
  class as it was told as ipc: hand over `labels.pt` where images are decoded to
  more.

  Args:
    folder: to write; new, or empty.
    artefact: any. Whitened images stay whitened: turn its `use_zca` on.

  Returns:
    The folder.

  Raises:
    ValueError: the folder holds something.
    OSError: it cannot be written.
  """
  images, labels = artefact.numpy(True, label_form='probabilities')
  folder = _new_folder(folder)
  hard = labels.ndim == 1
  arrays = {
    'images': images.transpose(0, 3, 1, 2),
    'labels': labels.astype(np.int64 if hard else np.float32),
  }
  learned = artefact.step_size
  rate = artefact.protocol.get('learning_rate') if learned is None else learned
  if rate is not None and np.ndim(rate) == 0:
    arrays['lr'] = np.float32(rate)
  for name, array in arrays.items():
    with files.replacing(folder / f'{name}.pt') as stream:
      _torch_files.write_torch(stream, np.asarray(array))
  return folder


def _check_pixels(artefact: Artefact, images: np.ndarray) -> None:
  spectrogram = artefact.provenance.get('spectrogram')
  if artefact.zca is not None or spectrogram:
    raise ValueError(
      f'{"zca" if artefact.zca is not None else "spectrogram"}: images that '
      'are whitened, and spectrograms, have no pixels of eight bits; keep the '
      '.npz, or export for DD-Ranking'
    )
  if images.shape[-1] not in (1, 3):
    raise ValueError(
      f'images have {images.shape[-1]} channels; pictures have 1 or 3'
    )


def _new_folder(folder: str | os.PathLike[str]) -> pathlib.Path:
  files.check_local('folder', folder)
  path = pathlib.Path(folder).expanduser()
  if path.exists() and (not path.is_dir() or any(path.iterdir())):
    raise ValueError(f'folder {path}: must be new or empty')
  path.mkdir(parents=True, exist_ok=True)
  return path


def _slug(name: str) -> str:
  """A class name as part of a file's name."""
  return re.sub(r'[^\w.-]+', '-', name).strip('.-')[:60] or 'class'
