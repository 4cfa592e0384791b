"""Observers of a run: trained on the real images once, imported, found again.

A trained network lies in a file of its own, named by its settings, beside a
note with its test accuracy. Runs that share a folder share their observers.
"""

import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import pretrain
import statistics_parts
from _stage_files import digest
from observer_training import accuracy, train
from outlook import Outlook
from progress import say

from dcjax import (
  networks,
  statistics,
)
from dcjax.base import Network, Variables
from dcjax.data import Dataset

ROLES = ('matching', 'labelling')


class Plan(NamedTuple):
  """An observer that a config asks for.

  Attributes:
    word: as the config has it, without a file.
    spec: what `networks.build` takes.
    network: the network.
    epochs: of its training.
    number: from 0, among those of the same word and epochs.
    file: state dict that it is imported from; '' if it is trained.
  """

  word: str
  spec: dict[str, Any]
  network: Network
  epochs: int
  number: int
  file: str


class Observer(NamedTuple):
  """A network trained on real images, frozen.

  Attributes:
    plan: what was asked for.
    variables: its numbers.
    identity: tells it from any other.
    accuracy: on the test images, a fraction.
    seconds: that its training took, whenever that was.
  """

  plan: Plan
  variables: Variables
  identity: str
  accuracy: float
  seconds: float


Observers = dict[str, tuple[Observer, ...]]  # by role


def plans(config: Any, dataset: Dataset) -> dict[str, tuple[Plan, ...]]:
  """Builds the networks of both lists of a config.

  Args:
    config: the settings.
    dataset: what they must fit.

  Raises:
    ValueError: naming the field and the network that is unknown, or does not
      fit the data.
  """
  section = config.observers
  epochs = {'matching': section.epochs, 'labelling': section.labelling_epochs}
  return {
    role: tuple(_plans(role, section[role], epochs[role], dataset))
    for role in ROLES
  }


def _plans(role, words, epochs, dataset):
  seen: dict[str, int] = {}
  for whole in words:
    word, _, file = whole.partition('@')
    network, spec = statistics_parts.build_word(
      f'observers.{role}', word, dataset
    )
    yield Plan(word, spec, network, epochs, seen.get(word, 0), file)
    seen[word] = seen.get(word, 0) + 1


def obtain(
  parts: statistics_parts.Parts,
  wanted: dict[str, tuple[Plan, ...]],
  workdir: pathlib.Path,
  stop: Any,
  outlook: Outlook | None = None,
) -> Observers:
  """Finds, imports or trains the observers of a run.

  Args:
    parts: of the run.
    wanted: see `plans`.
    workdir: the run's folder, where they are kept unless the config names
      another one.
    stop: whether the program was asked to stop.
    outlook: hears how long the training takes.

  Raises:
    ValueError: if a state dict or a stored observer does not fit.
    FileNotFoundError: if there is no such state dict.
    Interrupted: if a stop was asked for; finished epochs are kept.
  """
  folder = kept_in(parts, workdir)
  identities = _identities(parts, wanted)
  absent = _absent(wanted, identities, folder)
  if absent:
    say(f'observers: training {len(absent)}, kept in {folder}')
  for group in _alike(absent):
    own = {file_of(folder, p, identities[_key(p)]): p for p in group}
    settings = digest([identities[_key(p)] for p in group])
    unfinished = folder / f'{settings[:16]}.unfinished'
    train(parts, own, settings, unfinished, stop, outlook or Outlook({}))
  found = {
    _key(p): _read(parts, p, identities[_key(p)], folder) for p in _all(wanted)
  }
  return {role: tuple(found[_key(p)] for p in wanted[role]) for role in ROLES}


def missing(
  parts: statistics_parts.Parts,
  wanted: dict[str, tuple[Plan, ...]],
  workdir: pathlib.Path,
) -> list[Plan]:
  """Observers that `obtain` would train.

  Args:
    parts: of the run.
    wanted: see `plans`.
    workdir: see `obtain`.

  Raises:
    FileNotFoundError: if a state dict is not there.
  """
  folder = kept_in(parts, workdir)
  return _absent(wanted, _identities(parts, wanted), folder)


