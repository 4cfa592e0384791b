"""Seconds of condensation until images are worth an accuracy, both sides.

  python benchmarks/time_to_accuracy.py --data=fashion_mnist --accuracy=82.9
    --steps=100,200,400 --data_dir=DATA --workdir=runs/tta --out=tta.md

(a) the published settings in PyTorch, with the image rate of
`--reference_rate`; (b) the settings of `schedule=short` in PyTorch; (c) the
same in dcjax; (d) DM by a kernel from representative images in dcjax. Each
condenses with `--steps` image steps (`--dm_steps`: (d)), from the fewest on,
until its images reach the accuracy: a rate that falls to zero belongs to its
number of steps. dcjax's seconds hold loading, start and compilation, PyTorch's
the steps alone. All images are then evaluated alike, by dcjax. The sides take
turns, a process each; finished tries stay in `--workdir`, and the same command
goes on with the others.
"""

import itertools
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import _command
import jax
import numpy as np
from _problem import Data, parse_counts
from absl import flags

from dcjax import networks, runs
from dcjax.runs import _build, _start, settings

_HERE = pathlib.Path(__file__).parent
# What DM does differently, where a minute is all there is (docs/results.md).
_DM = {
  'start': 'representative:candidates=2000',
  'objective': 'distribution:bandwidth=0.5',
  'method.learning_rate': 20.0,
  'method.batch_real': 32,
  'method.inner_steps': 50,
}


class Side(NamedTuple):
  """One of those that race.

  Attributes:
    name: for the table; its letter is that of its folder.
    torch: whether PyTorch condenses.
    recipe: the config.
    changes: dotted field of the config -> value.
  """

  name: str
  torch: bool
  recipe: str
  changes: dict[str, Any]


class Try(NamedTuple):
  """One condensation.

  Attributes:
    steps: image steps.
    wall: seconds.
    cpu: seconds of all threads.
    accuracy: in percent, last epoch: mean over networks.
    std: over networks.
  """

  steps: int
  wall: float
  cpu: float
  accuracy: float
  std: float


