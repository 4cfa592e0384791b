"""Times one step of DM, dcjax beside PyTorch.

  python benchmarks/dm_step.py --width=32,128 --out=dm_step.md

A new network, the mean embeddings of every class compared (256 real images, the
synthetic ones, one siamese operation each), one image step. Rows of PyTorch
need torch.
"""

import _command
from _harness import Limits
from _problem import dm_problem

_WHAT = (
  'One step of DM: a new network, the mean embeddings of every class compared, '
  'the images stepped. Ratios are to PyTorch.'
)


def report(limits: Limits, **sizes) -> str:
  """Measures; see `_command.step_report` for sizes and what is raised."""
  return _command.step_report(dm_problem, _WHAT, limits, **sizes)


def _from_flags():
  return report(_command.limits(), **_command.step_sizes())


if __name__ == '__main__':
  _command.define_flags()
  _command.define_step_flags(['10'], classes=10, depth=3, batch_real=256)
  _command.run('DM, one step', _from_flags)
