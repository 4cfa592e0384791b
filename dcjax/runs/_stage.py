"""A run is a list of named stages: inputs, settings, an output, a key.

The key of a stage follows from its name, its settings and the keys of its
inputs, so that a stage is found again wherever the same one was made: in the
run's folder, or, if it may be shared, in a store beside it. Caches of functions
such as joblib's Memory key by code and pickle what they keep; here a file is
read by anyone, nothing is unpickled, and one of several processes writes it.
"""

import functools
import hashlib
import json
import pathlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from dcjax import artefact, records, sharding, trees
from dcjax.runs._folder import STAGES, Folder
from dcjax.runs._outlook import Outlook
from dcjax.runs._progress import duration, say
from dcjax.runs._writers import SILENT, Writer

# Raised when makers change what they make of the same settings.
_VERSION = 1
# Stages whose output is looked at.
_SEEN = ('start', 'artefact', 'evaluate/')


class Kind(NamedTuple):
  """How the output of a stage is kept.

  Attributes:
    file: name of its file, `{}` standing for the stage; '' keeps it in the
      record of stages, None nowhere: it is made again when it is needed.
    write: `(path, output, note) -> None`.
    read: `path -> output`.
  """

  file: str | None
  write: Callable[[pathlib.Path, Any, dict], None] | None = None
  read: Callable[[pathlib.Path], Any] | None = None


def tree(like: Callable[[], Any] | None = None) -> Kind:
  """Keeps a pytree of arrays; `like` returns one of the same structure."""
  return Kind(
    'stages/{}.npz',
    lambda path, value, note: trees.save(path, jax.device_get(value), note),
    lambda path: _arranged(path, like),
  )


def _arranged(path, like):
  """The arrays of a file in the structure that was asked for."""
  if like is None:
    return trees.load(path)
  wanted = like()
  names = list(trees.named(wanted))
  found = trees.load(path)
  if set(found) != set(names):
    raise ValueError(
      f'{path}: holds {sorted(found)[:3]} ..., not {sorted(names)[:3]} ...; '
      'delete it to make it again'
    )
  structure = jax.tree.structure(wanted)
  return jax.tree.unflatten(structure, [found[name] for name in names])


RECORD = Kind('')  # a dict of JSON values
MEMORY = Kind(None)
ARTEFACT = Kind(
  'condensed.npz',
  lambda path, value, note: artefact.save(path, value),
  artefact.load,
)


class Stage(NamedTuple):
  """A part of a run.

  Attributes:
    name: such as `'start'` or `'evaluate/random'`.
    make: called with the outputs of `inputs`, in their order.
    inputs: names of earlier stages.
    settings: JSON-able; with the inputs' keys they decide the output.
    kind: how the output is kept.
    work: operations that it is expected to take; 0: not worth counting.
    shared: whether other runs may find it in a store.
    sole: whether another output under the same name means that the folder
      belongs to other data.
  """

  name: str
  make: Callable[..., Any]
  inputs: tuple[str, ...] = ()
  settings: Mapping[str, Any] = {}
  kind: Kind = RECORD
  work: float = 0.0
  shared: bool = False
  sole: bool = False


class Work(NamedTuple):
  """What a run works with.

  Attributes:
    folder: of the run, owned by it.
    stop: whether the run was asked to stop.
    outlook: what is left, and how long it takes.
    store: folder that runs share, or None.
    profile: whether to trace the second iteration of every loop.
    tell: called when there is something new to look at, see `_results.teller`.
    writer: of TensorBoard and wandb.
  """

  folder: Folder
  stop: Any
  outlook: Outlook
  store: pathlib.Path | None = None
  profile: bool = False
  tell: Callable[..., None] = lambda **news: None
  writer: Writer = SILENT


class Made(NamedTuple):
  """Finished stages.

  Attributes:
    keys: stage -> its key.
    outputs: stage -> what reads its output.
    seconds: stage -> seconds that it took when it was made.
  """

  keys: dict[str, str]
  outputs: dict[str, Callable[[], Any]]
  seconds: dict[str, float]

  def __call__(self, name: str) -> Any:
    """The output of a stage."""
    return self.outputs[name]()


def key_of(stage: Stage, inputs: Sequence[str]) -> str:
  """The key of a stage: what decides its output, as a digest.

  Args:
    stage: the stage.
    inputs: keys of its inputs.
  """
  said = [_VERSION, stage.name, stage.settings, list(inputs)]
  text = json.dumps(said, sort_keys=True, default=_plain)
  return hashlib.sha256(text.encode()).hexdigest()


def _plain(value):
  if hasattr(value, 'tolist'):
    return value.tolist()
  raise TypeError(f'settings of a stage hold {value!r}')


def run(stages: Sequence[Stage], work: Work, made: Made | None = None) -> Made:
  """Makes what is not there yet, stage after stage.

  Args:
    stages: in order; inputs come before what they are for.
    work: of the run.
    made: stages that are finished already.

  Returns:
    All stages, with outputs that are read when they are asked for.

  Raises:
    ValueError: if a file is damaged, or the folder belongs to other data.
    Interrupted: if a stop was asked for; finished stages are kept.
  """
  made = made or Made({}, {}, {})
  for stage in stages:
    key = key_of(stage, [made.keys[name] for name in stage.inputs])
    made.keys[stage.name] = key
    entry = _found(stage, key, work)
    new = entry is None and stage.kind.file is not None
    if new:
      entry = _make(stage, key, work, made)
    else:
      work.outlook.finish(stage.name)
    made.seconds[stage.name] = (entry or {}).get('seconds', 0.0)
    made.outputs[stage.name] = _output(stage, key, work, made, entry)
    if new and stage.name.startswith(_SEEN):
      work.tell()
  return made


