"""Task-incremental learning over sets with the same labels.

  python experiments/run.py --workdir=runs/tasks
    --config=experiments/configs/tasks.py:mnist+usps,schedule=short
    --config.data_dir=DATA

`svhn+mnist+usps` is the published order, `mnist+usps+digits` serves where SVHN
is not at hand. `schedule=reference`: 5000 iterations at rate 0.01 and 500 of
balanced fine-tuning at 0.001 (Zhao et al., 2021, first version). Its
distillation has weight 1 and T 2 in E2E's form, without the factor T^2: weight
1 / T^2 here.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _applications as apps, _shared as shared

DATA, LIKE = 'mnist+usps+digits', shared.LIKE
SCHEDULE = apps.SCHEDULE
choices = apps.choices


def get_config(arg: str | None = None):
  """Returns the config for `FIRST+SECOND[+...][,FIELD=VALUE...]`."""
  return settings.make('tasks', arg)


def run(chosen, workdir, **options):
  from dcjax.runs.applications import tasks

  return tasks.run(chosen, workdir, **options)


def values(chosen):
  short = apps.is_short(chosen)
  return apps.base(
    chosen,
    ('idc:factor=2', 'dm', 'herding', 'random'),
    **apps.domains(chosen),
    distillation=dict(temperature=2.0, weight=0.25),
    iterations=200 if short else 5000,
    training=apps.constant_rate(1, 0.01, batch_size=128 if short else 256),
    # Passes over the memories: two batches of 256 in the reference.
    balancing=apps.constant_rate(10 if short else 250, 0.001),
  )


def smoke(chosen):
  """Seconds."""
  made = apps.smoke(values(chosen), 'training', 'balancing')
  made['training']['epochs'] = 1
  return made | dict(iterations=4)
