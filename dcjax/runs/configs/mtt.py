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
learned. Descendants by their fields: TESLA `method.exact=false
method.relabel=true`; FTD `experts.rho=0.01 experts.alpha=0.3
method.average_rate=0.9995`; DATM `stored_labels=hard:form=logits
method.label_learning_rate=2 method.grow_from=10 method.grow_steps=1000
method.reject_above=1.0` beside FTD's (its start from images that experts
classify right, and their logits, is left out). `schedule=short` has 10 experts
and 400 image steps. Published (ConvNet-3, width 128, ipc 1 / 10 / 50): CIFAR-10
46.3 / 65.3 / 71.6, CIFAR-100 24.3 / 40.1 / 47.7.
"""

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


def _published(chosen):
  known = any(name == chosen.like for name, _ in _TABLE)
  like = chosen.like if known else 'cifar10'
  rows = {ipc: row for (name, ipc), row in _TABLE.items() if name == like}
  row = rows[min((i for i in rows if i >= chosen.ipc), default=max(rows))]
  # Gray images are not in the table; whitening is for colours.
  return row if known else (*row[:-1], 'none')


def values(chosen):
  steps, length, start, batch, rate, step_rate, zca = _published(chosen)
  return matching.base(
    chosen,
    without=('batch_real', 'most_synthetic'),
    outer=50,
    zca=zca,
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
