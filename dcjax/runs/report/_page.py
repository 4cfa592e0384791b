"""The report of one run: a single HTML page that needs nothing else.

No scripts, no links, pictures and plots inside; reads well on dark and light
screens, wide and narrow. What the results do not hold is left out.
"""

import base64
import json
import os
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dcjax import files
from dcjax.runs.report import _pictures as drawing
from dcjax.runs.report._codebook import bytes_section
from dcjax.runs.report._curves import SETS, curves
from dcjax.runs.report._html import (
  STYLE,
  code,
  duration,
  escape,
  is_number,
  pairs,
  section,
  size,
  table,
)

_CAPTIONS = {
  'real': 'Real images',
  'initial': 'Start of the condensation',
  'condensed': 'Condensed images, as stored',
}
_ARTEFACT = 'condensed.npz'
_SCORES = {
  'HLR': 'lost against the whole set under hard labels (smaller is better)',
  'IOR': 'won over random real images',
  'LRS': 'both in one score from 0 to 1',
  'ARS': 'won over random real images with and without augmentation, 0 to 1',
}
_LABEL_BYTES = {
  'label_bytes': 'bytes of labels',
  'teacher_bytes': 'bytes of teachers (needed to train)',
}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def write_report(
  workdir: str | os.PathLike[str],
  *,
  config: Mapping[str, Any],
  results: Mapping[str, Any],
  metrics: Sequence[Mapping[str, float]] = (),
  pictures: Mapping[str, np.ndarray] | None = None,
  layouts: Mapping[str, str] | None = None,
) -> pathlib.Path:
  """Writes `report.html` into a run's folder.

  Args:
    workdir: the folder, where the artefact lies, too.
    config: the settings of the run, nested dicts.
    results: what `results.json` holds: 'method', 'dataset', 'ipc',
      'formation', 'headline', 'evaluations', 'storage', 'seconds',
      'environment', 'checkpoints', and optionally 'config_file' (as given to
      `--config`), 'command' (words that start the run again) and 'artefact'
      (file name). Accuracies are fractions.
    metrics: one dict per logged step with 'outer', 'step', 'loss', 'seconds'.
    pictures: caption or one of 'real', 'initial', 'condensed' -> uint8
      `[H, W, 1 or 3]`, in the order shown.
    layouts: name of a picture -> what its rows are; one row per class unless
      said otherwise.

  Returns:
    The path of the page.

  Raises:
    OSError: the page cannot be written.
  """
  folder = pathlib.Path(workdir)
  body = [
    _headline(results),
    section('Pictures', _figures(pictures or {}, layouts or {})),
    section('Curves', curves(results, metrics)),
    section('Accuracy', _accuracies(results)),
    section('What it was made for', _own(results.get('own') or {})),
    section('Fair scores', _scores(results.get('fair') or {})),
    *_observers(results),
    section('Storage', _storage(results.get('storage') or {})),
    *bytes_section(results),
    section('Use it', _usage(folder / results.get('artefact', _ARTEFACT))),
    section('Try next', _next_commands(config, results, folder)),
    section('Settings', _settings(config)),
    section('Time', _timings(results.get('seconds') or {})),
    section('Environment', pairs(results.get('environment') or {})),
  ]
  page = PAGE.format(
    title=escape(_title(results)), style=STYLE, body='\n'.join(body)
  )
  path = folder / 'report.html'
  with files.replacing(path) as stream:
    stream.write(page.encode())
  return path


def _title(results: Mapping[str, Any]) -> str:
  method = str(results.get('method', 'Condensation'))
  dataset = results.get('dataset')
  return f'{method} on {dataset}' if dataset else method


def _headline(results: Mapping[str, Any]) -> str:
  evaluations = results.get('evaluations') or {}
  headline = _headline_name(results)
  parts = [f'<h1>{escape(_title(results))}</h1>', _subtitle(results)]
  if headline is None:
    return '\n'.join(parts)
  chosen = evaluations[headline]
  parts.append(f'<p class="big">{_accuracy(chosen, "last")}</p>')
  networks = len(chosen.get('per_seed_last') or ())
  over = f' over {networks} networks' if networks else ''
  parts.append(
    f'<p class="note">test accuracy after the last epoch, mean ± standard'
    f' deviation{over}; labels: {escape(chosen.get("label_regime", "–"))}</p>'
  )
  cards = [
    f'<div class="card">{escape(SETS[name])}'
    f'<b>{_accuracy(evaluations[name], "last")}</b>'
    f'{_gain(headline, name, evaluations)}</div>'
    for name in ('random', 'herding')
    if name in evaluations and name != headline
  ]
  return '\n'.join([*parts, '<div class="row">', *cards, '</div>'])


