"""What methods reach in the same seconds, as a table and a plot.

  python benchmarks/equal_seconds.py --data=cifar10 --ipc=1 --minutes=1,3,10,30
    --data_dir=DATA --workdir=runs/seconds --plot=seconds.svg

Every method condenses for the longest of `--minutes` at `schedule=short`: two
outer iterations are timed first, and as many are made as fit. On the way its
set is tested at the shorter ones, always by networks of the same kind and in
the same way (`--protocol`). Labels of FRePo and RCIG lie around zero, and their
sets are tested by their own protocols; MTT's networks learn at the rate that
its set has learned. Seconds hold all that a method needs before it condenses,
as MTT's experts; not compilation, and no tests. Finished runs stay in
`--workdir`, and the same command goes on with the others. Curves stay in
`--records`, which can be committed: what is there is not run again, and
`--page` draws all of it.
"""

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import _command
from _child import limit_threads
from _problem import parse_counts
from _race_records import Curve, Point, add, draw, plot, read, table
from absl import flags

from dcjax import runs
from dcjax.runs import settings
from dcjax.runs.report import _figure
from dcjax.runs.tables._records import commit

_PROBED = 2  # outer iterations that are timed before
# Stages that come after what is timed.
_AFTER = ('artefact', 'condense', 'evaluate', 'labels', 'own/', 'select/')
_EIGHT_BITS = {'storage': 'uint8'}
# Method -> its config, arguments, and what differs from `schedule=short`.
METHODS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
  'IDC': ('idc', 'factor=2', _EIGHT_BITS),
  'DM': ('dm', '', _EIGHT_BITS),
  'MTT': ('mtt', '', {}),
  'FRePo': ('frepo', '', {}),
  'RCIG': ('rcig', '', {}),
  'RaT-BPTT': (
    'rat_bptt',
    '',
    {'method.inner_steps': 5, 'augment.evaluate': 'auto'},
  ),
}
_OWN_PROTOCOL = ('FRePo', 'RCIG')


class Budget(NamedTuple):
  """What the seconds of a method are spent on.

  Attributes:
    before: seconds before it condenses.
    outer: seconds of an outer iteration.
  """

  before: float
  outer: float


