"""Membership inference on small sets.

  python experiments/run.py --workdir=runs/membership
    --config=experiments/configs/membership.py:fashion_mnist,schedule=short
    --config.data_dir=DATA

FRePo attacks networks trained on 50 images a class made of 10,000 MNIST images;
the set that starts from real images (`idc`, `dm`) is compared with one that
starts from noise (`dc`), with coresets, and with all members.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _applications as apps, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
SCHEDULE = apps.SCHEDULE
choices = apps.choices


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('membership', arg)


def run(chosen, workdir, **options):
  from dcjax.runs.applications import membership

  return membership.run(chosen, workdir, **options)


def values(chosen):
  short = apps.is_short(chosen)
  return apps.base(
    chosen,
    ('idc:factor=2', 'dm', 'random'),
    most_images=250 if short else 0,
    training=apps.training(150 if short else 1000),
    members=apps.training(30 if short else 100),
    false_positive_rates=(0.001, 0.01),
  )


def smoke(chosen):
  """Seconds."""
  made = apps.smoke(values(chosen), 'training', 'members')
  return made | dict(most_images=10)
