"""Class-incremental learning: classes come in steps, memories stay.

Arguments: `DATASET[,ipc=][,steps=][,schedule=short|reference][,width=]
[,seeds=][,smoke]`. `memories` names what is kept: coresets, or configs of
methods with arguments. CIFAR-100 comes in five steps in IDC's published order,
other sets in the order of their labels; `reference` is Kim et al. (2022),
section 5.3: 20 images per class, 1000 epochs, batches of 64, T = 2, beta = 1.
There IDC's memory reaches 67.9 % after 20 and 49.6 % after 100 classes.
"""

import ml_collections
from configs import common
from configs.applications import shared

from dcjax import applications


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,steps=][,schedule=][,smoke]`."""
  args = common.parse_arg(arg, **shared.ARGUMENTS, steps=5)
  name = args['dataset']
  common.check_dataset(name)
  order = ()
  if name == 'cifar100':
    published = applications.published_class_order(100)
    order = tuple(int(c) for c in published)
  config = shared.base(
    args,
    data=common.data_config(name),
    steps=args['steps'],
    order=order,
    memories=('idc:factor=2', 'idc:factor=1', 'dm', 'herding', 'random'),
    modes=('scratch', 'continued'),
    distillation=dict(temperature=2.0, weight=1.0),
    training=shared.training(150 if args['schedule'] == 'short' else 1000),
  )
  if order:
    config.data.options.stats = 'cifar100_continual'
  if args['schedule'] == 'short':
    config.memories = ('idc:factor=2', 'dm', 'herding', 'random')
  if args['smoke']:
    config.data.options.size = 8
    config.ipc = 2
    config.memories = ('dm', 'random')
    config.training.epochs = 3
  return config
