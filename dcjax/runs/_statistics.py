"""What observers see of real images: measured once, shared by runs."""

from collections import OrderedDict
from typing import Any

import jax
import numpy as np

from dcjax import sharding, statistics
from dcjax.runs import _augment
from dcjax.runs._build import Built
from dcjax.runs._observers import Observer
from dcjax.runs._stage import MEMORY, Stage, tree
from dcjax.statistics import LayerStatistics, Moments, Targets


def stage(built: Built, observer: Observer) -> Stage:
  """The statistics of an observer's layers, of all images and of each class.

  SRe2L and CDA match what BatchNorm keeps; the others measure.
  """
  config = built.config
  name = f'statistics/{observer.stage.partition("/")[2]}'
  inputs = ('data', observer.stage)
  if config.method.name in ('sre2l', 'cda'):
    return Stage(
      name, lambda _, made: _running(built, observer, made), inputs, {}, MEMORY
    )
  settings = {
    **config.statistics,
    'padding': config.observers.padding,
    'smallest_crop': config.observers.smallest_crop,
    'flips': built.flips,
    'mean': list(map(float, built.dataset.mean)),
    'std': list(map(float, built.dataset.std)),
  }
  return Stage(
    name,
    lambda _, made: _measure(built, observer, made['variables']),
    inputs,
    settings,
    tree(lambda: _structure(built, observer)),
    shared=True,
  )


def used(built: Built, found: Targets) -> Targets:
  """Without the statistics of classes where they do not count: alpha 1."""
  counts = built.config.method.get('alpha', 1.0) < 1
  return found if counts else found._replace(classes=None)


def shapes(built: Built, observer: Observer, variables: Any) -> Targets:
  """Shapes of what the stage makes, from those of the observer's variables."""
  if built.config.method.name in ('sre2l', 'cda'):
    return jax.eval_shape(
      lambda v: _running(built, observer, {'variables': v}), variables
    )
  collector = _collector(built, observer)
  seen = np.ones(built.dataset.num_classes)

  def finished(variables):
    state = collector.init(variables)
    return collector.finish(state._replace(counts=seen), variables)

  return jax.eval_shape(finished, variables)


def _collector(built, observer):
  section = built.config.statistics
  return statistics.collector(
    observer.network,
    built.dataset.image_shape,
    built.dataset.num_classes,
    patch_size=section.patch_size,
    class_variance=section.class_variance,
  )


def _running(built, observer, made):
  return Targets(
    statistics.running_statistics(
      observer.network, made['variables'], built.dataset.image_shape
    )
  )


def _structure(built, observer) -> Targets:
  """The pytree that `_measure` returns, with other leaves."""
  kinds = statistics.observed_layers(
    observer.network, built.dataset.image_shape, 'all'
  )
  pair = Moments(0, 0)
  layers = OrderedDict(
    (name, LayerStatistics(pair, pair if kind == 'convolution' else None))
    for name, kind in kinds.items()
  )
  return Targets(layers, layers)


def _measure(built, observer, variables) -> Targets:
  """The statistics of all images and of each class; the same in every run."""
  dataset, section = built.dataset, built.config.statistics
  classes = dataset.num_classes
  collector = _collector(built, observer)
  add = statistics.accumulator(
    collector,
    classes,
    augment=_augment.observers_see(
      dataset, built.config.observers, built.flips, built.placement
    ),
    batch_size=section.batch_size,
  )
  state, placed = built.placement.everywhere(
    (collector.init(variables), variables)
  )
  for number in range(built.real.windows):
    key = jax.random.fold_in(jax.random.key(0), number)
    data: Any = built.real.at(number, section.images_per_class)
    state = add(state, placed, data, built.placement.everywhere(key))
  found = collector.finish(sharding.to_host(state), variables)
  return jax.tree.map(np.asarray, found)