def _headline_name(results: Mapping[str, Any]) -> str | None:
  evaluations = results.get('evaluations') or {}
  name = results.get('headline', 'condensed')
  return name if name in evaluations else next(iter(evaluations), None)


def _subtitle(results: Mapping[str, Any]) -> str:
  formation = results.get('formation') or {}
  facts = []
  if 'ipc' in results:
    facts.append(f'{results["ipc"]} stored images per class (ipc)')
  if 'name' in formation:
    facts.append(f'formation {formation["name"]}')
  if 'factor' in formation:
    facts.append(f'multi-formation factor {formation["factor"]}')
  return f'<p>{escape(", ".join(facts))}</p>' if facts else ''


def _gain(first: str, second: str, evaluations: Mapping[str, Any]) -> str:
  ours, theirs = (evaluations[n].get('last_mean') for n in (first, second))
  if not (is_number(ours) and is_number(theirs)):
    return ''
  points = 100 * (ours - theirs)
  name = escape(SETS.get(first, first))
  return f'<span class="note">{name}: {points:+.1f} points</span>'


def _accuracy(evaluation: Mapping[str, Any], which: str) -> str:
  mean = evaluation.get(f'{which}_mean')
  std = evaluation.get(f'{which}_std')
  if not is_number(mean):
    return ''
  spread = f' ± {100 * std:.1f}' if is_number(std) else ''
  return f'{100 * mean:.1f}{spread} %'


def _figures(
  pictures: Mapping[str, np.ndarray], layouts: Mapping[str, str]
) -> str:
  figures = []
  for name, array in pictures.items():
    content = drawing.encode_png(array, max_side=1600)
    data = base64.b64encode(content).decode()
    caption = escape(_CAPTIONS.get(name, name))
    layout = escape(layouts.get(name, 'one row per class'))
    figures.append(
      f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
      f'<figcaption>{caption}; {layout}</figcaption></figure>'
    )
  return f'<div class="row">{"".join(figures)}</div>' if figures else ''


def _accuracies(results: Mapping[str, Any]) -> str:
  evaluations = results.get('evaluations') or {}
  first = _headline_name(results)
  names = sorted(evaluations, key=lambda name: name != first)
  total = (results.get('storage') or {}).get('total') or {}
  # Only methods with teachers say what labels and teachers take.
  more = {
    field: title
    for field, title in _LABEL_BYTES.items()
    if any(field in evaluations[name] for name in names)
  }
  rows = []
  for name in names:
    evaluation = evaluations[name]
    num_bytes = evaluation.get('bytes')
    if num_bytes is None and name == 'condensed':
      num_bytes = total.get('float32_bytes')
    rows.append(
      [
        SETS.get(name, name),
        _accuracy(evaluation, 'last'),
        _accuracy(evaluation, 'best'),
        evaluation.get('label_regime'),
        evaluation.get('images'),
        None if num_bytes is None else size(num_bytes),
        evaluation.get('network'),
        evaluation.get('epochs'),
        duration(evaluation.get('seconds')),
        *(size(evaluation.get(field, 0)) for field in more),
      ]
    )
  header = [
    'training set',
    'last epoch',
    'best epoch (picked on test data, not the headline)',
    'labels',
    'images trained on',
    'bytes (float32)',
    'network',
    'epochs',
    'time to train and test',
    *more.values(),
  ]
  note = '<p class="note">Test accuracy, mean ± standard deviation.</p>'
  return table(header, rows, mark_first=True) + note if rows else ''


