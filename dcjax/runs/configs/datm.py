"""DATM: trajectories whose difficulty grows, and learned soft labels.

Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
Trajectory Matching", ICLR 2024, https://arxiv.org/abs/2310.05773; settings of
its code.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/datm.py:cifar10,ipc=10
    --config.data_dir=DATA --workdir=runs/datm

Images start as real ones that an expert classifies right, labels as the mean
logits of the experts that do (`start=experts`). The latest epoch that a segment
starts from grows (`method.grow_from`, `method.grow_steps`), and steps whose
loss is above 1 are not made. Experts are FTD's, with as many epochs as segments
use, where the published ones have 100. The table of the published code has an
average of the images, which its loop does not make. Published (ConvNet-3, ipc 1
/ 10 / 50 / 500): CIFAR-10 46.9 / 66.8 / 76.1 / 83.5; CIFAR-100 (1 / 10 / 50)
27.9 / 47.2 / 55.0.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _shared as shared, mtt

DATA, LIKE = mtt.DATA, mtt.LIKE
choices, smoke = mtt.choices, mtt.smoke

# (data, ipc up to) -> N, M, starts from, below at first, below at last, after
# as many steps, rates of images, labels and the step size, batch of the set.
_TABLE = {
  ('cifar10', 1): (80, 2, 0, 4, 4, 1, 100, 5, 1e-7, 0),
  ('cifar10', 10): (80, 2, 0, 10, 20, 1000, 100, 2, 1e-5, 0),
  ('cifar10', 50): (80, 2, 0, 20, 40, 2000, 1000, 2, 1e-5, 0),
  ('cifar10', 500): (40, 2, 40, 60, 60, 1, 50, 10, 1e-5, 1000),
  ('cifar10', 1000): (100, 2, 40, 60, 60, 1, 50, 10, 1e-5, 1000),
  ('cifar100', 1): (40, 3, 0, 10, 20, 1000, 1000, 10, 1e-5, 0),
  ('cifar100', 10): (80, 2, 0, 30, 50, 2000, 1000, 10, 1e-5, 0),
  ('cifar100', 50): (80, 2, 20, 70, 70, 1, 1000, 10, 1e-5, 1000),
  ('cifar100', 100): (80, 2, 30, 70, 70, 1, 50, 10, 1e-5, 1000),
  ('tiny_imagenet', 1): (40, 2, 0, 15, 20, 2000, 1e4, 10, 1e-4, 0),
  ('tiny_imagenet', 10): (40, 2, 10, 50, 50, 1, 100, 10, 1e-4, 500),
  ('tiny_imagenet', 50): (20, 2, 40, 70, 70, 1, 100, 10, 1e-4, 1000),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('datm', arg)


def values(chosen):
  steps, length, first, early, last, grows, rate, labels, step_rate, batch = (
    mtt.row_of(_TABLE, chosen)
  )
  changed = dict(
    outer=100,
    zca='mtt' if mtt.whitens(_TABLE, chosen) else 'none',
    start='experts',
    stored_labels='hard:form=logits',
    method=dict(
      name='datm',
      learning_rate=float(rate),
      label_learning_rate=float(labels),
      step_size_learning_rate=step_rate,
      steps=steps,
      synthetic_batch=batch,
      first_start=first,
      last_start=last,
      length=length,
      grow_from=0 if early == last else early,
      grow_steps=grows,
      reject_above=1.0,
    ),
    experts=dict(rho=0.01, alpha=0.3),
  )
  return shared.merged(mtt.values(chosen), changed)


def short(chosen):
  """Ten experts of three epochs, and starts that are matched from the first."""
  return shared.merged(
    mtt.short(chosen), dict(method=dict(first_start=0, grow_from=0))
  )
