"""Class-incremental learning: classes come in steps, memories stay.

  python experiments/run.py --workdir=runs/continual
    --config=experiments/configs/continual.py:cifar10,schedule=short
    --config.data_dir=DATA

`sets.names` says what is kept: coresets, or configs of methods with settings.
CIFAR-100 comes in five steps in IDC's published order, other sets in the order
of their labels; `schedule=reference` is Kim et al. (2022), section 5.3: 20
images per class, 1000 epochs, batches of 64, T = 2, beta = 1. There IDC's
memory reaches 67.9 % after 20 and 49.6 % after 100 classes.
"""

from dcjax import applications
from dcjax.runs import settings
from dcjax.runs.configs import _applications as apps, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
SCHEDULE = apps.SCHEDULE


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('continual', arg)


def run(chosen, workdir, **options):
  from dcjax.runs.applications import continual

  return continual.run(chosen, workdir, **options)


def choices(chosen):
  made = apps.choices(chosen)
  if chosen.data == 'cifar100':
    made['data_options'] = {'stats': 'cifar100_continual'}
  return made | dict(ipc=2 if chosen.smoke else 10)


def values(chosen):
  order = ()
  if chosen.data == 'cifar100':
    published = applications.published_class_order(100)
    order = tuple(int(c) for c in published)
  short = apps.is_short(chosen)
  names = ('idc:factor=2', 'dm', 'herding', 'random')
  if not short:
    names = ('idc:factor=2', 'idc:factor=1', 'dm', 'herding', 'random')
  return apps.base(
    chosen,
    names,
    steps=5,
    order=order,
    modes=('scratch', 'continued'),
    distillation=dict(temperature=2.0, weight=1.0),
    training=apps.training(150 if short else 1000),
  )


def smoke(chosen):
  """Seconds."""
  return apps.smoke(values(chosen), 'training')
