"""What is told of a finished run: results, pictures, the report."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from dcjax import artefact, files
from dcjax.runs import (
  _artefact,
  _commands,
  _condense,
  _showing,
  _variants,
  report,
)
from dcjax.runs._build import Built
from dcjax.runs._folder import STAGES, Folder
from dcjax.runs._observers import Observer
from dcjax.runs._pipelines import Pipeline
from dcjax.runs._progress import say
from dcjax.runs._stage import Made, Work
from dcjax.runs._writers import SILENT


def summarise(
  built: Built,
  folder: Folder,
  made: Made,
  entries: Mapping[str, Any],
  observers: Sequence[Observer] = (),
) -> dict[str, Any]:
  """Collects `results.json`, or what there is of it before the end.

  Args:
    built: the objects of the run.
    folder: of the run.
    made: stages so far.
    entries: name -> record of an evaluation.
    observers: networks that looked at the images or labelled them.
  """
  config = built.config
  entries = {name: dict(entry) for name, entry in entries.items()}
  seconds = _seconds(folder, made, entries)
  return {
    'method': config.get('method', {}).get('name', 'given'),
    'dataset': built.dataset.name,
    'ipc': config.ipc,
    'headline': 'condensed',
    'evaluations': entries,
    'data': facts(built),
    'observers': _observers(made, observers),
    'seconds': seconds,
    'environment': _artefact.environment(),
    'checkpoints': _curve(folder, entries, config, seconds['condense']),
    'config_file': _commands.config_file(folder.command),
    'command': _commands.repeatable(folder.command),
    'project': config.get('project', 'end'),
    **({'fair': made('fair')} if 'fair' in made.outputs else {}),
    **_own(made),
    **_digest(folder, made),
    **_of_the_set(built, made, entries),
  }


def _digest(folder, made):
  """Of the very file that the accuracies are of."""
  if 'artefact' not in made.outputs:
    return {}
  with files.opened(folder.path / 'condensed.npz') as stream:
    return {'sha256': hashlib.file_digest(stream, 'sha256').hexdigest()}


def facts(built: Built) -> dict[str, Any]:
  """What the report says of the data."""
  dataset = built.dataset
  images = int(built.real.counts.sum())
  numbers = images * int(np.prod(dataset.image_shape))
  return {
    'classes': list(dataset.class_names),
    'images': images,
    'fewest': int(built.dataset.counts.min()),
    'tests': len(dataset.test_labels),
    'numbers': numbers,
    'bytes': numbers * dataset.images.dtype.itemsize,
  }


def evaluated(made: Made) -> dict[str, Any]:
  """The evaluations that are done, but for those along the way."""
  names = [name.partition('/') for name in made.outputs]
  return {
    name: made(f'evaluate/{name}')
    for kind, _, name in names
    if kind == 'evaluate' and not name.startswith('outer_')
  }


def _of_the_set(built, made, entries):
  """What the condensed set itself tells, once it is there."""
  if 'artefact' not in made.outputs:
    return {'formation': dict(built.formation.spec)}
  condensed = made('artefact')
  stored = artefact.storage(condensed)
  for name, entry in entries.items():
    if name.startswith(('condensed', 'fresh')):
      entry['bytes'] = stored['total']['float32_bytes']
  labels = made('labels') if 'labels' in made.outputs else None
  said = {}
  if 'method' not in built.config:
    said['method'] = condensed.provenance.get('method', 'given')
  return {
    'formation': dict(condensed.spec),
    'storage': stored,
    'bytes': _bytes(stored, labels, entries),
    'label_regime': condensed.label_regime,
    **said,
    **report.bytes_of(condensed, built.config.ipc),
  }


def _bytes(stored, labels, entries):
  """Of all that a network is trained on; a codebook counts as its images."""
  beside = ('labels', 'preprocessing', 'total')
  images = [s['float32_bytes'] for n, s in stored.items() if n not in beside]
  kept = None if labels is None else labels.stored
  return {
    'images': sum(images),
    'labels': stored['labels']['float32_bytes']
    if kept is None
    else labels.nbytes,
    'teachers': entries.get('condensed', {}).get('teacher_bytes', 0),
  }


def _own(made):
  """Tests of the method's own, see `_own_test`."""
  names = [name for name in made.outputs if name.startswith('own/')]
  found = {name.partition('/')[2]: made(name) for name in names}
  return {'own': found} if found else {}


