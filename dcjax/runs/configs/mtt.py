"""MTT: dataset distillation by matching training trajectories.

Cazenavette, Wang, Torralba, Efros & Zhu, CVPR 2022,
https://arxiv.org/abs/2203.11932; settings of its table, whose image rate for
CIFAR-10 at 10 images a class, 100,000, its author calls a typo: here 1000. Only
the rows of CIFAR-100 at one image and of ImageNet were compared with its code.

  # needs an accelerator
  python experiments/run.py --config=experiments/configs/mtt.py:cifar10,ipc=1
    --config.data_dir=DATA --workdir=runs/mtt

Experts are trained first, a few at a time, and kept in the run's folder;
`--store` shares them between runs. Test networks train at the rate that the set
learned. Its descendants have configs of their own: `tesla`, `ftd`, `datm`.
`schedule=short` has 10 experts and 400 image steps. Published (ConvNet-3 of
width 128, ipc 1 / 10 / 50): CIFAR-10 46.3 / 65.3 / 71.6, CIFAR-100 24.3 / 40.1
/ 47.7.
"""

from collections.abc import Mapping
from typing import Any

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke

# (data, ipc up to) -> N, M, latest start, batch of the set, rates of images and
# of the step size, whitening.
_TABLE = {
  ('cifar10', 1): (50, 2, 2, 0, 1e2, 1e-7, 'mtt'),
  ('cifar10', 10): (30, 2, 20, 0, 1e3, 1e-6, 'mtt'),
  ('cifar10', 50): (30, 2, 40, 0, 1e3, 1e-5, 'none'),
  ('cifar100', 1): (20, 3, 20, 0, 1e3, 1e-5, 'mtt'),
  ('cifar100', 10): (20, 2, 20, 0, 1e3, 1e-5, 'mtt'),
  ('cifar100', 50): (80, 2, 40, 125, 1e3, 1e-5, 'mtt'),
  ('tiny_imagenet', 1): (10, 2, 10, 0, 1e4, 1e-4, 'none'),
  ('tiny_imagenet', 10): (20, 2, 40, 200, 1e4, 1e-4, 'none'),
  ('tiny_imagenet', 50): (20, 2, 40, 300, 1e4, 1e-4, 'none'),
  ('imagenet10', 1): (20, 2, 10, 0, 1e5, 1e-6, 'none'),
  ('imagenet10', 10): (20, 2, 10, 20, 1e5, 1e-6, 'none'),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('mtt', arg)


def row_of(
  table: Mapping[tuple[str, int], tuple[Any, ...]], chosen: Any
) -> tuple[Any, ...]:
  """The row of a data set and of as many images or more; else of CIFAR-10.

  Args:
    table: (published set, ipc up to) -> settings.
    chosen: see `settings.Chosen`.
  """
  known = any(name == chosen.like for name, _ in table)
  like = chosen.like if known else 'cifar10'
  rows = {ipc: row for (name, ipc), row in table.items() if name == like}
  return rows[min((i for i in rows if i >= chosen.ipc), default=max(rows))]


def whitens(table: Mapping[tuple[str, int], Any], chosen: Any) -> bool:
  """Whether a table's whitening is meant: it is for colours that it knows."""
  return any(name == chosen.like for name, _ in table)


def values(chosen):
  steps, length, start, batch, rate, step_rate, zca = row_of(_TABLE, chosen)
  return matching.base(
    chosen,
    without=('batch_real', 'most_synthetic', 'augment.match'),
    outer=50,
    zca=zca if whitens(_TABLE, chosen) else 'none',
    step_size='plain:start=0.01',
    method=dict(
      name='mtt',
      learning_rate=rate,
      step_size_learning_rate=step_rate,
      label_learning_rate=0.0,
      steps=steps,
      synthetic_batch=batch,
      first_start=0,
      last_start=start,
      length=length,
      grow_from=0,
      grow_steps=1,
      exact=True,
      relabel=False,
      reject_above=0.0,
      average_rate=0.0,
      inner_steps=100,
    ),
    experts=dict(
      count=100,
      at_once=10,
      learning_rate=0.01,
      batch_size=256,
      rho=0.0,
      alpha=0.3,
      seed=0,
    ),
    augment=dict(family='dsa'),
    evaluation=dict(protocol='dm', baselines=('initial', 'random')),
  )


def short(chosen):
  """Ten experts of three epochs; larger steps of the step size."""
  return matching.short(
    chosen,
    outer=4,
    method=dict(steps=20, last_start=2, length=2, step_size_learning_rate=1e-5),
    experts=dict(count=10),
  )
