"""Few-shot domain adaptation: from a whole source set to a small target set.

Arguments: `SOURCE+TARGET[,ipc=][,schedule=short|reference][,width=][,seeds=]
[,smoke]`, such as `svhn+mnist` and `mnist+svhn`, the published pairs, or
`mnist+usps`; `--config.data_dir` is for both. Fine-tuning is that of Zhao et
al. (2021, first version, Table 4): rate 0.01, lowered to 0.001 after 300
iterations; they name no total, here 500.
"""

import ml_collections
from configs import common
from configs.applications import shared


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
  """Returns the config for `source+target[,ipc=][,schedule=][,smoke]`."""
  args = common.parse_arg(arg, **{**shared.ARGUMENTS, 'dataset': 'mnist+usps'})
  short = args['schedule'] == 'short'
  config = shared.base(
    args,
    **shared.domain_sections(short),
    domains=tuple(args['dataset'].split('+')),
    methods=('idc:factor=2', 'dm', 'herding', 'k_center', 'random'),
    source=shared.constant_rate(10 if short else 100, 0.01),
    # A set of at most a batch: a pass is an iteration.
    adapting=shared.constant_rate(
      500, 0.01, batch_size=1024, drops=(0.6,), drop_factor=0.1
    ),
  )
  if args['smoke']:
    shared.smoke_domains(config)
    config.methods = ('dm', 'random')
    config.source.epochs, config.adapting.epochs = 2, 4
  return config
