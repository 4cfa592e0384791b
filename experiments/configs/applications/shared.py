"""What the applications' configs share."""

import ml_collections
from configs import common

ARGUMENTS = dict(
  dataset='digits',
  ipc=10,
  network='convnet',
  width=0,
  schedule='short',
  seeds=3,
  smoke=False,
)


def base(args, **sections) -> ml_collections.ConfigDict:
  """Returns a config with data, network and the way that sets are made.

  Args:
    args: what `common.parse_arg` returns for `ARGUMENTS` and more.
    **sections: added as they are.

  `sets.arguments` go to the config of every method; `sets.share_network` lets
  `network` make the sets, too; `sets.family` is the augmentation under which
  they are condensed, `'auto'` that of each method; `sets.outer` the number of
  outer iterations of every method, 0 that of its own schedule.
  """
  if args['schedule'] not in common.SCHEDULES:
    raise ValueError(
      f'schedule {args["schedule"]!r}: must be one of {common.SCHEDULES}'
    )
  short = args['schedule'] == 'short'
  arguments = f'schedule={args["schedule"]}' + (
    ',smoke' if args['smoke'] else ''
  )
  sizes = common.SHORT_SIZES if short else {}
  config = ml_collections.ConfigDict(
    dict(
      seed=0,
      ipc=args['ipc'],
      seeds=args['seeds'],
      network=common.network_config(args, sizes),
      sets=dict(
        arguments=arguments,
        share_network=True,
        family='auto',
        outer=4 if short and not args['smoke'] else 0,
        herding_steps=1000 if short else 5000,
      ),
      **sections,
    )
  )
  if args['smoke']:
    config.network.update(width=4, depth=1)
    config.seeds = 2
    config.sets.update(herding_steps=4, family='none')
    for section in (config[name] for name in sections):
      if isinstance(section, ml_collections.ConfigDict) and 'cutmix' in section:
        section.update(family='none', cutmix=0.0)
  return config


def training(epochs, **changes) -> ml_collections.ConfigDict:
  """Returns a section with the fields of `Protocol` that experiments change.

  `family` names the augmentation, `cutmix` the probability of CutMix.
  """
  settings = dict(
    epochs=epochs,
    batch_size=64,
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=5e-4,
    drops=(0.6, 0.8),
    drop_factor=0.2,
    family='idc',
    cutmix=0.5,
  )
  return ml_collections.ConfigDict({**settings, **changes})


def constant_rate(
  epochs, learning_rate, **changes
) -> ml_collections.ConfigDict:
  """Returns a `training` section at one rate, in DSA's augmentation."""
  return training(
    epochs,
    **dict(
      batch_size=256,
      learning_rate=learning_rate,
      drops=(),
      family='dsa',
      cutmix=0.0,
    )
    | changes,
  )


def domain_sections(short) -> dict[str, object]:
  """Returns what brings several data sets to one shape; see `domains.load`."""
  return dict(
    data_dir='',
    size=28 if short else 32,
    channels=1 if short else 3,
    most_images=500 if short else 0,
    test_images=2000,
  )


def smoke_domains(config) -> None:
  """Shrinks data sets and memories to what takes seconds."""
  config.update(size=8, channels=1, most_images=12, test_images=60, ipc=1)
