"""Task-incremental learning over sets with the same labels.

Arguments: `FIRST+SECOND[+...][,ipc=][,schedule=short|reference][,width=]
[,seeds=][,smoke]`, such as `svhn+mnist+usps`, the published order, or
`mnist+usps+digits` where SVHN is not at hand; `--config.data_dir` is for all.
`reference`: 5000 iterations at rate 0.01 and 500 of balanced fine-tuning at
0.001 (Zhao et al., 2021, first version). Its distillation has weight 1 and T 2
in E2E's form, without the factor T^2: weight 1 / T^2 here.
"""

import ml_collections
from configs import common
from configs.applications import shared


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `first+second[+...][,ipc=][,schedule=][,smoke]`."""
  args = common.parse_arg(
    arg, **{**shared.ARGUMENTS, 'dataset': 'mnist+usps+digits'}
  )
  short = args['schedule'] == 'short'
  config = shared.base(
    args,
    **shared.domain_sections(short),
    tasks=tuple(args['dataset'].split('+')),
    memories=('idc:factor=2', 'dm', 'herding', 'random'),
    distillation=dict(temperature=2.0, weight=0.25),
    iterations=200 if short else 5000,
    training=shared.constant_rate(1, 0.01, batch_size=128 if short else 256),
    # Passes over the memories: two batches of 256 in the reference.
    balancing=shared.constant_rate(10 if short else 250, 0.001),
  )
  if args['smoke']:
    shared.smoke_domains(config)
    config.memories = ('dm', 'random')
    config.iterations = config.balancing.epochs = 4
  return config
