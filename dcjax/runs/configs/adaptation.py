"""Few-shot domain adaptation: from a whole source set to a small target set.

  python experiments/run.py --workdir=runs/adaptation
    --config=experiments/configs/adaptation.py:mnist+usps,schedule=short
    --config.data_dir=DATA

`svhn+mnist` and `mnist+svhn` are the published pairs. Fine-tuning is that of
Zhao et al. (2021, first version, Table 4): rate 0.01, lowered to 0.001 after
300 iterations; they name no total, here 500.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _applications as apps, _shared as shared

DATA, LIKE = 'mnist+usps', shared.LIKE
SCHEDULE = apps.SCHEDULE
choices = apps.choices


def get_config(arg: str | None = None):
  """Returns the config for `SOURCE+TARGET[,FIELD=VALUE...]`."""
  return settings.make('adaptation', arg)


def run(chosen, workdir, **options):
  from dcjax.runs.applications import adaptation

  return adaptation.run(chosen, workdir, **options)


def values(chosen):
  return apps.base(
    chosen,
    ('idc:factor=2', 'dm', 'herding', 'k_center', 'random'),
    **apps.domains(chosen),
    source=apps.constant_rate(10 if apps.is_short(chosen) else 100, 0.01),
    # A set of at most a batch: a pass is an iteration.
    adapting=apps.constant_rate(
      500, 0.01, batch_size=1024, drops=(0.6,), drop_factor=0.1
    ),
  )


def smoke(chosen):
  """Seconds."""
  return apps.smoke(values(chosen), 'source', 'adapting')
