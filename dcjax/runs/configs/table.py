"""Tables and figures of the papers, published and measured side by side.

  python experiments/run.py --config=experiments/configs/table.py:idc_table1
    --config.data_dir=DATA --workdir=runs/table1

`size=short` (the default) takes minutes a run on two CPU cores, `reference` is
the published schedule, `smoke` takes seconds, on the digits. The folder holds
`table.md`, `table.html` and the runs; tables in one folder share runs. The same
command goes on after a stop. `changes` sets fields of every run, as
`changes=evaluation.seeds=5;outer=3`, `only` restricts to a row or a run,
`columns` to columns (`columns=Random+Herding`), and `dataset` takes another
data set. Nothing is condensed of which no chosen cell needs the images.
"""

from dcjax.runs import settings
from dcjax.runs.configs import _shared as shared

DATA, LIKE = 'digits', shared.LIKE
# What stands first after the colon.
FIRST = 'table'


def get_config(arg: str | None = None):
  """Returns the config for `TABLE[,size=][,dataset=][,FIELD=VALUE...]`."""
  return settings.make('table', arg)


def run(chosen, workdir, **options):
  """Makes the table that the settings name."""
  from dcjax.runs.tables import make

  return make(chosen, workdir, **options)


def choices(chosen):
  return dict(ipc=1, factor=1, network='convnet')


def values(chosen):
  del chosen
  return dict(
    table='',
    size='short',
    dataset='',
    only='',
    columns='',
    changes='',
    records='',
  )


def smoke(chosen):
  """Seconds."""
  del chosen
  return dict(size='smoke')