def keys_of(stages: Sequence[Stage]) -> dict[str, str]:
  """Stage -> its key, without making anything."""
  keys: dict[str, str] = {}
  for stage in stages:
    keys[stage.name] = key_of(stage, [keys[name] for name in stage.inputs])
  return keys


def needed(stages: Sequence[Stage], names: Iterable[str]) -> list[Stage]:
  """The stages of these names and all that they are made from, in order."""
  wanted = set(names)
  for stage in reversed(stages):
    if stage.name in wanted:
      wanted |= set(stage.inputs)
  return [stage for stage in stages if stage.name in wanted]


def missing(stages: Sequence[Stage], work: Work) -> list[Stage]:
  """Stages that `run` would make."""
  keys = keys_of(stages)
  return [
    stage
    for stage in stages
    if stage.kind.file is not None
    and _found(stage, keys[stage.name], work) is None
  ]


def _make(stage, key, work, made):
  began = time.monotonic()
  inputs = [made.outputs[name]() for name in stage.inputs]
  value = stage.make(*inputs)
  seconds = round(time.monotonic() - began, 3)
  entry = {'key': key, 'seconds': seconds}
  if isinstance(value, dict) and 'last_mean' in value:
    accuracy = {f'accuracy/{stage.name}': value['last_mean']}
    work.writer.scalars(value.get('outer'), accuracy)
  note = {'stage': stage.name, **entry}
  if stage.kind.file == '':
    entry |= {'value': value, 'sha256': _seal(key, value)}
  elif sharding.is_main():
    path = _path(stage, key, work)
    path.parent.mkdir(parents=True, exist_ok=True)
    stage.kind.write(path, value, note)
  stages = _kept(stage, work.folder.read(STAGES) or {})
  work.folder.write(STAGES, {**stages, _entry_name(stage, key): entry})
  if seconds >= 1 and stage.kind.file:
    say(f'{stage.name}: done in {duration(seconds)}')
  work.outlook.finish(stage.name)
  work.stop.check(f'after {stage.name}')
  return entry


def _kept(stage, stages):
  """Without those whose file was just replaced."""
  if not stage.kind.file or '{}' in stage.kind.file or stage.shared:
    return stages
  return {
    name: entry
    for name, entry in stages.items()
    if name.rpartition(' ')[0] != stage.name
  }


def _entry_name(stage, key):
  """Evaluations under other settings stand beside one another."""
  return stage.name if stage.sole else f'{stage.name} {key[:8]}'


def _found(stage, key, work):
  """The entry of a finished stage, or None; all processes agree."""
  if stage.kind.file is None:
    return None
  entry = (work.folder.read(STAGES) or {}).get(_entry_name(stage, key))
  if entry is not None and not _is_whole(stage, entry):
    raise ValueError(
      f'{work.folder.path / STAGES}: is damaged (entry {stage.name!r}); remove '
      'the entry to make the stage again'
    )
  if entry is not None and entry['key'] != key:
    raise ValueError(
      f'workdir {work.folder.path}: {stage.name!r} was made from other data or '
      'earlier stages; use another --workdir'
    )
  there = stage.kind.file == '' or _path(stage, key, work).is_file()
  if stage.shared and entry is None and there:
    # Another run left it in the store.
    entry = {'key': key, **trees.note(_path(stage, key, work))}
  found = entry is not None and there
  sharding.barrier(f'looked for {stage.name}')  # Now the first one may write.
  return entry if found else None


def _is_whole(stage, entry):
  """Whether an entry is as it was written; earlier ones have no SHA-256."""
  if not isinstance(entry, dict) or not isinstance(entry.get('key'), str):
    return False
  if not isinstance(entry.get('seconds', 0), int | float):
    return False
  if stage.kind.file != '':
    return True
  value = entry.get('value')
  seal = _seal(entry['key'], value)
  return isinstance(value, dict) and entry.get('sha256', seal) == seal


def _seal(key, value):
  text = records.encode([key, value], STAGES)
  return hashlib.sha256(text.encode()).hexdigest()


def _path(stage, key, work):
  name = re.sub(r'[^\w.]+', '-', stage.name)
  if stage.shared and work.store is not None:
    return work.store / f'{name[:80]}-{key[:16]}.npz'
  short = '' if stage.sole else f'-{key[:8]}'
  return work.folder.path / stage.kind.file.format(f'{name[:80]}{short}')


def _output(stage, key, work, made, entry):
  if stage.kind.file is None:
    inputs = [made.outputs[name] for name in stage.inputs]
    return functools.cache(lambda: stage.make(*(read() for read in inputs)))
  if stage.kind.file == '':
    return lambda: entry['value']
  path = _path(stage, key, work)
  return functools.cache(lambda: stage.kind.read(path))
