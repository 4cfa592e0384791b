"""Times one inner iteration of IDC, dcjax beside PyTorch.

  python benchmarks/idc_step.py --width=32,128 --shapes=28x28x1,32x32x3
    --ipc=1,10,50 --out=idc_step.md

A new network, all classes matched (64 real images and the decoded synthetic
ones, siamese augmentation, gradients of both, image step), then 8 batches of 64
real images with augmentation and CutMix. Rows of PyTorch need torch; `--torch`
picks its forms: `lean`, `channels_last`, `backward`.
"""

import _command
from _harness import Limits
from _problem import idc_problem
from absl import flags

_WHAT = (
  'One inner iteration of IDC: every class matched (squared distance), then '
  'the network trained. Ratios are to PyTorch.'
)


def report(limits: Limits, **sizes) -> str:
  """Measures; see `_command.step_report` for sizes and what is raised."""
  return _command.step_report(idc_problem, _WHAT, limits, **sizes)


def _from_flags():
  values = flags.FLAGS
  return report(
    _command.limits(),
    factor=values.factor,
    network_batches=values.network_batches,
    **_command.step_sizes(),
  )


if __name__ == '__main__':
  _command.define_flags()
  _command.define_step_flags(
    ['1', '10', '50'],
    classes=10,
    depth=3,
    factor=2,
    batch_real=64,
    network_batches=8,
  )
  _command.run('IDC, one inner iteration', _from_flags)
