"""What the configs of the applications share."""

from typing import Any

from dcjax.runs.configs import _shared as shared

# Minutes on two CPU cores, unless `schedule=reference` is said.
SCHEDULE = 'short'


def choices(chosen: Any) -> dict[str, Any]:
  """ipc and network that are taken unless said."""
  sizes = shared.sizes(chosen)
  if chosen.smoke:
    sizes = {**sizes, 'convnet': {'width': 4, 'depth': 1}}
  return dict(
    ipc=1 if chosen.smoke else 10,
    factor=1,
    network='convnet',
    sizes=sizes,
    data_options={'size': 8}
    if chosen.smoke and chosen.data == 'digits'
    else {},
  )


def is_short(chosen: Any) -> bool:
  """Whether minutes on two CPU cores are asked for; the default here."""
  return chosen.schedule == 'short'


def base(
  chosen: Any, names: tuple[str, ...], **sections: Any
) -> dict[str, Any]:
  """How small sets are made, and the sections given.

  `sets.names` says how each is made: a coreset, or a config with settings;
  `sets.share_network` lets `network` make the sets, too; `sets.family` is the
  augmentation under which they are condensed, `'auto'` that of each method;
  `sets.outer` the number of outer iterations of every method, 0 its own.
  """
  short = is_short(chosen)
  return shared.merged(
    dict(
      seeds=3,
      sets=dict(
        names=names,
        share_network=True,
        family='auto',
        outer=4 if short and not chosen.smoke else 0,
        herding_steps=1000 if short else 5000,
      ),
    ),
    sections,
  )


def training(epochs: int, **changes: Any) -> dict[str, Any]:
  """A section with the fields of `Protocol` that experiments change.

  `family` names the augmentation, `cutmix` the probability of CutMix.
  """
  return {
    'epochs': epochs,
    'batch_size': 64,
    'learning_rate': 0.01,
    'momentum': 0.9,
    'weight_decay': 5e-4,
    'drops': (0.6, 0.8),
    'drop_factor': 0.2,
    'family': 'idc',
    'cutmix': 0.5,
    **changes,
  }


def constant_rate(
  epochs: int, learning_rate: float, **changes: Any
) -> dict[str, Any]:
  """A `training` section at one rate, in DSA's augmentation."""
  usual = dict(
    batch_size=256,
    learning_rate=learning_rate,
    drops=(),
    family='dsa',
    cutmix=0.0,
  )
  return training(epochs, **{**usual, **changes})


def domains(chosen: Any) -> dict[str, Any]:
  """What brings several data sets to one shape; see `data.in_shape`."""
  short = is_short(chosen)
  return dict(
    size=28 if short else 32,
    channels=1 if short else 3,
    most_images=500 if short else 0,
    test_images=2000,
  )


def smoke(values: dict[str, Any], *sections: str, epochs: int = 3) -> dict:
  """Seconds: two small sets, few images, no augmentation."""
  made = dict(
    seeds=2,
    sets=dict(names=('dm', 'random'), family='none', herding_steps=4, outer=0),
    **{
      name: dict(epochs=epochs, family='none', cutmix=0.0) for name in sections
    },
  )
  if 'test_images' in values:
    made |= dict(size=8, channels=1, most_images=12, test_images=60)
  elif 'most_images' in values:
    made |= dict(most_images=12)
  return made
