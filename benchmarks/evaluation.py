"""Times the training of 1, 5 and 20 networks on 100 images.

  python benchmarks/evaluation.py --networks=1,5,20 --width=32
    --out=evaluation.md

dcjax trains all of them in one compiled program, one after another (`scan`),
all at once (`vmap`), or spread over `--threads` devices of the CPU (`devices`,
as with `--cpu_devices`; not with `--noisolate`); PyTorch in a loop. Batches of
64, color, crop and CutMix, `--epochs` passes for each timed step.
"""

from collections.abc import Sequence

import _command
import _harness
from _harness import Alternative, Case, Limits
from _problem import Problem, idc_problem, parse_counts, parse_shape, shape_name
from absl import flags

_LOOP = 'PyTorch, loop'
_LABELS = ('networks', 'width', 'images')


def report(
  limits: Limits,
  *,
  networks: Sequence[str],
  widths: Sequence[str],
  shape: str,
  **sizes: int,
) -> str:
  """Measures.

  Args:
    limits: see `Limits`.
    networks: how many are trained.
    widths: of the ConvNet.
    shape: `'28x28x1'`.
    **sizes: further sizes of the problem: classes, ipc, epochs ...

  Returns:
    Markdown.

  Raises:
    ValueError: naming the flag whose value is wrong.
  """
  counts = parse_counts('networks', networks)
  cases = [
    _case(
      idc_problem(width=w, image_shape=parse_shape(shape), **sizes), n, limits
    )
    for w in parse_counts('width', widths)
    for n in counts
  ]
  problem = cases[0].alternatives[0].options['problem']
  if _command.has_torch():
    cases = [_with_torch(case, limits.threads) for case in cases]
  table = _harness.table(
    _LABELS, _harness.compare_cases(cases, limits), reference=_LOOP
  )
  what = (
    f'{problem["epochs"]} epochs on {problem["classes"] * problem["ipc"]} '
    f'images in batches of {problem["network_batch_size"]}, color, crop and '
    'CutMix. Ratios are to the loop.'
  )
  note = '' if _command.has_torch() else f'\n\n{_command.WITHOUT_TORCH}'
  return f'{what}\n\n{table}{note}'


def _case(problem: Problem, count: int, limits: Limits) -> Case:
  labels = (str(count), str(problem.width), shape_name(problem.image_shape))
  ways = {'scan': 'scan', 'vmap': 'vmap'}
  if limits.isolate and min(limits.threads, count) > 1:
    ways['devices'] = limits.threads  # set before anything runs in a process
  return Case(
    labels,
    [
      Alternative(
        f'dcjax, {name}',
        '_evaluation_step',
        'by_dcjax',
        problem.options(num_networks=count, seeds=seeds),
      )
      for name, seeds in ways.items()
    ],
  )


def _with_torch(case: Case, threads: int) -> Case:
  options = {**case.alternatives[0].options, 'threads': threads}
  del options['seeds']
  loop = Alternative(_LOOP, '_evaluation_step', 'by_torch', options)
  return case._replace(alternatives=[*case.alternatives, loop])


def _from_flags():
  values = flags.FLAGS
  return report(
    _command.limits(),
    networks=values.networks,
    widths=values.width,
    shape=values.shape,
    epochs=values.epochs,
    ipc=values.ipc,
  )


if __name__ == '__main__':
  _command.define_flags()
  flags.DEFINE_list('networks', ['1', '5', '20'], 'Networks to train.')
  flags.DEFINE_list('width', ['32'], 'Channels of the ConvNet.')
  flags.DEFINE_string('shape', '28x28x1', 'Size of the images.')
  flags.DEFINE_integer('epochs', 5, 'In a timed step.', lower_bound=1)
  flags.DEFINE_integer('ipc', 10, 'Images of each class.', lower_bound=1)
  _command.run('Evaluation', _from_flags)
