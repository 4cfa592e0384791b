"""The artefact's file: a plain `.npz` with arrays and one JSON text."""

import hashlib
import json
import os
import pathlib
import re
import zipfile
from typing import Any, BinaryIO

import numpy as np

from dcjax import _npz, files, records
from dcjax.artefact import _checks, _decoded, _recipe
from dcjax.artefact._errors import ArtefactError
from dcjax.artefact._types import Artefact
from dcjax.whitening import Zca

FORMAT = 'dcjax-condensed'
VERSION = 1
RESULTS = 'results.json'  # of the run that a file lies in

_ACCURACY = ('last_mean', 'last_std')
_DIGEST = 'decoded_sha256'
_FIELDS = (
  'spec',
  'mean',
  'std',
  'class_names',
  'value_range',
  'label_regime',
  'protocol',
  'provenance',
)


def save(path: str | os.PathLike[str], artefact: Artefact) -> None:
  """Writes an artefact as an `.npz` that NumPy alone opens.

  Entries: 'params/images' and the other parameters under their flat names,
  'labels' if there are any, 'zca/mean', 'zca/vectors' and 'zca/values' if the
  images are whitened, and 'meta', JSON text as uint8 bytes. The file
  appears whole or not at all, and equal artefacts give equal bytes. A codebook
  is decoded, and the digest of its images stored, see
  `Artefact.decoded_sha256`.

  Args:
    path: file to write, by convention `condensed.npz`; an earlier one is
      replaced.
    artefact: what to write.

  Raises:
    OSError: the file cannot be written, for example because the disk is full.
      The message names `path`; an earlier file there is left untouched.
  """
  with files.replacing(path) as stream:
    write(stream, artefact)


def load(path: str | os.PathLike[str], max_bytes: int = 16 * 2**30) -> Artefact:
  """Reads an artefact and checks everything about it.

  No pickled object is ever read, and no memory is taken before the sizes that
  the file declares were checked against the bytes that it has.

  Args:
    path: file written by `save`.
    max_bytes: largest file that is read.

  Raises:
    FileNotFoundError: there is no such file.
    ArtefactError: the file is damaged, larger than `max_bytes`, of another
      format or version, or not a valid artefact. The message names the file
      and the reason.
  """
  with files.opened(path) as stream:
    try:
      made = _read(stream, max_bytes)
      object.__setattr__(made, 'results', _results(path, stream))
      return made
    # Damaged files fail in zipfile, NumPy and json in many ways; callers get
    # one.
    except Exception as error:
      reason = files.one_line(error)
      raise ArtefactError(
        f'{os.fspath(path)} is not a valid artefact: {reason}'
      ) from error


def _results(path, stream) -> dict[str, Any] | None:
  """Accuracies that a run recorded of this very file, or None."""
  beside = pathlib.Path(path).with_name(RESULTS)
  if not beside.is_file():
    return None
  try:
    found = records.read(beside)
    stream.seek(0)
    digest = hashlib.file_digest(stream, 'sha256').hexdigest()
    if found.get('sha256') != digest:
      return None
    return {
      kind: {
        name: {**entry, **{n: float(entry[n]) for n in _ACCURACY}}
        for name, entry in found.get(kind, {}).items()
      }
      for kind in ('own', 'evaluations')
    }
  # They are told beside the set, and never decide about it.
  except (ValueError, OSError, AttributeError, KeyError, TypeError):
    return None


def write(stream: BinaryIO, artefact: Artefact) -> None:
  """Writes the bytes of an artefact's file."""
  arrays = _checks.flatten('params', artefact.params)
  if artefact.labels is not None:
    arrays['labels'] = artefact.labels
  if artefact.zca is not None:
    fitted = {k: v for k, v in artefact.zca._asdict().items() if v is not None}
    arrays |= _checks.flatten('zca', fitted)
  text = json.dumps(_meta(artefact, arrays), indent=1, sort_keys=True)
  meta = np.frombuffer(text.encode(), np.uint8)
  # np.savez dates every entry 1980: equal content, equal bytes.
  np.savez(stream, meta=meta, **{name: arrays[name] for name in sorted(arrays)})


def _meta(artefact: Artefact, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
  declared = {
    name: {'dtype': array.dtype.str, 'shape': list(array.shape)}
    for name, array in arrays.items()
  }
  fields = {name: getattr(artefact, name) for name in _FIELDS}
  digest = _decoded.generated_sha256(artefact)
  return {
    'format': FORMAT,
    'version': VERSION,
    'arrays': declared,
    **fields,
    **({} if digest is None else {_DIGEST: digest}),
    **_recipe.how_to_decode(artefact),
  }


def _read(stream: BinaryIO, max_bytes: int) -> Artefact:
  size = stream.seek(0, os.SEEK_END)
  if size > max_bytes:
    raise ValueError(f'it has {size} bytes, the limit is {max_bytes}.')
  with zipfile.ZipFile(stream) as archive:
    entries = _npz.entries(archive, size)
    if 'meta' not in entries:
      raise ValueError("entry 'meta' is missing.")
    meta = _read_meta(_npz.read_array(archive, entries.pop('meta')))
    declared = meta['arrays']
    _check_entries(set(entries), set(declared))
    arrays = {
      name: _npz.read_array(archive, entries[name], declared[name])
      for name in sorted(entries)
    }
  labels = arrays.pop('labels', None)
  tree = _checks.unflatten(arrays)
  zca = _whitening(tree.pop('zca', None))
  if set(tree) != {'params'}:
    raise ValueError(
      f'only labels, meta, params/... and zca/... may be in it: {sorted(tree)}'
    )
  fields = {name: meta[name] for name in _FIELDS}
  made = Artefact(params=tree['params'], labels=labels, zca=zca, **fields)
  object.__setattr__(made, _DIGEST, meta.get(_DIGEST))
  return made


def _whitening(arrays: Any) -> Zca | None:
  if arrays is None:
    return None
  needed = {'mean', 'vectors', 'values'}
  if not isinstance(arrays, dict) or set(arrays) - {'channels'} != needed:
    raise ValueError(f'the entries zca/... must be {", ".join(Zca._fields)}.')
  return Zca(**arrays)


def _read_meta(array: np.ndarray) -> dict[str, Any]:
  if array.dtype != np.uint8 or array.ndim != 1:
    raise ValueError("entry 'meta' must be JSON text as uint8 [bytes].")
  meta = json.loads(array.tobytes().decode(), parse_constant=_refuse_constant)
  if not isinstance(meta, dict) or meta.get('format') != FORMAT:
    raise ValueError(f"its meta does not say 'format': '{FORMAT}'.")
  if meta.get('version') != VERSION:
    raise ValueError(
      f'it has format version {meta.get("version")!r}, this release of dcjax'
      f' reads {VERSION}.'
    )
  missing = sorted({'arrays', *_FIELDS} - set(meta))
  if missing:
    raise ValueError(f'its meta lacks {", ".join(missing)}.')
  digest = meta.get(_DIGEST)
  if digest is not None and not re.fullmatch('[0-9a-f]{64}', str(digest)):
    raise ValueError(f'{_DIGEST} in its meta must be 64 hexadecimal digits.')
  if not isinstance(meta['arrays'], dict):
    raise ValueError("'arrays' in its meta must be a dict.")
  return meta


def _check_entries(found: set[str], declared: set[str]):
  missing, extra = sorted(declared - found), sorted(found - declared)
  if missing or extra:
    raise ValueError(f'missing entries: {missing}, extra entries: {extra}.')


def _refuse_constant(text: str):
  raise ValueError(f'its meta holds {text}, which is not JSON.')