def _seconds(folder, made, entries):
  found = {
    name: round(seconds, 3)
    for name, seconds in made.seconds.items()
    if seconds and not name.startswith(('evaluate/', 'set/', 'data'))
  }
  found['condense'] = round(_condense.seconds_of(folder.metrics()), 3)
  evaluating = sum(entry['seconds'] for entry in entries.values())
  return {**found, 'evaluate': round(evaluating, 3)}


def _observers(made, observers):
  found = []
  for observer in observers:
    output = made(observer.stage)
    leaves = jax.tree.leaves(output['variables'].params)
    found.append(
      {
        'network': observer.word,
        'roles': list(observer.roles),
        'accuracy': float(output['accuracy']),
        'parameters': sum(int(leaf.size) for leaf in leaves),
        'epochs': observer.epochs or None,
        'imported': bool(observer.file),
        'seconds': made.seconds[observer.stage],
      }
    )
  return found


def _curve(folder, entries, config, seconds):
  """Accuracy over the condensation, from its start to its end."""
  points = [
    _point(entry['value'], entry['value']['outer'], entry['value']['at'])
    for name, entry in (folder.read(STAGES) or {}).items()
    if name.startswith('evaluate/outer_')
  ]
  if not points and 'outer' not in config:
    return []
  for name, outer, at in (
    ('initial', 0, 0.0),
    ('condensed', config.get('outer', 0), seconds),
  ):
    if name in entries:
      points.append(_point(entries[name], outer, at))
  return sorted(points, key=lambda point: point['outer'])


def _point(entry, outer, at):
  return {
    'outer': outer,
    'seconds': at,
    'accuracy_mean': entry['last_mean'],
    'accuracy_std': entry['last_std'],
  }


def tell(
  built: Built,
  folder: Folder,
  made: Made,
  state: report.State,
  now: Any = None,
) -> None:
  """Rewrites the page of a run that is not finished.

  Args:
    built: the objects of the run.
    folder: of the run.
    made: stages so far.
    state: where it is.
    now: `_variants.Looks` of the set along the way, or None.
  """
  entries = evaluated(made)
  results = summarise(built, folder, made, entries)
  points = results['checkpoints']
  if 'condensed' not in entries and points:
    newest = max(
      (n for n in folder.read(STAGES) or {} if n.startswith('evaluate/outer_')),
      key=lambda name: int(name.split()[0].rpartition('_')[2]),
      default='',
    )
    if newest:
      found = (folder.read(STAGES) or {})[newest]['value']
      results['evaluations'] = {'condensed': found, **entries}
  _showing.show(built, folder, made, results, now=now, state=state)


def finish_part(at_work: Any, entries: Mapping[str, Any]) -> None:
  """Writes the report of a run that was asked for single numbers.

  It is finished as any other once its condensed set was evaluated.

  Args:
    at_work: `_run.Opened`.
    entries: name -> record of an evaluation.
  """
  built, work, made, pipeline = at_work
  results = summarise(built, work.folder, made, entries, pipeline.observers)
  _showing.show(built, work.folder, made, results)
  if 'condensed' in entries:
    work.folder.finish(results)


def finish(built: Built, work: Work, made: Made, pipeline: Pipeline) -> Any:
  """Writes results and pages, and says where they are; returns the results."""
  entries = {w.name: made(f'evaluate/{w.name}') for w in pipeline.asked}
  results = summarise(built, work.folder, made, entries, pipeline.observers)
  _showing.show(built, work.folder, made, results)
  if work.writer is not SILENT:
    looks = _variants.looks_of(made('artefact'))
    work.writer.picture(None, 'condensed', _variants.picture(built, looks))
  work.folder.finish(results)
  for line in _lines(results):
    say(line)
  path = work.folder.path
  say(f'condensed set: {path / "condensed.npz"}')
  say(f'report:        {path / "report.html"}')
  say(
    f'next: python -c "import dcjax; print(dcjax.load(\''
    f'{path / "condensed.npz"}\').numpy()[0].shape)"'
  )
  return results


def _lines(results):
  """What was measured, the method's own test first, a line for each."""
  entries, own = results['evaluations'], results.get('own', {})
  wide = max(map(len, entries), default=0)
  told = [(n, entry, entry['how']) for n, entry in own.items()]
  for name, entry in entries.items():
    how = f'{entry["network"]}, trained on {entry["images"]} images'
    told.append((name, entry, how))
  for name, entry, how in told:
    mean, std = 100 * entry['last_mean'], 100 * entry['last_std']
    yield f'  {name:>{wide}}: {mean:5.1f} ± {std:.1f} %  ({how})'
  for name, score in results.get('fair', {}).items():
    yield f'  {name:>{wide}}: {score["mean"]:.3f} ± {score["std"]:.3f}'