def measure(
  arguments: str,
  workdir: str | os.PathLike[str],
  *,
  minutes: Sequence[str],
  methods: Sequence[str] = (),
  protocol: str = 'dm',
  changes: Mapping[str, Any] | None = None,
) -> dict[str, list[Point]]:
  """Runs what is missing.

  Args:
    arguments: of every config: `'cifar10,ipc=1'`.
    workdir: of the runs.
    minutes: after which sets are tested; the longest ends the run.
    methods: names; none for all.
    protocol: how networks are trained on sets, but for `_OWN_PROTOCOL`.
    changes: dotted config field -> value, for every run.

  Returns:
    Method -> its sets, from the start on.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  marks = [60 * m for m in sorted(parse_counts('minutes', minutes))]
  if wrong := set(methods) - set(METHODS):
    raise ValueError(f'only {sorted(wrong)}: must be some of {[*METHODS]}')
  found = {}
  for name in methods or METHODS:
    place = pathlib.Path(workdir) / name
    more = dict(changes or {})
    if name not in _OWN_PROTOCOL:
      more |= {'evaluation.protocol': protocol, 'evaluation.family': 'dsa'}
    budget = _probed(place, name, arguments, more)
    found[name] = _raced(place, name, arguments, more, budget, marks)
    said = ', '.join(f'{p.mean:.1f} at {p.seconds:.0f} s' for p in found[name])
    print(f'{name}: {said}', file=sys.stderr)
  return found


def _config(name, arguments, changes):
  recipe, own, more = METHODS[name]
  words = ','.join(w for w in (arguments, own, 'schedule=short') if w)
  config = settings.make(recipe, words)
  settings.set_fields(
    config,
    {**more, 'evaluation.baselines': ('initial',), **changes},
  )
  return config


def _probed(place, name, arguments, changes) -> Budget:
  """Times a few outer iterations, once."""
  file = place / 'probe.json'
  if not file.exists():
    asked = {**changes, 'outer': _PROBED, 'evaluation.at': ()}
    config = _config(name, arguments, asked)
    runs.condensed(config, place / 'probe', store=place / 'shared')
    stages = json.loads((place / 'probe/stages.json').read_text('utf-8'))
    seconds = {n: entry['seconds'] for n, entry in stages.items()}
    before = sum(s for n, s in seconds.items() if not n.startswith(_AFTER))
    lines = (place / 'probe/metrics.jsonl').read_text('utf-8').splitlines()
    took = [m['seconds'] for m in map(json.loads, lines) if 'loss' in m]
    budget = Budget(before, took[-1] / _PROBED)
    file.write_text(json.dumps(budget._asdict()), encoding='utf-8')
  return Budget(**json.loads(file.read_text('utf-8')))


def _raced(place, name, arguments, changes, budget, marks) -> list[Point]:
  counts = [max(0, int((m - budget.before) / budget.outer)) for m in marks]
  outer = counts[-1]
  if not outer:
    raise ValueError(
      f'minutes {marks[-1] / 60:g}: {name} needs {budget.before:.0f} s and '
      f'{budget.outer:.0f} s for each outer iteration'
    )
  at = tuple(count / outer for count in counts[:-1] if count)
  asked = {**changes, 'outer': outer, 'evaluation.at': at}
  config = _config(name, arguments, asked)
  results = runs.run(config, place / 'run', store=place / 'shared')
  return [
    Point(
      c['outer'] and c['seconds'] + budget.before,
      100 * c['accuracy_mean'],
      100 * c['accuracy_std'],
    )
    for c in results['checkpoints']
  ]


def recorded(
  path: str | os.PathLike[str],
  found: Mapping[str, Curve],
  names: Sequence[str],
  settings: Mapping[str, Any],
) -> dict[str, Sequence[Point]]:
  """Curves that a file holds already, made in the same way; says the others.

  Args:
    path: of the file, for messages.
    found: what it holds.
    names: methods that are asked for.
    settings: that a curve must have been made with.
  """
  kept = {}
  for name in names:
    if name not in found:
      continue
    other = found[name].settings
    if other == settings:
      kept[name] = found[name].points
    else:
      differs = {
        k for k in {*other, *settings} if other.get(k) != settings.get(k)
      }
      print(
        f'{path}: {name} was made with other {", ".join(sorted(differs))}, so '
        'it is made anew',
        file=sys.stderr,
      )
  return kept


def _from_flags():
  values = flags.FLAGS
  limit_threads(values.threads)
  if values.page and not values.records:
    raise ValueError(f'page {values.page!r}: needs --records, which it draws')
  minutes = sorted(parse_counts('minutes', values.minutes))
  settings_ = {
    'minutes': minutes,
    'protocol': values.protocol,
    'networks': values.seeds,
    'seed': values.seed,
    'threads': values.threads,
  }
  place = f'{values.data}-{values.ipc}'
  names = values.only or [*METHODS]
  path = pathlib.Path(values.records) / f'{place}.json'
  curves = read(path) if values.records else {}
  found = recorded(path, curves, names, settings_)
  for name in names:
    if name in found:
      continue
    found |= measure(
      f'{values.data},ipc={values.ipc}',
      pathlib.Path(values.workdir) / place,
      minutes=values.minutes,
      methods=[name],
      protocol=values.protocol,
      changes={
        'data_dir': values.data_dir,
        'seed': values.seed,
        'evaluation.seeds': values.seeds,
      },
    )
    if values.records:
      made = {'machine': _command.machine(), 'commit': commit()}
      add(path, name, Curve(found[name], settings_, made))
  if values.page:
    draw(values.records, values.page)
  found = {name: found[name] for name in names}
  if values.plot:
    title = f'{values.data}, {values.ipc} stored images a class'
    _figure.save([plot(found, title)], values.plot)
  return table(found, minutes)


def _how():
  return (
    f'{flags.FLAGS.threads or "all"} threads; seed {flags.FLAGS.seed}, '
    f'{flags.FLAGS.seeds} networks a set'
  )


if __name__ == '__main__':
  flags.DEFINE_string('data', 'cifar10', 'Data set.')
  flags.DEFINE_string('data_dir', '', 'Where it is.')
  flags.DEFINE_string('workdir', 'runs/equal_seconds', 'Where runs stay.')
  flags.DEFINE_integer('ipc', 1, 'Stored images of a class.', lower_bound=1)
  flags.DEFINE_list('minutes', ['1', '3', '10', '30'], 'Of each method.')
  flags.DEFINE_list('only', [], f'Methods: {", ".join(METHODS)}; none: all.')
  flags.DEFINE_string('protocol', 'dm', 'How networks learn the sets.')
  flags.DEFINE_integer('threads', 2, 'CPUs of each method; 0: all.')
  flags.DEFINE_integer('seeds', 3, 'Networks that learn a set.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the condensations and the networks.')
  flags.DEFINE_string('records', '', 'Folder where curves stay.')
  flags.DEFINE_string('page', '', 'File to draw all curves of --records into.')
  flags.DEFINE_string('plot', '', 'File for the plot: SVG, PDF or PNG.')
  flags.DEFINE_string('out', '', 'File for the report.')
  _command.run('Equal seconds', _from_flags, _how)