def _own(tests: Mapping[str, Mapping[str, Any]]) -> str:
  """Tests of the method's own: a regression, or its unrolled training."""
  rows = [
    [
      SETS.get(name, name),
      f'{100 * entry["last_mean"]:.1f} ± {100 * entry["last_std"]:.1f} %',
      entry['how'],
    ]
    for name, entry in tests.items()
  ]
  return table(['set', 'test accuracy', 'how'], rows) if rows else ''


def _scores(scores: Mapping[str, Mapping[str, float]]) -> str:
  """The scores of `dcjax.fairness`."""
  rows = [
    [name, f'{score["mean"]:.3f} ± {score["std"]:.3f}', _SCORES.get(name)]
    for name, score in scores.items()
  ]
  return table(['score', 'mean ± std', 'what it says'], rows) if rows else ''


def _observers(results: Mapping[str, Any]) -> Iterator[str]:
  """The section of methods that look through trained networks."""
  found = results.get('observers')
  if not found:
    return
  rows = [
    [
      entry['network'],
      ', '.join(entry['roles']),
      f'{100 * entry["accuracy"]:.1f} %',
      f'{entry["parameters"]:,}',
      'imported' if entry['imported'] else str(entry['epochs']),
      duration(entry['seconds']),
    ]
    for entry in found
  ]
  header = ['network', 'for', 'test accuracy', 'parameters', 'epochs', 'time']
  yield section('Observers', table(header, rows))


def _storage(storage: Mapping[str, Mapping[str, int]]) -> str:
  rows = [
    [
      name,
      f'{entry.get("numbers", 0):,}',
      size(entry.get('float32_bytes', 0)),
      size(entry.get('disk_bytes', 0)),
    ]
    for name, entry in storage.items()
    if isinstance(entry, Mapping)
  ]
  header = ['part', 'numbers', 'as float32', 'on disk']
  return table(header, rows) if rows else ''


def _usage(file: pathlib.Path) -> str:
  path = repr(str(file))
  snippet = (
    'from dcjax import artefact\n\n'
    f'data = artefact.load({path})\n'
    'images, labels = data.numpy(normalised=True)  # ready to train on\n'
    'dataset = data.torch(normalised=True)         # the same for PyTorch'
  )
  alone = (
    'import json, numpy\n\n'
    f'file = numpy.load({path})\n'
    "print(json.loads(file['meta'].tobytes())['how_to_decode'])"
  )
  return f'{code(snippet)}<p>With NumPy alone:</p>{code(alone)}'


def _next_commands(
  config: Mapping[str, Any], results: Mapping[str, Any], folder: pathlib.Path
) -> str:
  words = list(results.get('command') or ())
  if not words:
    return ''

  def command(suffix: str, *more: str) -> str:
    return shlex.join([*words, *more, f'--workdir={folder}{suffix}'])

  lines = ['# the same again: resumes if unfinished', command('')]
  lines += [
    '# other test networks, on the same images',
    # These fit images of any size.
    command('', '--config.evaluation.networks=mlp+resnet:depth=10:norm=batch'),
  ]
  if not config.get('evaluation', {}).get('fair'):
    lines += [
      '# scores that no label or augmentation flatters',
      command('', '--config.evaluation.fair=true'),
    ]
  if is_number(config.get('seed')):
    seed = config['seed'] + 1
    lines += [
      '# another seed',
      command(f'-seed{seed}', f'--config.seed={seed}'),
    ]
  if is_number(config.get('ipc')) and 'file' not in config:
    ipc = 5 * config['ipc']
    lines += ['# more images', command(f'-ipc{ipc}', f'--config.ipc={ipc}')]
  return code('\n'.join(lines))


def _settings(config: Mapping[str, Any]) -> str:
  rows = pairs(dict(_flatten('', config)))
  if not rows:
    return ''
  return (
    f'<details><summary>every setting of this run</summary>{rows}</details>'
  )


def _flatten(prefix: str, value: Any):
  if isinstance(value, Mapping) and (value or not prefix):
    for key, child in value.items():
      yield from _flatten(f'{prefix}.{key}' if prefix else str(key), child)
  else:
    yield prefix, json.dumps(value, default=str, ensure_ascii=False)


def _timings(seconds: Mapping[str, float]) -> str:
  return pairs({name: duration(value) for name, value in seconds.items()})
