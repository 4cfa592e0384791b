"""RaT-BPTT: a window at a random place of a long unrolled training.

Feng, Vedantam & Kempe, "Embarrassingly Simple Dataset Distillation", ICLR 2024,
https://arxiv.org/abs/2311.07025; settings of the published code, which
gives none for CIFAR-10 at 1 and 50 images a class (those of 10 are taken). The
noise that images start from is not brought to one length, as theirs is.

  python experiments/run.py --config=experiments/configs/rat_bptt.py:cifar10
    --config.data_dir=DATA --workdir=runs/rat

Test networks are trained by Adam, as the networks inside are, for 3000 updates,
and tested after 300, 600 and 1000 of them, too: the paper prints the best.

`method.position=late` differentiates the last steps always, as truncated
back-propagation does. `schedule=short` makes 200 image steps with a window of
10 in 40. Published (ConvNet-3, ipc 1 / 10 / 50): CIFAR-10 53.2 / 69.4 / 75.3,
CIFAR-100 35.3 / 47.5 / 50.6.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _matching as matching, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
choices, smoke = matching.choices, matching.smoke

# (data, ipc up to) -> window, steps, where, images of a class in a step, rate.
_TABLE = {
  ('cifar10', 50): (60, 200, 'random', 0, 1e-3),
  ('cifar100', 1): (90, 130, 'late', 1, 3e-4),
  ('cifar100', 50): (100, 300, 'random', 1, 1e-3),
  ('tiny_imagenet', 50): (100, 300, 'random', 1, 3e-4),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('rat_bptt', arg)


def values(chosen):
  known = any(name == chosen.like for name, _ in _TABLE)
  like = chosen.like if known else 'cifar10'
  rows = {ipc: row for (name, ipc), row in _TABLE.items() if name == like}
  size = min((i for i in rows if i >= chosen.ipc), default=max(rows))
  window, steps, position, per_class, rate = rows[size]
  many = chosen.like in ('cifar100', 'tiny_imagenet')
  turned = 'flip_rotate' if shared.mirrors(chosen.like) else 'rotate'
  unwhitened = chosen.like in (*shared.GREY, 'tiny_imagenet')
  # A step of the test sees as many images as one of the training inside.
  tested = {'batch_size': per_class * shared.classes(chosen.like)}
  return matching.base(
    chosen,
    without=('most_synthetic', 'augment.match'),
    outer=6000,
    zca='none' if unwhitened else 'kip_unit',
    start='normal',
    stored_labels='hard:form=nonnegative' if many else '',
    method=dict(
      name='rat_bptt',
      learning_rate=rate,
      window=window,
      position=position,
      unrolled_steps=steps,
      unrolled_learning_rate=1e-3,
      unrolled_per_class=per_class,
      clip=2.0,
      batch_real=50 if many else 500,
      inner_steps=10,
    ),
    # One of the two operations is drawn for each batch.
    augment=dict(family='dsa', train=turned, evaluate=turned),
    evaluation=dict(
      protocol='rat_bptt',
      epochs=-(-3000 // max(1, chosen.ipc // (per_class or chosen.ipc))),
      seeds=8,
      baselines=('initial', 'random'),
      **(tested if per_class else {}),
    ),
  )


def short(chosen):
  """200 image steps, a short window, fewer real images."""
  return matching.short(
    chosen,
    outer=20,
    method=dict(
      window=10, unrolled_steps=40, learning_rate=1e-2, batch_real=50
    ),
  )