def kept_in(
  parts: statistics_parts.Parts, workdir: pathlib.Path
) -> pathlib.Path:
  """The folder of the observers: the run's own, unless the config names one."""
  folder = parts.config.observers.dir or workdir / 'observers'
  return pathlib.Path(folder).expanduser()


def _all(wanted):
  return [plan for role in ROLES for plan in wanted[role]]


def _identities(parts, wanted):
  data = data_identity(parts.dataset)
  return {_key(p): _identity(parts, p, data) for p in _all(wanted)}


def _absent(wanted, identities, folder):
  trained = {_key(p): p for p in _all(wanted) if not p.file}
  return [
    p
    for k, p in trained.items()
    if not file_of(folder, p, identities[k]).exists()
  ]


def _key(plan):
  return (plan.word, plan.epochs, plan.number, plan.file)


def _alike(wanted: Sequence[Plan]) -> list[list[Plan]]:
  """Networks of one shape and training, which are trained at once."""
  groups: dict[tuple[str, int], list[Plan]] = {}
  for plan in wanted:
    groups.setdefault((plan.word, plan.epochs), []).append(plan)
  return list(groups.values())


def data_identity(dataset: Dataset) -> str:
  """Tells data sets apart: by labels, and by some of the images."""
  total = hashlib.sha256()
  some = np.linspace(0, len(dataset.images) - 1, 256).astype(int)
  for array in (dataset.labels, dataset.images[np.unique(some)]):
    total.update(f'{array.dtype}{array.shape}'.encode())
    total.update(np.ascontiguousarray(array).data)
  return f'{dataset.name} {total.hexdigest()}'


def _identity(parts, plan, data):
  if plan.file:
    path = pathlib.Path(plan.file).expanduser()
    if not path.is_file():
      raise FileNotFoundError(
        f'observers: {plan.word!r} is to come from {path}, which is no file'
      )
    with path.open('rb') as stream:
      content = hashlib.file_digest(stream, 'sha256').hexdigest()
    return digest(plan.spec, content)
  kept = ('matching', 'labelling', 'dir', 'epochs', 'labelling_epochs')
  training = {n: v for n, v in parts.config.observers.items() if n not in kept}
  return digest(
    data, plan.spec, plan.epochs, plan.number, training, parts.flips
  )


def file_of(folder: pathlib.Path, plan: Plan, identity: str) -> pathlib.Path:
  """Where an observer is kept, or what is known of it begins."""
  return folder / f'{plan.network.name}-{identity[:16]}.npz'


def _read(parts, plan, identity, folder):
  """The observer from its file."""
  dataset = parts.dataset
  if plan.file:
    variables = networks.load_torch(
      pathlib.Path(plan.file).expanduser(),
      plan.spec,
      dataset.image_shape,
      dataset.num_classes,
    )
    note = {}
  else:
    path = file_of(folder, plan, identity)
    pool = pretrain.load(path, plan.network, 'observers')
    variables = jax.tree.map(lambda leaf: leaf[0], pool)
    note = _note(path)
  statistics.check_observer(
    plan.network, variables, dataset.image_shape, dataset.num_classes
  )
  known = note.get('accuracy')
  if known is None:
    known = accuracy(parts, plan.network, variables)
  return Observer(plan, variables, identity, known, note.get('seconds', 0.0))


def _note(path):
  """What is written beside an observer; it can be made again."""
  try:
    note = json.loads(path.with_suffix('.json').read_text(encoding='utf-8'))
  except (OSError, ValueError):
    return {}
  return note if isinstance(note, dict) else {}


def summary(found: Observers) -> list[dict[str, Any]]:
  """What `results.json` says of every observer."""
  together: dict[str, dict[str, Any]] = {}
  for role in ROLES:
    for o in found[role]:
      numbers = [int(leaf.size) for leaf in jax.tree.leaves(o.variables.params)]
      entry = {
        'network': o.plan.word,
        'roles': [],
        'accuracy': o.accuracy,
        'parameters': sum(numbers),
        'epochs': None if o.plan.file else o.plan.epochs,
        'imported': bool(o.plan.file),
        'seconds': o.seconds,
      }
      together.setdefault(o.identity, entry)['roles'].append(role)
  return list(together.values())
