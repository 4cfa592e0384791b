"""Times and weighs the IDC step as classes, ipc, factor and image size grow.

  python benchmarks/scaling.py --classes=10,100,1000 --size=8 --width=16
    --strategies=scan,10,vmap --out=scaling.md
  python benchmarks/scaling.py --vary=classes --classes=1000 --size=64
    --strategies=scan,10 --most_gib=8

One of them grows at a time, the others keep their first value. Class strategies
stand side by side; a number is that of classes batched at a time. Growth is the
cost over that of the first value, beside the growth of the value itself (of
pixels for sizes): equal means linear.
"""

from collections.abc import Mapping, Sequence

import _command
import _harness
from _harness import Alternative, Case, Limits, Measured
from _problem import Problem, idc_problem, parse_counts
from absl import flags

from dcjax.mapping import over_classes

VARIABLES = ('classes', 'ipc', 'factor', 'size')
_LABELS = ('grows', 'value')


def report(
  limits: Limits,
  *,
  values: Mapping[str, Sequence[str]],
  vary: Sequence[str],
  strategies: Sequence[str],
  channels: int,
  **sizes: int,
) -> str:
  """Measures.

  Args:
    limits: see `Limits`.
    values: variable -> its values, the first one for when another grows.
    vary: variables that grow.
    strategies: class strategies: `'scan'`, `'vmap'` or a number of classes.
    channels: of the images.
    **sizes: further sizes of the problem.

  Returns:
    Markdown.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  for name in vary:
    if name not in VARIABLES:
      raise ValueError(f'vary {name!r}: must be one of {VARIABLES}')
  read = {name: parse_counts(name, texts) for name, texts in values.items()}
  strategies = [int(s) if s.isdigit() else s for s in strategies]
  for strategy in strategies:
    over_classes(lambda x: x, strategy)  # Raises if it is unknown.
  tables = []
  for name in vary:
    cases = [
      _case(
        name, value, _problem(read, name, value, channels, sizes), strategies
      )
      for value in read[name]
    ]
    results = _harness.compare_cases(cases, limits)
    tables.append(_table(name, results))
  return '\n\n'.join(tables)


def _problem(read, name, value, channels, sizes) -> Problem:
  chosen = {n: values[0] for n, values in read.items()} | {name: value}
  side = chosen.pop('size')
  return idc_problem(image_shape=(side, side, channels), **chosen, **sizes)


def _case(name, value, problem, strategies) -> Case:
  return Case(
    (name, str(value)),
    [
      Alternative(
        f'chunks of {strategy}' if isinstance(strategy, int) else strategy,
        '_dcjax_step',
        'step',
        problem.options(classes=strategy),
      )
      for strategy in strategies
    ],
  )


def _table(name, results) -> str:
  """The usual columns, with growth in place of ratios."""
  first = {record.name: record for record in results[0][1]}
  power = 2 if name == 'size' else 1
  start = int(results[0][0].labels[1]) ** power

  def growth_of(quantity):
    def cell(measured: Measured, _: Measured | None) -> str:
      base = quantity(first[measured.name])
      grown = quantity(measured) / base if base > 0 else float('nan')
      return _harness.number(grown, '.1f')

    return cell

  rows = []
  for case, records in results:
    grown = int(case.labels[1]) ** power / start
    labels = (*case.labels, f'{grown:.1f}')
    rows.append((case._replace(labels=labels), records))
  columns = [
    *_harness.COLUMNS[:4],
    ('CPU growth', growth_of(lambda m: m.cpu_median)),
    ('memory growth', growth_of(lambda m: m.peak_gib)),
  ]
  return _harness.table(
    (*_LABELS, 'growth'), rows, reference='', columns=columns
  )


def _from_flags():
  values = flags.FLAGS
  return report(
    _command.limits(),
    values={name: values[name].value for name in VARIABLES},
    vary=values.vary,
    strategies=values.strategies,
    channels=values.channels,
    width=values.width,
    depth=values.depth,
    batch_real=values.batch_real,
    network_batches=values.network_batches,
  )


if __name__ == '__main__':
  _command.define_flags()
  flags.DEFINE_list('vary', ['classes', 'ipc', 'factor', 'size'], 'What grows.')
  flags.DEFINE_list('classes', ['10', '100', '1000'], 'Classes.')
  flags.DEFINE_list('ipc', ['1', '10', '50'], 'Stored images of a class.')
  flags.DEFINE_list('factor', ['1', '2', '3'], 'Multi-formation factor.')
  flags.DEFINE_list('size', ['8', '16', '32', '64'], 'Rows and columns.')
  flags.DEFINE_list('strategies', ['scan', '10', 'vmap'], 'Class strategies.')
  flags.DEFINE_integer('channels', 3, 'Of the images.', lower_bound=1)
  flags.DEFINE_integer('width', 16, 'Of the ConvNet.', lower_bound=1)
  flags.DEFINE_integer('depth', 3, 'Of the ConvNet.', lower_bound=1)
  flags.DEFINE_integer('batch_real', 64, 'Real images of a class in a step.')
  flags.DEFINE_integer('network_batches', 8, 'After the image step.')
  _command.run('Scaling of the IDC step', _from_flags)
