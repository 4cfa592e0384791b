"""Membership inference on small sets.

Arguments: `DATASET[,ipc=][,schedule=short|reference][,width=][,seeds=]
[,smoke]`. FRePo attacks networks trained on 50 images a class made of 10,000
MNIST images; the set that starts from real images (`idc`, `dm`) is compared
with one that starts from noise (`dc`), with coresets, and with all members.
"""

import ml_collections
from configs import common
from configs.applications import shared


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `dataset[,ipc=][,schedule=][,smoke]`."""
  args = common.parse_arg(arg, **shared.ARGUMENTS)
  name = args['dataset']
  common.check_dataset(name)
  short = args['schedule'] == 'short'
  config = shared.base(
    args,
    data=common.data_config(name),
    most_images=250 if short else 0,
    methods=('idc:factor=2', 'dm', 'random'),
    training=shared.training(150 if short else 1000),
    members=shared.training(30 if short else 100),
    false_positive_rates=(0.001, 0.01),
  )
  if args['smoke']:
    config.data.options.size = 8
    config.ipc, config.most_images = 1, 10
    config.methods = ('dm', 'random')
    config.training.epochs = config.members.epochs = 3
  return config
