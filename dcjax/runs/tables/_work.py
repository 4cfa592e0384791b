"""What the published schedules of the papers' cells take, counted from shapes.

No pixel is needed: data sets of the published sizes stand in for the real ones.
Condensation is counted in its traced program, a second or two for each; other
trainings as three passes forward.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from dcjax import specs
from dcjax.data import Dataset
from dcjax.runs import (
  _build,
  _condense,
  _costs,
  _experts,
  _flops,
  _flops_step,
  _observers,
  _programs,
  _wanted,
  settings,
)
from dcjax.runs._build import Built
from dcjax.runs.tables import _making, _measure
from dcjax.runs.tables._types import Accuracy, Place, Table
from dcjax.utils import traced_for

# Classes, training images of a class, test images, image.
_SETS = {
  'mnist': (10, 6000, 10_000, (28, 28, 1)),
  'fashion_mnist': (10, 6000, 10_000, (28, 28, 1)),
  'svhn': (10, 7326, 26_032, (32, 32, 3)),
  'cifar10': (10, 5000, 10_000, (32, 32, 3)),
  'cifar100': (100, 500, 10_000, (32, 32, 3)),
  'tiny_imagenet': (200, 500, 10_000, (64, 64, 3)),
  'speech': (8, 875, 1000, (64, 64, 1)),
  'imagenet10': (10, 1300, 500, (224, 224, 3)),
  'imagenet100': (100, 1290, 5000, (224, 224, 3)),
  'imagenet1k': (1000, 1281, 50_000, (224, 224, 3)),
}

_traced: dict[str, float] = {}


@functools.cache
def blank(name: str, size: int = 0) -> Dataset:
  """A data set of a published one's sizes, without its pixels.

  Args:
    name: of the published one.
    size: height and width, where images are not as large as published.

  Raises:
    ValueError: if its sizes are not known here.
  """
  if name not in _SETS:
    raise ValueError(f'like {name!r}: must be one of {", ".join(_SETS)}')
  classes, each, tests, shape = _SETS[name]
  if size:
    shape = (size, size, shape[-1])

  def pixels(count):
    return np.broadcast_to(np.uint8(0), (count, *shape))

  return Dataset(
    name,
    pixels(classes * each),
    np.repeat(np.arange(classes, dtype=np.int32), each),
    pixels(tests),
    np.arange(tests, dtype=np.int32) % classes,
    tuple(str(c) for c in range(classes)),
    (0.5,) * shape[-1],
    (0.25,) * shape[-1],
  )


def of_table(table: Table) -> dict[Place, float]:
  """Operations of every cell: its condensation, observers and evaluation.

  Args:
    table: at size `'reference'`. Cells that no program counts are left out.
  """
  found: dict[Place, float] = {}
  for job in _making.jobs(table, 'reference'):
    # There is nothing to whiten, and the work is the same.
    settings.set_fields(job.config, {'zca': 'none'})
    chosen = settings.resolve(job.config)
    size = specs.parse('data', chosen.config.data).get('size', 0)
    dataset = blank(chosen.config.like, size)
    built = _build.build(
      chosen,
      dataset=dataset,
      network=_network(chosen.config.network, dataset.name, size),
      devices=jax.devices()[:1],
    )
    observers = [
      o._replace(network=_network(o.word, dataset.name, size))
      for o in _used_observers(built)
    ]
    before = sum(_costs.observer(built, o) for o in observers)
    made = before + _condensation(built, observers)
    for place, cell in job.cells.items():
      images = getattr(cell.measure, 'images', 'condensed')
      used = {'condensed': made, 'initial': before}.get(images, 0.0)
      total = used + _evaluation(built, cell.measure, observers)
      if total:
        found[place] = total
  return found


@functools.cache
def _network(word, like, size):
  """The same object for the same word, so that it is counted once."""
  return _build.build_network('network', word, blank(like, size))


def _condensation(built, observers):
  """What comes after the training of observers: experts, and the method."""
  if 'iterations' in built.config.method:
    looking = [o for o in observers if 'matching' in o.roles]
    return _costs.condensation(built, looking)
  if built.config.method.name == 'rded':
    return 0.0
  experts = sum(stage.work for stage in _experts.stages(built))
  return experts + traced(built)


def traced(built: Built) -> float:
  """Operations of a condensation, counted in its traced program.

  With those of the networks that it has trained for itself: a pool, or the
  observers of a method that looks through them without being theirs.
  """
  config = built.config
  key = json.dumps(
    [
      _condense.settings(built),
      built.formation.spec,
      config.like,
      built.dataset.image_shape,
      config.ipc,
      config.get('observers') and config.observers.to_dict(),
    ],
    default=str,
    sort_keys=True,
  )
  if key not in _traced:
    turns = _flops_step.drawn_turns(config.method)
    total = 0.0
    with traced_for(_flops_step.PLAIN):
      for program in _programs.programs(built):
        made = jax.jit(program.function).trace(*program.args)
        work = _flops.count_flops(made.jaxpr, turns)
        total += program.calls * work
        if program.name == 'condense':  # its evaluation comes after
          break
    _traced[key] = total
  return _traced[key]


def _used_observers(built):
  """Those of methods that look through them or have them label."""
  roles = []
  if 'iterations' in built.config.method or built.config.method.name == 'rded':
    roles.append('matching')
  if built.config.labels.regime != 'hard':
    roles.append('labelling')
  return _observers.observers(built, roles)


def _evaluation(built, measure, observers) -> float:
  if not isinstance(measure, Accuracy):
    return 0.0
  built, asked = _measure.asked_of(built, measure, 'reference')
  network = built.network
  if asked.word:
    size = built.dataset.image_shape[0]
    network = _network(asked.word, built.dataset.name, size)
  online = built.config.labels.regime == 'online'
  total = _costs.evaluation(
    built,
    network,
    _wanted.expected_images(built, asked),
    _wanted.protocol(built, asked).epochs,
    [o for o in observers if 'labelling' in o.roles] if online else (),
  )
  trained = (*_costs.BY_FEATURES, 'forgetting')
  chosen = asked.images in trained
  return total + (_costs.selection(built) if chosen else 0.0)


def as_record(costs: Mapping[str, Mapping[Place, float]]) -> dict[str, Any]:
  """`table -> row -> column -> PFLOP`, four digits."""
  return {
    name: {
      row: {
        column: float(f'{value / 1e15:.4g}')
        for (r, column), value in places.items()
        if r == row
      }
      for row in {row for row, _ in places}
    }
    for name, places in costs.items()
  }
