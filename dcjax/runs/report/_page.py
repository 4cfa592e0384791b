"""The report of one run: a single HTML page that needs nothing else.

Pictures and plots are inside, and a small script; reads well on dark and light
screens, wide and narrow. What the results do not hold is left out.
"""

import itertools
import json
import os
import pathlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dcjax import files
from dcjax.runs.report import _bytes, _pictures, _svg
from dcjax.runs.report._by_class import by_class
from dcjax.runs.report._codebook import bytes_section
from dcjax.runs.report._curves import curves
from dcjax.runs.report._gallery import film, gallery
from dcjax.runs.report._headline import (
  SETS,
  State,
  accuracy,
  difference,
  headline,
  main_name,
  ranked,
  status,
  test_error,
  title,
  verdict,
)
from dcjax.runs.report._html import (
  code,
  duration,
  escape,
  is_number,
  note,
  page,
  pairs,
  picture,
  section,
  size,
  table,
)

_ARTEFACT = 'condensed.npz'
_SCORES = {
  'HLR': 'lost against the whole set under hard labels (smaller is better)',
  'IOR': 'won over random real images',
  'LRS': 'both in one score from 0 to 1',
  'ARS': 'won over random real images with and without augmentation, 0 to 1',
}
_LABEL_BYTES = {
  'label_bytes': 'bytes of labels',
  'teacher_bytes': 'bytes of teachers',
}


def write_report(
  workdir: str | os.PathLike[str],
  *,
  config: Mapping[str, Any],
  results: Mapping[str, Any],
  metrics: Sequence[Mapping[str, float]] = (),
  variants: Mapping[str, np.ndarray] | None = None,
  frames: Sequence[tuple[str, bytes]] = (),
  pictures: Mapping[str, tuple[Any, str]] | None = None,
  state: State | None = None,
) -> pathlib.Path:
  """Writes `report.html` into a run's folder.

  Args:
    workdir: the folder, where the artefact lies, too.
    config: the settings of the run, nested dicts.
    results: what `results.json` holds: 'method', 'dataset', 'ipc',
      'formation', 'headline', 'evaluations', 'storage', 'data', 'seconds',
      'environment', 'checkpoints', and optionally 'command' (words that start
      the run again) and 'artefact' (file name). Accuracies are fractions.
      Records of earlier versions may lack any of them.
    metrics: one dict per logged step with 'outer', 'step', 'loss', 'seconds'.
    variants: images by class, see `gallery`.
    frames: the set over time, see `film`.
    pictures: caption -> (uint8 `[H, W, 1 or 3]` or a `Plot`, what it shows).
    state: where the run is; None: finished.

  Returns:
    The path of the page.

  Raises:
    OSError: the page cannot be written.
  """
  folder = pathlib.Path(workdir)
  names = (results.get('data') or {}).get('classes') or ()
  main = main_name(results)
  entries = results.get('evaluations') or {}
  file = results.get('artefact', _ARTEFACT)
  unmade = state is not None and 'storage' not in results
  body = [
    status(state or State()),
    headline(results),
    section('Images', gallery(variants or {}, names, len(names))),
    section('Over time', film(frames)),
    section('Pictures', _figures(pictures or {})),
    section('Curves', curves(results, metrics)),
    section('Accuracy', _accuracies(results)),
    section('Class by class', by_class(entries, main or '', names)),
    section('What it was made for', _own(results.get('own') or {})),
    section('Fair scores', _scores(results.get('fair') or {})),
    *_observers(results),
    section('Bytes', _bytes.storage(results)),
    *bytes_section(results),
    section('Use it', '' if unmade else _usage(folder / file)),
    section('Try next', _next_commands(config, results, folder)),
    section('Settings', _settings(config)),
    section('Time', _timings(results.get('seconds') or {})),
    section('Environment', pairs(results.get('environment') or {})),
  ]
  path = folder / 'report.html'
  with files.replacing(path) as stream:
    stream.write(page(title(results), *body).encode())
  return path


