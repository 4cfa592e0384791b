"""TESLA: trajectories matched in the memory of a single step.

Cui, Wang, Si & Hsieh, "Scaling Up Dataset Distillation to ImageNet-1K with
Constant Memory", ICML 2023, https://arxiv.org/abs/2211.10586; settings of the
commands that its code gives, and of MTT where it gives none.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/tesla.py:cifar10,ipc=1
    --config.data_dir=DATA --workdir=runs/tesla

What a step's gradient owes to the images of earlier steps is dropped. The
published code loses a factor of 2 of the images' gradient; here rates are
halved to make the same steps. ImageNet-1k's images are labelled anew in every
step by the network at the segment's end (`method.relabel`). Published
(ConvNet-3, ipc 1 / 10 / 50): CIFAR-10 48.5 / 66.4 / 72.6.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _shared as shared, mtt

DATA, LIKE = mtt.DATA, mtt.LIKE
choices, short, smoke = mtt.choices, mtt.short, mtt.smoke

# (data, ipc up to) -> N, M, latest start, batch of the set, rates of images (as
# printed) and of the step size, whitening, whether images are labelled anew.
_TABLE = {
  ('cifar10', 1): (50, 2, 5, 0, 1e3, 1e-7, 'none', False),
  ('cifar100', 50): (80, 2, 40, 125, 1e3, 1e-5, 'mtt', False),
  ('imagenet1k', 1): (10, 3, 10, 100, 1e4, 1e-4, 'none', True),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('tesla', arg)


def values(chosen):
  made = shared.merged(
    mtt.values(chosen), dict(outer=100, method=dict(name='tesla', exact=False))
  )
  if not any(n == chosen.like and chosen.ipc <= i for n, i in _TABLE):
    return made
  row = mtt.row_of(_TABLE, chosen)
  steps, length, start, batch, rate, step_rate, zca, relabel = row
  changed = dict(
    zca=zca,
    method=dict(
      learning_rate=rate / 2,
      step_size_learning_rate=step_rate,
      steps=steps,
      synthetic_batch=batch,
      last_start=start,
      length=length,
      relabel=relabel,
    ),
  )
  return shared.merged(made, changed)
