"""Architecture search over a grid of ConvNets.

Arguments: `DATASET[,ipc=][,grid=small|published][,schedule=short|reference]
[,width=][,smoke]`; `width` is that of the network that condenses. `published`
is the grid of 720 of Zhao et al. (ICLR 2021), DM and FTD, for which an
accelerator is needed; `small` has 12 networks, two cores train them in minutes.
`--config.grid.<axis>` changes the values of an axis.
"""

import ml_collections
from configs import common
from configs.applications import shared

from dcjax import applications
from dcjax.utils import check_choice

_GRIDS = {
  'published': applications.CONVNET_GRID,
  'small': {
    'width': (16, 32),
    'depth': (1, 2, 3),
    'norm': ('none', 'instance'),
    'activation': ('relu',),
    'pooling': ('avg',),
  },
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,grid=][,schedule=][,smoke]`."""
  args = common.parse_arg(arg, **shared.ARGUMENTS, grid='small')
  check_choice('grid', args['grid'], _GRIDS)
  name = args['dataset']
  common.check_dataset(name)
  short = args['schedule'] == 'short'
  proxy = shared.training(100, seeds=2 if short else args['seeds'])
  whole = shared.training(10 if short else 100, seeds=1)
  config = shared.base(
    args,
    data=common.data_config(name),
    most_images=500 if short else 0,
    grid=dict(_GRIDS[args['grid']]),
    proxies=('idc:factor=2', 'dm', 'random'),
    top=10 if args['grid'] == 'published' else 5,
    proxy=proxy,
    whole=whole,
  )
  if args['smoke']:
    config.data.options.size = 8
    config.ipc, config.top, config.most_images = 1, 2, 12
    config.grid.update(width=(4,), depth=(1,), norm=('none', 'instance'))
    config.proxies = ('dm', 'random')
    config.proxy.epochs = config.whole.epochs = 3
    config.proxy.seeds = 2
  return config
