"""FTD: trajectories of experts in flat minima, and averaged images.

Du, Jiang, Tan, Zhou & Li, "Minimizing the Accumulated Trajectory Error to
Improve Dataset Distillation", CVPR 2023, https://arxiv.org/abs/2211.11004;
settings of the table in its code.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/ftd.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/ftd

Experts take adaptive GSAM's steps (`experts.rho`, `experts.alpha`). What is
stored is the exponential average of the images; the published code tests the
images themselves, too (`method.average_rate=0`). Published (ConvNet-3, ipc 1 /
10 / 50): CIFAR-10 46.8 / 66.6 / 73.8, CIFAR-100 25.2 / 43.4 / 50.7.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _shared as shared, mtt

DATA, LIKE = mtt.DATA, mtt.LIKE
choices, short, smoke = mtt.choices, mtt.short, mtt.smoke

# (data, ipc up to) -> N, M, latest start, batch of the set, rates of images and
# of the step size, the step size at first, alpha, rate of the average.
_TABLE = {
  ('cifar10', 1): (50, 2, 2, 0, 100, 1e-7, 0.01, 0.3, 0.9999),
  ('cifar10', 10): (30, 2, 20, 0, 100, 1e-5, 0.001, 0.3, 0.9995),
  ('cifar10', 50): (30, 2, 40, 0, 1e3, 1e-5, 0.01, 1.0, 0.999),
  ('cifar100', 1): (40, 3, 20, 0, 1e3, 1e-5, 0.01, 1.0, 0.9995),
  ('cifar100', 10): (20, 2, 40, 0, 1e3, 1e-5, 0.01, 1.0, 0.9995),
  ('cifar100', 50): (80, 2, 40, 1000, 1e3, 1e-5, 0.01, 1.0, 0.999),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('ftd', arg)


def values(chosen):
  steps, length, start, batch, rate, step_rate, first, alpha, average = (
    mtt.row_of(_TABLE, chosen)
  )
  changed = dict(
    step_size=f'plain:start={first!r}',
    method=dict(
      name='ftd',
      learning_rate=float(rate),
      step_size_learning_rate=step_rate,
      steps=steps,
      synthetic_batch=batch,
      last_start=start,
      length=length,
      average_rate=average,
    ),
    experts=dict(rho=0.01, alpha=alpha),
  )
  return shared.merged(mtt.values(chosen), changed)
