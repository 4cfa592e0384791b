"""What observers see of real images, and where synthetic images start."""

from collections import OrderedDict

import builder
import jax
import jax.numpy as jnp
import numpy as np
import statistics_parts
from _stage_files import Stages, digest
from observers import Observer
from statistics_parts import Parts

from dcjax import initialisation, methods, statistics
from dcjax.statistics import LayerStatistics, Moments, Targets


def targets(
  parts: Parts, observers: tuple[Observer, ...], stages: Stages, data: str
) -> tuple[Targets, ...]:
  """What the layers of every observer see of real images, measured once.

  Args:
    parts: of the run.
    observers: for matching.
    stages: of the run.
    data: identity of the data.

  Raises:
    ValueError: if the stage's file is damaged or of other settings.
  """
  config = parts.config
  settings = digest(
    [o.identity for o in observers],
    data,
    config.statistics.to_dict(),
    parts.flips,
    _layers(config),
    _of_classes(config),
  )
  like = tuple(_structure(parts, o) for o in observers)

  def make():
    return tuple(
      _measure(parts, o, jax.random.key(i)) for i, o in enumerate(observers)
    )

  return stages.tree('statistics', settings, like, make)


def _layers(config):
  """SRe2L and CDA match what BatchNorm keeps; the others measure."""
  return 'batch_norm' if config.method in ('sre2l', 'cda') else 'all'


def _of_classes(config):
  """Whether the statistics of classes count: alpha below 1."""
  return config.synthesis.get('alpha', 1.0) < 1


def _structure(parts, observer):
  """The pytree that `_measure` returns, with other leaves."""
  kinds = statistics.observed_layers(
    observer.plan.network, parts.dataset.image_shape, _layers(parts.config)
  )
  pair = Moments(0, 0)
  layers = OrderedDict(
    (name, LayerStatistics(pair, pair if kind == 'convolution' else None))
    for name, kind in kinds.items()
  )
  return Targets(layers, layers if _of_classes(parts.config) else None)


def _measure(parts, observer, key):
  dataset, section = parts.dataset, parts.config.statistics
  network, variables = observer.plan.network, observer.variables
  shape, classes = dataset.image_shape, dataset.num_classes
  if _layers(parts.config) == 'batch_norm':
    return Targets(statistics.running_statistics(network, variables, shape))
  collector = statistics.collector(
    network,
    shape,
    classes,
    patch_size=section.patch_size,
    class_variance=section.class_variance,
  )
  add = statistics.accumulator(
    collector,
    classes,
    augment=statistics_parts.observer_augment(parts),
    batch_size=section.batch_size,
  )
  data_at = statistics_parts.passes(parts, section.images_per_class)
  state = collector.init(variables)
  for number in range(statistics_parts.windows(parts)):
    data = data_at(number).real
    state = add(state, variables, data, jax.random.fold_in(key, number))
  found = collector.finish(state, variables)
  return found if _of_classes(parts.config) else found._replace(classes=None)


def start(
  parts: Parts,
  observers: tuple[Observer, ...],
  key: jax.Array,
  stages: Stages,
  data: str,
) -> np.ndarray:
  """The images that synthesis starts from, or RDED's set; made once.

  Args:
    parts: of the run.
    observers: that score the crops of RDED.
    key: decides the draw.
    stages: of the run.
    data: identity of the data.

  Returns:
    `[C, ipc, H, W, D]` in [0, 1].

  Raises:
    ValueError: if a class holds too few images for RDED.
  """
  config = parts.config
  scoring = [o.identity for o in observers] if _is_rded(config) else []
  settings = digest(
    config.start.to_dict(), config.ipc, config.seed, data, scoring
  )
  make = {'noise': _noise, 'real': _real, 'rded': _rded}[config.start.mode]
  return stages.tree(
    'start',
    settings,
    {'images': 0},
    lambda: {'images': make(parts, observers, key)},
  )['images']


def _is_rded(config):
  return config.start.mode == 'rded'


def _noise(parts, observers, key):
  """Standard normal in normalised units, as SRe2L starts; clipped to [0, 1]."""
  del observers
  dataset = parts.dataset
  shape = (dataset.num_classes, parts.config.ipc, *dataset.image_shape)
  noise = jax.random.normal(key, shape) * np.asarray(dataset.std)
  return jnp.clip(noise + np.asarray(dataset.mean), 0.0, 1.0)


def _real(parts, observers, key):
  del observers
  chosen = initialisation.select(key, parts.dataset.counts, parts.config.ipc)
  return builder.real_images(parts.dataset, chosen)


def _rded(parts, observers, key):
  section = parts.config.start
  return methods.rded(
    [o.plan.network for o in observers],
    [o.variables for o in observers],
    parts.real,
    parts.config.ipc,
    key,
    normalise=parts.normalise,
    factor=section.factor,
    candidates=section.candidates,
    crops=section.crops,
    ratio=tuple(section.ratio),
    best_of_image=section.best_of_image,
  )
