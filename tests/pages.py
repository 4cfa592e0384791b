"""Pages of every kind from records that no run made."""

import io
import json

import numpy as np
from PIL import Image

from dcjax.runs import report
from dcjax.runs.applications import _pages as _pages_of
from dcjax.runs.tables import _pages, _types

# Names that are markup, and what a page must make of them: text.
NAMES = (
  '<script>window.broken = 1</script>',
  '<img src=x onerror="window.broken = 1">',
  "a name of many words that doesn't end soon &amp; has_no_place_to_break_it",
  'd',
)


def evaluation(mean, images=40, classes=4, **changes):
  """A record of an evaluation of three networks on 360 test images."""
  share = [min(1.0, mean + 0.1 * (i % 3 - 1)) for i in range(classes)]
  counts = np.full((classes, classes), 10) + 80 * np.eye(classes, dtype=int)
  return {
    'last_mean': mean,
    'last_std': 0.0123,
    'best_mean': mean + 0.02,
    'best_std': 0.004,
    'per_seed_last': [mean, mean, mean],
    'images': images,
    'tests': 360,
    'network': 'convnet3',
    'epochs': 1000,
    'label_regime': 'hard',
    'seconds': 61.0,
    'by_class': share,
    'confusion': counts.tolist(),
    **changes,
  }


def results(classes=4, **changes):
  """What a run leaves in `results.json`."""
  sizes = {'numbers': 30720, 'float32_bytes': 122880, 'disk_bytes': 30720}
  names = [*NAMES, *(f'class {i}' for i in range(4, classes))]
  return {
    'method': 'IDC',
    'dataset': 'digits',
    'ipc': 10,
    'formation': {'name': 'uniform', 'factor': 2},
    'headline': 'condensed',
    'command': ['dcjax', '--config=idc:digits', '--config.zca=none'],
    'evaluations': {
      'random': evaluation(0.512, classes=classes),
      'herding': evaluation(0.675, classes=classes),
      'condensed': evaluation(0.678, images=400, classes=classes),
      'initial': evaluation(0.5, images=400, classes=classes),
      'whole': evaluation(0.94, images=1433, classes=classes),
    },
    'data': {
      'classes': names,
      'images': 1433,
      'tests': 360,
      'numbers': 1433 * 64,
      'bytes': 1433 * 64,
    },
    'storage': {'images': sizes, 'labels': {'numbers': 0}, 'total': sizes},
    'bytes': {'images': 122880, 'labels': 0, 'teachers': 8000},
    'seconds': {'condense': 7325.0, 'evaluate': 61.0},
    'environment': {'device': 'cpu', 'jax': '0.10.2'},
    'fair': {'IOR': {'mean': 0.166, 'std': 0.01}},
    'checkpoints': [
      {
        'outer': outer,
        'seconds': 60.0 * outer,
        'accuracy_mean': 0.4 + 0.02 * outer,
        'accuracy_std': 0.01,
      }
      for outer in range(1, 11)
    ],
    **changes,
  }


def metrics(count=1000):
  """The lines of `metrics.jsonl`."""
  return [
    {'outer': i, 'step': 100 * i, 'loss': 100 / (i + 1), 'seconds': float(i)}
    for i in range(count)
  ]


def variants(classes=4, cells=4):
  """Noise to look at: two stored images a class, each of some cells."""
  rng = np.random.default_rng(0)
  counts = {'stored': 2, 'decoded': 2 * cells, 'nearest': 2 * cells, 'start': 2}
  return {
    name: rng.integers(0, 256, (classes, n, 8, 6, 3)).astype(np.uint8)
    for name, n in counts.items()
  }


def frames(count=5):
  """A film of grey pictures that grow darker."""
  found = []
  for i in range(count):
    stream = io.BytesIO()
    Image.new('L', (60, 20), 200 - 30 * i).save(stream, 'png')
    found.append((f'after {i} iterations: {40 + i} %', stream.getvalue()))
  return found


