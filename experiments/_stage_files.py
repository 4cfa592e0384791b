"""What the stages of a run leave behind, and whose settings it has."""

import hashlib
import json
import pathlib
import time
import zipfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pretrain
from progress import duration, say
from workdir import Workdir

from dcjax import sharding

_RECORD = 'stages.json'


def digest(*settings: Any) -> str:
  """Tells settings apart: JSON-able values, in order."""
  text = json.dumps(settings, sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()


def digest_arrays(tree: Any) -> str:
  """Tells pytrees of arrays apart."""
  total = hashlib.sha256()
  for array in map(np.ascontiguousarray, jax.tree.leaves(tree)):
    total.update(f'{array.dtype}{array.shape}'.encode())
    total.update(array.data)
  return total.hexdigest()


class Stages:
  """Which stages of a run are finished, with what settings, in what time."""

  def __init__(self, folder: Workdir):
    """Reads the record of a run's folder."""
    self._folder = folder

  @property
  def seconds(self) -> dict[str, float]:
    """Seconds of each finished stage."""
    return {name: e['seconds'] for name, e in self._entries().items()}

  def _entries(self):
    value = self._folder.read_json(_RECORD)
    if value is None:
      return {}
    good = isinstance(value, dict) and all(
      isinstance(e, dict) and {'settings', 'seconds'} <= e.keys()
      for e in value.values()
    )
    if not good:
      raise ValueError(
        f'{self._folder.path / _RECORD}: is damaged (it holds no stages); '
        'remove it to make them again'
      )
    return value

  def path(self, file: str) -> pathlib.Path:
    """Where a stage keeps its file."""
    return self._folder.path / file

  def is_done(self, name: str, settings: str, file: str) -> bool:
    """Whether a stage is finished.

    Args:
      name: of the stage.
      settings: see `digest`.
      file: that it leaves.

    Raises:
      ValueError: if it was finished with other settings.
    """
    entry = self._entries().get(name)
    there = entry is not None and self.path(file).exists()
    sharding.barrier(f'looked for {name}')  # Now the first one may write it.
    if entry is None or not there:
      return False
    if entry['settings'] != settings:
      raise ValueError(
        f'{self.path(file)}: was made with other observers, data or settings; '
        'use another --workdir, or delete the file to make it again'
      )
    return True

  def finish(
    self, name: str, settings: str, seconds: float, note: str = ''
  ) -> None:
    """Records a stage whose file is written, and says so."""
    entry = {'settings': settings, 'seconds': round(seconds, 3)}
    self._folder.write_json(_RECORD, {**self._entries(), name: entry})
    more = f' ({note})' if note else ''
    say(f'{name}: done in {duration(seconds)}{more}')

  def tree(
    self, name: str, settings: str, like: Any, make: Callable[[], Any]
  ) -> Any:
    """Returns the arrays of a stage: made once, then read from its file.

    Args:
      name: of the stage; `NAME.npz` is its file.
      settings: see `digest`.
      like: a pytree with the structure of the arrays.
      make: `() -> pytree`.

    Raises:
      ValueError: if the file is damaged, or of other settings.
    """
    file = f'{name}.npz'
    if self.is_done(name, settings, file):
      return load_tree(self.path(file), like)
    began = time.monotonic()
    made = jax.device_get(make())
    if sharding.is_main():
      pretrain.save(self.path(file), made)
    self.finish(name, settings, time.monotonic() - began)
    return made


def load_tree(path: pathlib.Path, like: Any) -> Any:
  """Reads a pytree that `pretrain.save` wrote.

  Args:
    path: of the file.
    like: a pytree of the same structure; its leaves do not matter.

  Raises:
    ValueError: if the file is damaged.
  """
  names, _ = pretrain.named_leaves(like)
  try:
    with np.load(path, allow_pickle=False) as file:
      leaves = [file[name] for name in names]
  except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(
      f'{path}: is damaged ({error}); delete it to make it again'
    ) from error
  return jax.tree.unflatten(jax.tree.structure(like), leaves)