def _figures(pictures):
  figures = []
  for name, (content, shows) in pictures.items():
    caption = f'{escape(name)}; {escape(shows)}'
    if isinstance(content, _svg.Plot):
      figures.append(_svg.figure(content._replace(title=f'{name}; {shows}')))
      continue
    address = picture(_pictures.encode_png(content))
    figures.append(
      f'<figure><img src="{address}" alt="{escape(name)}">'
      f'<figcaption>{caption}</figcaption></figure>'
    )
  return f'<div class="row">{"".join(figures)}</div>' if figures else ''


def _accuracies(results: Mapping[str, Any]) -> str:
  entries, first = results.get('evaluations') or {}, main_name(results)
  # Only methods with teachers say what labels and teachers take.
  more = {
    field: said
    for field, said in _LABEL_BYTES.items()
    if any(entry.get(field) for entry in entries.values())
  }
  rows = []
  for name in ranked(entries, first):
    entry = entries[name]
    error = test_error(entry)
    gain = None if name == first else difference(entries[first or ''], entry)
    rows.append(
      [
        SETS.get(name, name),
        accuracy(entry),
        None if error is None else f'± {100 * error:.1f}',
        '' if gain is None else verdict(gain),
        entry.get('images'),
        entry.get('label_regime'),
        entry.get('network'),
        entry.get('epochs'),
        duration(entry.get('seconds')),
        accuracy(entry, 'best'),
        *(size(entry.get(field, 0)) for field in more),
      ]
    )
  header = [
    'training set',
    'last epoch',
    'test images',
    'condensed over it',
    'images',
    'labels',
    'network',
    'epochs',
    'time',
    'best epoch',
    *more.values(),
  ]
  said = (
    'Test accuracy, mean ± standard deviation over networks; "test images": '
    'standard error that their number leaves; "images": trained on; "time": to '
    'train and test; "best epoch": picked on test data, not the headline.'
  )
  return table(header, rows, mark_first=True) + note(said) if rows else ''


def _own(tests: Mapping[str, Mapping[str, Any]]) -> str:
  """Tests of the method's own: a regression, or its unrolled training."""
  rows = [
    [SETS.get(name, name), accuracy(entry), entry.get('how')]
    for name, entry in tests.items()
  ]
  return table(['set', 'test accuracy', 'how'], rows)


def _scores(scores: Mapping[str, Mapping[str, float]]) -> str:
  """The scores of `dcjax.fairness`."""
  rows = [
    [name, f'{score["mean"]:.3f} ± {score["std"]:.3f}', _SCORES.get(name)]
    for name, score in scores.items()
  ]
  return table(['score', 'mean ± std', 'what it says'], rows)


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

  def command(suffix: str, more: str = '') -> str:
    field = more.partition('=')[0]
    kept = [w for w in words if w.partition('=')[0] != field]
    changed = [more] if more else []
    return shlex.join([*kept, *changed, f'--workdir={folder}{suffix}'])

  lines = {'The same again: resumes if unfinished.': command('')}
  # These fit images of any size.
  networks = '--config.evaluation.networks=mlp+resnet:depth=10:norm=batch'
  lines['Other test networks, on the same images.'] = command('', networks)
  if not config.get('evaluation', {}).get('fair'):
    fair = command('', '--config.evaluation.fair=true')
    lines['Scores that no label or augmentation flatters.'] = fair
  if is_number(config.get('seed')):
    seed = config['seed'] + 1
    other = command(f'-seed{seed}', f'--config.seed={seed}')
    lines['Another seed.'] = other
  ipc = config.get('ipc')
  fewest = (results.get('data') or {}).get('fewest')
  large = is_number(ipc) and is_number(fewest) and 5 * ipc > fewest
  if is_number(ipc) and not large and 'file' not in config:
    ipc *= 5
    lines['More images.'] = command(f'-ipc{ipc}', f'--config.ipc={ipc}')
  program = list(itertools.takewhile(lambda word: word[:2] != '--', words))
  beside = [*(word for word in program if word != 'run'), 'gallery']
  lines['All runs in the folder around it, on one page.'] = shlex.join(
    [*beside, str(folder.parent)]
  )
  return ''.join(
    f'<p>{escape(said)}</p>{code(line)}' for said, line in lines.items()
  )


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
