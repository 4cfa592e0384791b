"""Architecture search over a grid of ConvNets.

  python experiments/run.py --workdir=runs/search
    --config=experiments/configs/search.py:fashion_mnist,schedule=short
    --config.data_dir=DATA

`network` condenses; `--config.grid.AXIS` changes the values of an axis of the
networks that are ranked. `schedule=reference` takes the grid of 720 of Zhao et
al. (ICLR 2021), DM and FTD, for which an accelerator is needed; `short` has 12
networks, two cores train them in minutes.
"""

from dcjax import applications
from dcjax.runs import settings
from dcjax.runs.configs import _applications as apps, _shared as shared

DATA, LIKE = 'digits', shared.LIKE
SCHEDULE = apps.SCHEDULE
choices = apps.choices
_SMALL = {
  'width': (16, 32),
  'depth': (1, 2, 3),
  'norm': ('none', 'instance'),
  'activation': ('relu',),
  'pooling': ('avg',),
}


def get_config(arg: str | None = None):
  """Returns the config for `DATA[,FIELD=VALUE...]`."""
  return settings.make('search', arg)


def run(chosen, workdir, **options):
  from dcjax.runs.applications import search

  return search.run(chosen, workdir, **options)


def values(chosen):
  short = apps.is_short(chosen)
  grid = _SMALL if short else applications.CONVNET_GRID
  seeds = 2 if short else 3
  return apps.base(
    chosen,
    ('idc:factor=2', 'dm', 'random'),
    most_images=500 if short else 0,
    grid={axis: tuple(choices) for axis, choices in grid.items()},
    top=5 if short else 10,
    proxy=apps.training(100, seeds=seeds),
    whole=apps.training(10 if short else 100, seeds=1),
  )


def smoke(chosen):
  """Seconds."""
  made = apps.smoke(values(chosen), 'proxy', 'whole')
  small = dict(width=(4,), depth=(1,), norm=('none', 'instance'))
  return made | dict(grid=small, top=2)
