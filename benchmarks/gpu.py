"""Shows what an accelerator makes of the IDC step, dcjax beside PyTorch.

  python benchmarks/gpu.py --width=128 --shape=32x32x3 --ipc=10 --out=gpu.md

Class updates per second and the fraction of the peak for every precision, class
strategy and convolution form, against the same step in PyTorch on the same
device. Needs one GPU with 8 GiB or more, `pip install 'dcjax[cuda]'` and a
PyTorch built for CUDA (its rows are left out where it is missing); without a
GPU everything runs on the CPU, which tests the script and shows nothing. The
peak is a large matrix product in the same precision; `--peak_tflops` sets the
data sheet's number in its place.
"""

from collections.abc import Sequence

import _command
import _harness
from _harness import Alternative, Case, Limits, Measured
from _problem import Problem, idc_problem, parse_shape
from absl import flags

from dcjax.networks import resolve_form
from dcjax.utils import check_choice

_PRECISIONS = ('float32', 'tf32', 'bfloat16')


def report(
  limits: Limits,
  *,
  precisions: Sequence[str],
  strategies: Sequence[str],
  conv_forms: Sequence[str],
  shape: str,
  device: str,
  matmul_size: int,
  peak_tflops: float = 0.0,
  **sizes: int,
) -> str:
  """Measures.

  Args:
    limits: see `Limits`.
    precisions: of `'float32'`, `'tf32'`, `'bfloat16'`.
    strategies: class strategies: `'scan'`, `'vmap'` or a number of classes.
    conv_forms: see `dcjax.networks.convolve`.
    shape: `'32x32x3'`.
    device: of PyTorch: `'cuda'` or `'cpu'`; '' for no rows of it.
    matmul_size: rows and columns of the matrix product.
    peak_tflops: of the device, in place of that product; 0 to measure.
    **sizes: further sizes of the problem.

  Returns:
    Markdown.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  for precision in precisions:
    check_choice('precisions', precision, _PRECISIONS)
  for form in conv_forms:
    resolve_form(form)
  problem = idc_problem(image_shape=parse_shape(shape), **sizes)
  cases = []
  for precision in precisions:
    alternatives = _ours(problem, precision, strategies, conv_forms)
    if device:
      alternatives.append(_theirs(problem, precision, device))
    options = {'size': matmul_size, 'precision': precision}
    peak = Alternative('matrix product', '_peak', 'matmul', options)
    cases.append(Case((precision,), [*alternatives, peak]))
  results = _harness.compare_cases(cases, limits)
  return _table(results, problem, peak_tflops)


def _ours(problem: Problem, precision, strategies, conv_forms):
  return [
    Alternative(
      f'dcjax, {strategy}, {form}',
      '_dcjax_step',
      'step',
      problem.options(
        classes=int(strategy) if strategy.isdigit() else strategy,
        conv_form=form,
        precision=precision,
        analyse=True,
      ),
    )
    for strategy in strategies
    for form in conv_forms
  ]


def _theirs(problem: Problem, precision, device):
  options = problem.options(device=device, precision=precision)
  return Alternative(_command.PYTORCH, '_torch_step', 'step', options)


def _table(results, problem: Problem, peak_tflops: float) -> str:
  """Columns of speed; FLOPs are those of the leanest dcjax program."""
  nothing = float('nan')
  useful = min(
    (
      m.facts['flops']
      for _, found in results
      for m in found[:-1]
      if 'flops' in m.facts
    ),
    default=nothing,
  )
  peak_of = {
    case.labels[0]: peak_tflops or _rate(found[-1], found[-1].facts['flops'])
    for case, found in results
    if peak_tflops or not found[-1].failure
  }
  named = [
    (
      case,
      [m._replace(facts={**m.facts, 'case': case.labels[0]}) for m in found],
    )
    for case, found in results
  ]

  def work(measured: Measured) -> float:
    product = measured.name == 'matrix product'
    return measured.facts.get('flops', nothing) if product else useful

  def fraction(measured: Measured, _: Measured | None) -> str:
    peak = peak_of.get(measured.facts['case'], nothing)
    return _harness.number(_rate(measured, work(measured)) / peak, '.0%')

  def updates(measured: Measured, _: Measured | None) -> str:
    if measured.name == 'matrix product':
      return '—'
    return _harness.number(problem.classes / measured.wall_median)

  def speedup(measured: Measured, base: Measured | None) -> str:
    if base is None or base.name != _command.PYTORCH:
      return '—'
    return _harness.number(base.wall_median / measured.wall_median, '.1f')

  columns = [
    _harness.COLUMNS[0],
    ('class updates / s', updates),
    ('times PyTorch', speedup),
    ('TFLOP/s', lambda m, _: _harness.number(_rate(m, work(m)))),
    ('of peak', fraction),
    *_harness.COLUMNS[2:4],
  ]
  return _harness.table(
    ('precision',), named, reference=_command.PYTORCH, columns=columns
  )


def _rate(measured: Measured, flops: float) -> float:
  return flops / measured.wall_median / 1e12


def torch_device() -> str:
  """Returns where PyTorch can run: 'cuda', 'cpu', or '' without PyTorch."""
  if not _command.has_torch():
    return ''
  import torch

  return 'cuda' if torch.cuda.is_available() else 'cpu'


def _from_flags():
  values = flags.FLAGS
  return report(
    _command.limits(),
    precisions=values.precisions,
    strategies=values.strategies,
    conv_forms=values.conv_forms,
    shape=values.shape,
    device=torch_device(),
    matmul_size=values.matmul_size,
    peak_tflops=values.peak_tflops,
    width=values.width,
    depth=values.depth,
    ipc=values.ipc,
    batch_real=values.batch_real,
    network_batches=values.network_batches,
  )


if __name__ == '__main__':
  _command.define_flags()
  flags.FLAGS.set_default('threads', 0)
  flags.DEFINE_list('precisions', list(_PRECISIONS), 'Of networks.')
  flags.DEFINE_list('strategies', ['scan', '5', 'vmap'], 'Class strategies.')
  flags.DEFINE_list(
    'conv_forms', ['lax', 'patches', 'hybrid'], 'Convolution forms.'
  )
  flags.DEFINE_string('shape', '32x32x3', 'Size of the images.')
  flags.DEFINE_integer('width', 128, 'Of the ConvNet.', lower_bound=1)
  flags.DEFINE_integer('depth', 3, 'Of the ConvNet.', lower_bound=1)
  flags.DEFINE_integer('ipc', 10, 'Stored images of a class.', lower_bound=1)
  flags.DEFINE_integer('batch_real', 64, 'Real images of a class in a step.')
  flags.DEFINE_integer('network_batches', 32, 'After the image step.')
  flags.DEFINE_integer('matmul_size', 8192, 'Rows and columns.', lower_bound=1)
  flags.DEFINE_float('peak_tflops', 0.0, 'Of the data sheet; 0: measured.')
  _command.run('IDC on an accelerator', _from_flags)