CONFIG = {'ipc': 10, 'seed': 0, 'optimiser': {'learning_rate': 0.005}}


def write_run(folder, state=None, classes=4, **changes):
  """A run's folder, with a report, settings and, if it is done, results."""
  folder.mkdir(parents=True)
  found = results(classes, **changes)
  config = CONFIG | {'seed': changes.get('seed', 0), 'ipc': found['ipc']}
  (folder / 'config.json').write_text(json.dumps(config))
  if state is None:
    (folder / 'results.json').write_text(json.dumps(found))
  picture = np.arange(200, dtype=np.uint8).reshape(10, 20)
  report.save_png(folder / 'images.png', picture)
  return report.write_report(
    folder,
    config=config,
    results=found,
    metrics=metrics(),
    variants=variants(classes),
    frames=frames(),
    pictures={
      'Features <i>': (
        report.Plot('', [report.Series('a', [1, 2], [3, 4])], 'x'),
        'dots',
      ),
      'Noise': (np.zeros((4, 4, 3), np.uint8), 'nothing'),
    },
    state=state,
  )


def write_table(folder):
  """The page of a table with a run that has a report, and a heat map's."""
  write_run(folder / 'runs/first <run>')
  rows, columns = ('ipc <b>1</b>', 'ipc 10'), ('IDC, a long name', 'DM', 'DSA')
  cell = _types.Cell(_types.Run('idc', 'digits', 1))
  cells = {(row, column): cell for row in rows for column in columns}
  measured = {place: evaluation(0.5) for place in cells}
  config = {
    'network': 'convnet:width=32:depth=3:norm=instance',
    'outer': 60,
    'method': {'inner_steps': 100},
    'evaluation': {'seeds': 3, 'epochs': 1000},
  }
  lines = [
    _pages.RunLine('first <run>', 'finished', config, {}),
    _pages.RunLine('second', 'waiting', config, {}),
  ]
  files = []
  for kind in ('lines', 'heat'):
    table = _types.Table(
      f'A <i>table</i> as {kind}',
      'Nobody, 2026',
      rows,
      columns,
      cells,
      {(rows[0], columns[1]): '26.0 ± 0.8'},
      plot=_types.Plot(kind, 'rows', 'images per class'),
    )
    places = dict.fromkeys(cells, 'first <run>')
    go_on = f'dcjax --config=table:idc_table1,size=short --workdir={folder}'
    made = _pages.Page(table, 'short', measured, lines, go_on, places=places)
    place = folder / f'{kind}.html'
    place.write_text(_pages.html(made, folder), encoding='utf-8')
    files.append(place)
  return files


def write_application(folder):
  """The page of an application."""
  plot = _pages_of.levels('Accuracy', {'none': [0.5, 0.6], '<u>idc</u>': [0.7]})
  made = _pages_of.Page(
    'Adaptation: <b>a</b> to b',
    ['A note <i>of</i> it.'],
    {'Accuracy <u>': (['set', 'accuracy'], [['<b>idc</b>', '50.0 ± 1.0']])},
    plot,
  )
  path = folder / 'application.html'
  path.write_text(_pages_of._html(made), encoding='utf-8')
  return path


def write_all(folder):
  """Pages of every kind below a folder."""
  running = report.State('running', 0.43, 720.0, 1.8e9)
  so_far = {'condensed': evaluation(0.6)}
  failed = report.State('failed', 0.1, None, 1.8e9, 'the loss is <b>nan</b>')
  found = [
    write_run(folder / 'runs/one & <two>'),
    write_run(folder / 'runs/seed1', seed=1),
    write_run(folder / 'runs/running', running, evaluations=so_far, storage={}),
    write_run(folder / 'runs/failed', failed),
    write_run(folder / 'runs/large', classes=25, ipc=50, dataset='other'),
    *write_table(folder / 'table'),
    write_application(folder),
    folder / 'gallery.html',
  ]
  report.write_page(report.below(folder), folder / 'gallery.html')
  return found
