"""What observers see of real images: measured once, shared by runs."""

from collections import OrderedDict
from typing import Any

import jax
import numpy as np

from dcjax import sharding, statistics
from dcjax.runs import _augment
from dcjax.runs._build import Parts
from dcjax.runs._observers import Observer
from dcjax.runs._stage import MEMORY, Stage, tree
from dcjax.statistics import LayerStatistics, Moments, Targets


def stage(parts: Parts, observer: Observer) -> Stage:
  """The statistics of an observer's layers, of all images and of each class.

  SRe2L and CDA match what BatchNorm keeps; the others measure.
  """
  config = parts.config
  name = f'statistics/{observer.stage.partition("/")[2]}'
  inputs = ('data', observer.stage)
  if config.method.name in ('sre2l', 'cda'):
    return Stage(
      name, lambda _, made: _running(parts, observer, made), inputs, {}, MEMORY
    )
  settings = {
    **config.statistics,
    'padding': config.observers.padding,
    'smallest_crop': config.observers.smallest_crop,
    'flips': parts.flips,
    'mean': list(map(float, parts.dataset.mean)),
    'std': list(map(float, parts.dataset.std)),
  }
  return Stage(
    name,
    lambda _, made: _measure(parts, observer, made['variables']),
    inputs,
    settings,
    tree(lambda: _structure(parts, observer)),
    shared=True,
  )


def used(parts: Parts, found: Targets) -> Targets:
  """Without the statistics of classes where they do not count: alpha 1."""
  counts = parts.config.method.get('alpha', 1.0) < 1
  return found if counts else found._replace(classes=None)


def shapes(parts: Parts, observer: Observer, variables: Any) -> Targets:
  """Shapes of what the stage makes, from those of the observer's variables."""
  if parts.config.method.name in ('sre2l', 'cda'):
    return jax.eval_shape(
      lambda v: _running(parts, observer, {'variables': v}), variables
    )
  collector = _collector(parts, observer)
  seen = np.ones(parts.dataset.num_classes)

  def finished(variables):
    state = collector.init(variables)
    return collector.finish(state._replace(counts=seen), variables)

  return jax.eval_shape(finished, variables)


def _collector(parts, observer):
  section = parts.config.statistics
  return statistics.collector(
    observer.network,
    parts.dataset.image_shape,
    parts.dataset.num_classes,
    patch_size=section.patch_size,
    class_variance=section.class_variance,
  )


def _running(parts, observer, made):
  return Targets(
    statistics.running_statistics(
      observer.network, made['variables'], parts.dataset.image_shape
    )
  )


def _structure(parts, observer) -> Targets:
  """The pytree that `_measure` returns, with other leaves."""
  kinds = statistics.observed_layers(
    observer.network, parts.dataset.image_shape, 'all'
  )
  pair = Moments(0, 0)
  layers = OrderedDict(
    (name, LayerStatistics(pair, pair if kind == 'convolution' else None))
    for name, kind in kinds.items()
  )
  return Targets(layers, layers)


def _measure(parts, observer, variables) -> Targets:
  """The statistics of all images and of each class; the same in every run."""
  dataset, section = parts.dataset, parts.config.statistics
  classes = dataset.num_classes
  collector = _collector(parts, observer)
  add = statistics.accumulator(
    collector,
    classes,
    augment=_augment.observers_see(
      dataset, parts.config.observers, parts.flips, parts.placement
    ),
    batch_size=section.batch_size,
  )
  state, placed = parts.placement.everywhere(
    (collector.init(variables), variables)
  )
  for number in range(parts.real.windows):
    key = jax.random.fold_in(jax.random.key(0), number)
    data: Any = parts.real.at(number, section.images_per_class)
    state = add(state, placed, data, parts.placement.everywhere(key))
  found = collector.finish(sharding.to_host(state), variables)
  return jax.tree.map(np.asarray, found)
