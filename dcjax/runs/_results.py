"""What is told of a finished run: results, pictures, the report."""

import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dcjax import artefact, coresets, data, files, sharding, whitening
from dcjax.artefact import Artefact
from dcjax.runs import _artefact, _condense, report
from dcjax.runs._build import Parts
from dcjax.runs._folder import STAGES
from dcjax.runs._pipelines import Pipeline
from dcjax.runs._progress import say
from dcjax.runs._stage import Made, Work


def summarise(
  parts: Parts, work: Work, made: Made, pipeline: Pipeline
) -> dict[str, Any]:
  """Collects `results.json`."""
  config, condensed = parts.config, made('artefact')
  entries = {w.name: dict(made(f'evaluate/{w.name}')) for w in pipeline.asked}
  stored = artefact.storage(condensed)
  for asked in pipeline.asked:
    if asked.images in ('condensed', 'fresh'):
      entries[asked.name]['bytes'] = stored['total']['float32_bytes']
  seconds = _seconds(work, made, entries)
  labels = made('labels') if 'labels' in made.keys else None
  return {
    'method': config.get('method', {}).get(
      'name', condensed.provenance.get('method', 'given')
    ),
    'dataset': parts.dataset.name,
    'ipc': config.ipc,
    'formation': dict(condensed.spec),
    'headline': 'condensed',
    'evaluations': entries,
    'observers': _observers(made, pipeline),
    'storage': stored,
    'bytes': _bytes(stored, labels, entries),
    'seconds': seconds,
    'environment': _artefact.environment(),
    'checkpoints': _curve(work, entries, config, seconds['condense']),
    'config_file': _config_file(work.folder.command),
    'command': _repeatable(work.folder.command),
    'label_regime': condensed.label_regime,
    'project': config.get('project', 'end'),
    'sha256': _digest_of(work.folder.path / 'condensed.npz'),
    **({'fair': made('fair')} if 'fair' in made.keys else {}),
    **_own(made),
    **report.bytes_of(condensed, config.ipc),
  }


def _digest_of(path):
  with files.opened(path) as stream:
    return hashlib.file_digest(stream, 'sha256').hexdigest()


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
  names = [name for name in made.keys if name.startswith('own/')]
  found = {name.partition('/')[2]: made(name) for name in names}
  return {'own': found} if found else {}


def _seconds(work, made, entries):
  found = {
    name: round(seconds, 3)
    for name, seconds in made.seconds.items()
    if seconds and not name.startswith(('evaluate/', 'set/', 'data'))
  }
  found['condense'] = round(_condense.seconds_of(work.folder.metrics()), 3)
  evaluating = sum(entry['seconds'] for entry in entries.values())
  return {**found, 'evaluate': round(evaluating, 3)}


def _observers(made, pipeline):
  found = []
  for observer in pipeline.observers:
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


def _curve(work, entries, config, seconds):
  """Accuracy over the condensation, from its start to its end."""
  points = [
    _point(entry['value'], entry['value']['outer'], entry['value']['at'])
    for name, entry in (work.folder.read(STAGES) or {}).items()
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


def _config_file(command):
  """What was given to `--config`, or ''."""
  for position, word in enumerate(command):
    if word.startswith(('--config=', '-config=')):
      return word.partition('=')[2]
    if word in ('--config', '-config'):
      return ''.join(command[position + 1 : position + 2])
  return ''


def _repeatable(command):
  """The words that start a run again, but for its folder."""
  kept, skipped = [], False
  for word in command:
    bare = word in ('--workdir', '-workdir')
    if not (skipped or bare or word.startswith(('--workdir=', '-workdir='))):
      kept.append(word)
    skipped = bare
  return kept


def show(
  parts: Parts, work: Work, made: Made, results: Mapping[str, Any]
) -> None:
  """Writes `images.png` and `report.html`."""
  if not sharding.is_main():
    return
  condensed = made('artefact')
  value_range = parts.dataset.value_range
  if parts.dataset.zca is not None:
    value_range = (0.0, 1.0)
  grids, layouts = {}, {}
  for name, images in _viewable(parts, made, condensed).items():
    rows, layouts[name] = _rows(images)
    grids[name] = report.image_grid(rows, value_range=value_range)
  report.save_png(work.folder.path / 'images.png', grids['condensed'])
  work.writer.picture(None, 'condensed', grids['condensed'])
  variables = made('embedding') if 'embedding' in made.keys else None
  for name, (picture, layout) in report.pictures_of(
    parts, condensed, variables
  ).items():
    grids[name], layouts[name] = picture, layout
  report.write_report(
    work.folder.path,
    config=work.folder.config,
    results=results,
    metrics=work.folder.metrics(),
    pictures=grids,
    layouts=layouts,
  )


def _rows(images):
  """Images in rows to draw, and what a row shows.

  One row a class; single images of ten classes share a row.
  """
  images = np.asarray(images)
  if images.shape[1] == 1 and images.shape[0] % 10 == 0:
    rows = images.reshape(-1, 10, *images.shape[2:])
    return rows, 'one image per class, ten classes in a row'
  return images, 'one row per class'


def _viewable(parts, made, condensed: Artefact) -> dict[str, Any]:
  """Real, initial and condensed images `[C, N, H, W, D]` to look at.

  Stored images are shown as they are, but whitened ones decoded and turned back
  to about [0, 1]: each cell of a stored image is whitened for itself.
  """
  dataset = parts.dataset
  ipc = min(parts.config.ipc, int(dataset.counts.min()))
  chosen = coresets.random(parts.keys['random'], dataset.counts, ipc)
  shown = {'real': data.images_at(dataset, chosen)}
  if 'start' in made.keys:
    start = jax.tree.map(jnp.asarray, _condense.unflattened(made('start')))
    if dataset.zca is None and 'images' in start:
      shown['initial'] = start['images']
    else:
      shown['initial'] = parts.formation.decode(start).images
  if dataset.zca is None and 'images' in condensed.params:
    return shown | {'condensed': condensed.params['images']}
  shown['condensed'] = condensed.batch().images
  if dataset.zca is None:
    return shown
  return {k: whitening.invert(dataset.zca, v) for k, v in shown.items()}


def finish(parts: Parts, work: Work, made: Made, pipeline: Pipeline) -> Any:
  """Writes results and pages, and says where they are; returns the results."""
  results = summarise(parts, work, made, pipeline)
  show(parts, work, made, results)
  work.folder.finish(results)
  for name, entry in results['evaluations'].items():
    say(
      f'  {name:>10}: {100 * entry["last_mean"]:5.1f} ± '
      f'{100 * entry["last_std"]:.1f} %  (trained on {entry["images"]} images)'
    )
  for name, entry in results.get('own', {}).items():
    say(
      f'  {name:>10}: {100 * entry["last_mean"]:5.1f} ± '
      f'{100 * entry["last_std"]:.1f} %  ({entry["how"]})'
    )
  for name, score in results.get('fair', {}).items():
    say(f'  {name:>10}: {score["mean"]:.3f} ± {score["std"]:.3f}')
  path = work.folder.path
  say(f'condensed set: {path / "condensed.npz"}')
  say(f'report:        {path / "report.html"}')
  say(
    f'next: python -c "import dcjax; print(dcjax.load(\''
    f'{path / "condensed.npz"}\').numpy()[0].shape)"'
  )
  return results
