"""Times one step of DC, dcjax beside PyTorch.

  python benchmarks/dc_step.py --width=32,128 --epochs=50 --out=dc_step.md

A new network, all classes matched (256 real images, the synthetic ones, cosine
distance), one image step, then the network trained for `--epochs` on the
synthetic set: 50 at 10 images per class as published; 0 leaves the image step
alone. Rows of PyTorch need torch.
"""

import _command
from _harness import Limits
from _problem import dc_problem
from absl import flags

_WHAT = (
  'One step of DC: every class matched (cosine distance), the images stepped, '
  'then {epochs} epochs of the network. Ratios are to PyTorch.'
)


def report(limits: Limits, epochs: int, **sizes) -> str:
  """Measures; see `_command.step_report` for sizes and what is raised."""
  what = _WHAT.format(epochs=epochs)
  return _command.step_report(dc_problem, what, limits, epochs=epochs, **sizes)


def _from_flags():
  values = flags.FLAGS
  return report(
    _command.limits(),
    values.epochs,
    **_command.step_sizes(),
  )


if __name__ == '__main__':
  _command.define_flags()
  _command.define_step_flags(
    ['10'], classes=10, depth=3, batch_real=256, epochs=5
  )
  _command.run('DC, one step', _from_flags)
