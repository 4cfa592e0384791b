"""Sets the IDC step's FLOP/s and bytes/s against what the device can do.

  python benchmarks/utilisation.py --width=32,128 --out=utilisation.md

The peaks are a large matrix product and a large copy, timed in turns with the
step. FLOPs are counted twice: by the compiler (`cost_analysis`), which may miss
what it hands to a library and count the body of a loop once, and from the
shapes of all convolutions and products with loops multiplied out. Bytes are the
compiler's, with the same reservation.
"""

from collections.abc import Sequence

import _command
import _harness
from _harness import Alternative, Case, Limits, Measured
from _problem import idc_problem, parse_counts, parse_shape, shape_name
from absl import flags

_LABELS = ('width', 'images')


def report(
  limits: Limits,
  *,
  widths: Sequence[str],
  shapes: Sequence[str],
  matmul_size: int,
  copy_mib: int,
  **sizes: int,
) -> str:
  """Measures.

  Args:
    limits: see `Limits`.
    widths: of the ConvNet.
    shapes: `'28x28x1'`.
    matmul_size: rows and columns of the matrix product.
    copy_mib: MiB that are copied.
    **sizes: further sizes of the problem.

  Returns:
    Markdown.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  cases = []
  for width in parse_counts('width', widths):
    for shape in map(parse_shape, shapes):
      problem = idc_problem(width=width, image_shape=shape, **sizes)
      step = Alternative(
        'IDC step', '_dcjax_step', 'step', problem.options(analyse=True)
      )
      alternatives = [step, *peaks(matmul_size, copy_mib)]
      cases.append(Case((str(width), shape_name(shape)), alternatives))
  results = _harness.compare_cases(cases, limits)
  return _harness.table(
    _LABELS, results, reference='', columns=_columns(results)
  )


def peaks(matmul_size: int, copy_mib: int) -> list[Alternative]:
  """Returns the two measurements of what the device can do."""
  return [
    Alternative('matrix product', '_peak', 'matmul', {'size': matmul_size}),
    Alternative('copy', '_peak', 'copy', {'mib': copy_mib}),
  ]


def _columns(results) -> list[_harness.Column]:
  nothing = float('nan')

  def rate(fact):
    return lambda m: m.facts.get(fact, nothing) / m.wall_median / 1e9

  def best(fact):
    rates = [rate(fact)(m) for _, found in results for m in found[1:]]
    return max((r for r in rates if r == r), default=nothing)

  def column(title, quantity, form='.3g'):
    def cell(measured: Measured, _: Measured | None) -> str:
      return measured.failure or _harness.number(quantity(measured), form)

    return title, cell

  top, widest = best('flops'), best('bytes')
  return [
    _harness.COLUMNS[0],
    column('GFLOP (shapes)', lambda m: m.facts.get('flops', nothing) / 1e9),
    column(
      'GFLOP (compiler)',
      lambda m: m.facts.get('compiler_flops', nothing) / 1e9,
    ),
    column('GFLOP/s (shapes)', rate('flops')),
    column('of peak', lambda m: rate('flops')(m) / top, '.0%'),
    column(
      'GB (compiler)', lambda m: m.facts.get('compiler_bytes', nothing) / 1e9
    ),
    column(
      'GB/s',
      lambda m: max(
        (rate(f)(m) for f in ('bytes', 'compiler_bytes') if f in m.facts),
        default=nothing,
      ),
    ),
    column('of peak', lambda m: rate('compiler_bytes')(m) / widest, '.0%'),
  ]


def _from_flags():
  values = flags.FLAGS
  return report(
    _command.limits(),
    widths=values.width,
    shapes=values.shapes,
    matmul_size=values.matmul_size,
    copy_mib=values.copy_mib,
    ipc=values.ipc,
  )


if __name__ == '__main__':
  _command.define_flags()
  flags.DEFINE_list('width', ['32', '128'], 'Channels of the ConvNet.')
  flags.DEFINE_list('shapes', ['28x28x1', '32x32x3'], 'Image sizes.')
  flags.DEFINE_integer('ipc', 10, 'Stored images of a class.', lower_bound=1)
  flags.DEFINE_integer('matmul_size', 2048, 'Rows and columns.', lower_bound=1)
  flags.DEFINE_integer('copy_mib', 256, 'MiB to copy.', lower_bound=1)
  _command.run('Utilisation', _from_flags)