def report(
  arguments: str,
  workdir: str | os.PathLike[str],
  *,
  accuracy: float,
  steps: Sequence[str],
  dm_steps: Sequence[str] = (),
  data_dir: str = '',
  reference_rate: float = 0.0,
  threads: int = 2,
  seeds: int = 3,
  only: Sequence[str] = (),
  changes: dict[str, Any] | None = None,
) -> str:
  """Measures what is not measured yet.

  Args:
    arguments: of the config `idc`: `'fashion_mnist,ipc=10,factor=2'`.
    workdir: of the tries.
    accuracy: in percent, that is to be reached.
    steps: image steps to try, in whole networks of `method.inner_steps`.
    dm_steps: those of (d); none: the same.
    data_dir: see the config's field.
    reference_rate: image rate of (a); 0 for the published one.
    threads: CPUs of each side.
    seeds: networks of an evaluation.
    only: letters of the sides that take part; none: all.
    changes: further dotted fields of every side.

  Returns:
    Markdown.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  lengths = sorted(parse_counts('steps', steps))
  of_dm = sorted(parse_counts('dm_steps', dm_steps or steps))
  common = {'data_dir': data_dir, 'evaluation.seeds': seeds, **(changes or {})}
  tries: dict[str, list[Try]] = {}
  sides = _sides(reference_rate, only)
  for turn in itertools.zip_longest(lengths, of_dm):
    for side in sides:  # in turns: noise of the machine hits all
      length = turn[side.recipe == 'dm']
      found = tries.setdefault(side.name, [])
      if not length or (found and found[-1].accuracy >= accuracy):
        continue
      place = pathlib.Path(workdir) / side.name[1] / str(length)
      found.append(_tried(side, place, arguments, length, common, threads))
      _say(side, found[-1])
  return _table(tries, accuracy)


def _say(side, done):
  print(
    f'{side.name}: {done.steps} steps, {done.wall:.0f} s, '
    f'{done.accuracy:.1f} ± {done.std:.1f}',
    file=sys.stderr,
  )


def _sides(reference_rate, only=()):
  rate = {'method.learning_rate': reference_rate} if reference_rate else {}
  found = [
    Side(
      '(a) PyTorch, published', True, 'idc', {'schedule': 'reference', **rate}
    ),
    Side('(b) PyTorch, short', True, 'idc', {'schedule': 'short'}),
    Side('(c) dcjax, short', False, 'idc', {'schedule': 'short'}),
    Side(
      '(d) dcjax, DM by a kernel', False, 'dm', {'schedule': 'short', **_DM}
    ),
  ]
  letters = [side.name[1] for side in found]
  if wrong := set(only) - set(letters):
    raise ValueError(f'only {sorted(wrong)}: must be some of {letters}')
  found = [side for side in found if not only or side.name[1] in only]
  return [side for side in found if not side.torch or _command.has_torch()]


def _tried(side, place, arguments, length, common, threads) -> Try:
  changes = {**side.changes, **common}
  chosen = f'{arguments},schedule={changes.pop("schedule")}'
  inner = settings.resolve(_config(side.recipe, chosen, changes)).config.method
  if length % inner.inner_steps:
    raise ValueError(
      f'steps {length}: must be a multiple of {inner.inner_steps}'
    )
  changes['outer'] = length // inner.inner_steps
  _claim(
    place,
    {
      'recipe': side.recipe,
      'arguments': chosen,
      'changes': changes,
      'threads': threads,
    },
  )
  seconds_file = place / 'seconds.json'
  if not seconds_file.exists():
    if side.torch:
      _hand_over(place, _config(side.recipe, chosen, changes))
    program = '_torch_idc.py' if side.torch else '_dcjax_condense.py'
    _run(program, place)
  seconds = json.loads(seconds_file.read_text(encoding='utf-8'))
  file = place / ('data.pt' if side.torch else 'run/condensed.npz')
  entry = _evaluated(place / 'evaluated', file, arguments, common)
  mean, std = 100 * entry['last_mean'], 100 * entry['last_std']
  return Try(length, seconds['wall'], seconds['cpu'], mean, std)


def _config(recipe, arguments, changes):
  made = settings.make(recipe, arguments)
  settings.set_fields(made, changes)
  return made


def _claim(place, asked):
  """Writes what a try is asked for, or finds that it is what was."""
  path = place / 'settings.json'
  asked = json.loads(json.dumps(asked))  # tuples are lists there
  if not path.exists():
    place.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asked), encoding='utf-8')
  elif json.loads(path.read_text(encoding='utf-8')) != asked:
    raise ValueError(
      f'workdir {place}: holds a try with other settings; use another --workdir'
    )


def _hand_over(place, config):
  """Writes for PyTorch all settings, real images and those to start from."""
  built = _build.build(settings.resolve(config))
  network = networks.complete('network', built.config.network)
  told = json.loads(built.config.to_json())
  told |= {'width': network['width'], 'depth': network['depth']}
  told |= {'image_rate': _build.learning_rate(built)}
  (place / 'config.json').write_text(json.dumps(told), encoding='utf-8')
  data = Data(
    built.dataset.images,
    built.dataset.labels,
    np.asarray(_start.drawn(built, _start.parse(built))),
    np.asarray(built.dataset.mean, np.float32),
    np.asarray(built.dataset.std, np.float32),
  )
  np.savez(place / 'data.npz', **data._asdict())


def _run(program, place):
  subprocess.run([sys.executable, str(_HERE / program), str(place)], check=True)


def _evaluated(folder, file, arguments, common):
  """Trains networks on the images of a file; the same for every side."""
  shared = {
    field: value
    for field, value in common.items()
    if not field.startswith('method.')
  }
  config = _config('given', f'{arguments},schedule=short', shared)
  settings.set_fields(config, {'file': str(file), 'evaluation.baselines': ()})
  return runs.run(config, folder)['evaluations']['condensed']


def _table(tries: dict[str, list[Try]], accuracy: float) -> str:
  """Every try, then the ratios of the first that reached the accuracy."""
  lines = [
    '| | image steps | wall s | CPU s | accuracy |',
    '| --- | --- | --- | --- | --- |',
  ]
  reached = {}
  for name, found in tries.items():
    for x in found:
      good = x.accuracy >= accuracy
      if good:
        reached[name] = x
      lines.append(
        f'| {name} | {x.steps} | {x.wall:.1f} | {x.cpu:.1f} | '
        f'{x.accuracy:.1f} ± {x.std:.1f}{" (reached)" * good} |'
      )
  for name in tries:
    if name not in reached:
      lines.append(f'\n{accuracy:g} was not reached by: {name}.')
  for name, other in itertools.product(tries, reached):
    if 'PyTorch' in name and 'dcjax' in other and tries[name]:
      theirs, ours = tries[name][-1], reached[other]
      more = '' if name in reached else 'more than '  # it ended below
      lines.append(
        f'\n{name} over {other}, to {accuracy:g}: '
        f'{more}{theirs.wall / ours.wall:.1f} times the wall time, '
        f'{more}{theirs.cpu / ours.cpu:.1f} the CPU time.'
      )
  return '\n'.join(lines)


def _from_flags():
  values = flags.FLAGS
  if values.threads > 1:  # the networks of an evaluation, each on a device
    jax.config.update('jax_num_cpu_devices', values.threads)
  return report(
    f'{values.data},ipc={values.ipc},factor={values.factor},'
    f'network=convnet:width={values.width}',
    values.workdir,
    accuracy=values.accuracy,
    steps=values.steps,
    dm_steps=values.dm_steps,
    data_dir=values.data_dir,
    reference_rate=values.reference_rate,
    threads=values.threads,
    seeds=values.seeds,
    only=values.only,
    changes={'seed': values.seed},
  )


def _how():
  return (
    f'{flags.FLAGS.threads or "all"} threads, a process each, in turns; seed '
    f'{flags.FLAGS.seed}, {flags.FLAGS.seeds} networks of 300 epochs'
  )


if __name__ == '__main__':
  flags.DEFINE_string('data', 'fashion_mnist', 'Data set.')
  flags.DEFINE_string('data_dir', '', 'Where it is.')
  flags.DEFINE_string('workdir', 'runs/time_to_accuracy', 'Where tries stay.')
  flags.DEFINE_float('accuracy', 82.9, 'In percent, to be reached.')
  flags.DEFINE_list('steps', ['100', '200', '400'], 'Image steps to try.')
  flags.DEFINE_list('dm_steps', [], 'Those of (d); none: the same.')
  flags.DEFINE_float('reference_rate', 0.01, 'Image rate of (a); 0: published.')
  flags.DEFINE_integer('ipc', 10, 'Stored images of a class.', lower_bound=1)
  flags.DEFINE_integer('factor', 2, 'Multi-formation factor.', lower_bound=1)
  flags.DEFINE_integer('width', 32, 'Of the ConvNet.', lower_bound=1)
  flags.DEFINE_integer('threads', 2, 'CPUs of each side; 0: all.')
  flags.DEFINE_integer('seeds', 3, 'Networks that learn a set.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the condensations and the networks.')
  flags.DEFINE_list('only', [], 'Letters of the sides; none: all of them.')
  flags.DEFINE_string('out', '', 'File for the report.')
  _command.run('Time to accuracy, IDC', _from_flags, _how)
