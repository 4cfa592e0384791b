"""The programs of a run, from shapes alone: nothing is read, drawn or moved."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dcjax import evaluation, methods, sharding
from dcjax.base import PyTree
from dcjax.inner import InnerData
from dcjax.runs import (
  _condense,
  _evaluate,
  _experts,
  _method,
  _networks,
  _observers,
  _start,
  _statistics,
  _wanted,
)
from dcjax.runs._build import Parts
from dcjax.runs._given import Given
from dcjax.runs._observers import Observer
from dcjax.trajectories import Experts


class Program(NamedTuple):
  """A program of a run.

  Attributes:
    name: of the stage that it belongs to.
    unit: what one call does.
    calls: how often it is called in the whole run.
    turns: of its loop that no shape tells the length of, in a call; else 1.
    function: what is compiled.
    args: shapes of its arguments, with their devices.
    places: where its results lie, or None.
  """

  name: str
  unit: str
  calls: int
  turns: int
  function: Callable[..., Any]
  args: Sequence[PyTree]
  places: PyTree = None


def programs(parts: Parts) -> Iterator[Program]:
  """The programs that take a run's time, in their order.

  Left out is what takes little beside them: the start, statistics of observers,
  labels, tests and coresets.

  Args:
    parts: of the run; its data may be `data.blank`.
  """
  config, section = parts.config, parts.config.method
  statistical = 'iterations' in section
  observers = []
  if statistical or section.name == 'rded':
    observers = _observers.observers(parts, ['matching'])
  for observer in observers:
    if not observer.file:
      rounds = observer.epochs * parts.real.windows
      loop = _observers.observer_loop(parts, observer)
      yield _training(parts, observer.stage, loop, 1, rounds)
  if section.get('pool_networks'):
    rounds = section.pool_epochs * parts.real.windows
    loop = _networks.pool_loop(parts)
    yield _training(parts, 'pool', loop, section.pool_networks, rounds)
  if statistical:
    yield _observed(parts, observers)
  elif section.name != 'rded':
    yield _outer(parts)
  if config.evaluation.seeds:
    yield _evaluation(parts)


def _everywhere(parts, shapes):
  return sharding.placed(shapes, parts.placement.copies(shapes))


def _key(parts, number: int = 0):
  def draw():
    keys = jax.random.split(jax.random.key(0), max(number, 1))
    return keys if number else keys[0]

  return _everywhere(parts, jax.eval_shape(draw))


def _training(parts, name, loop, networks, rounds) -> Program:
  begin, once = _networks.rounds_of(loop)
  keys = _key(parts, networks)
  states = _everywhere(parts, jax.eval_shape(begin, keys))
  real = parts.placement.data_shapes(parts.dataset)
  return Program(name, 'epoch', rounds, 1, once, (keys, states, real))


def _outer(parts) -> Program:
  config, section = parts.config, parts.config.method
  dataset = parts.dataset
  key, soft = _key(parts), None
  if section.get('soft_labels') and _start.needs_embeddings(parts):
    soft = jnp.eye(dataset.num_classes)
  condenser = _method.condenser(Given(parts, soft_labels=soft))
  pool = experts = None
  if section.get('pool_networks'):
    keys = _key(parts, section.pool_networks)
    pool = jax.eval_shape(jax.vmap(parts.network.init), keys)
  if config.get('experts'):
    experts = _ways(parts)
  pool, experts = _everywhere(parts, (pool, experts))
  data = InnerData(parts.placement.data_shapes(dataset), pool, experts)
  shapes = jax.eval_shape(condenser.init, key, _stored(parts), data)
  places = parts.placement.state(shapes, dataset.num_classes)
  state = sharding.placed(shapes, places)
  unit = f'outer iteration of {section.inner_steps} steps'
  return Program(
    'condense',
    unit,
    config.outer,
    1,
    condenser.period,
    (key, state, data),
    _condense.out_places(parts, places),
  )


def _stored(parts):
  """Shapes of the stored numbers."""
  dataset = parts.dataset
  shape = (dataset.num_classes, parts.config.ipc, *dataset.image_shape)
  blank = jax.ShapeDtypeStruct(shape, jnp.float32)
  return jax.eval_shape(parts.formation.init, _key(parts), blank)


def _ways(parts) -> Experts:
  count, passes = parts.config.experts.count, _experts.epochs(parts.config)
  params = jax.eval_shape(parts.network.init, jax.random.key(0)).params
  size = sum(leaf.size for leaf in jax.tree.leaves(params))
  return Experts(
    jax.ShapeDtypeStruct((count, passes + 1, size), jnp.float32),
    jax.ShapeDtypeStruct((count, passes), jnp.float32),
  )


def _observed(parts, observers: Sequence[Observer]) -> Program:
  config, section = parts.config, parts.config.method
  condenser = _method.condenser(Given(parts, [o.network for o in observers]))
  key = _key(parts)
  variables = [jax.eval_shape(o.network.init, key) for o in observers]
  targets = [
    _statistics.used(parts, _statistics.shapes(parts, o, v))
    for o, v in zip(observers, variables, strict=True)
  ]
  data = InnerData(None, observers=tuple(variables), targets=tuple(targets))
  data = _everywhere(parts, data)
  images = _stored(parts)['images']
  classes, ipc = images.shape[:2]
  cut = config.batches
  batches = methods.image_batches(
    classes, ipc, cut.batch_size or classes * ipc, cut.order
  )
  slots = batches[0]

  def begin(key, images, data):
    return condenser.init(
      key, methods.cut_batch(images, slots, parts.formation.cells), data
    )

  shapes = jax.eval_shape(begin, key, images, data)
  places = parts.placement.image_batch(shapes, slots.shape[:2])
  state = sharding.placed(shapes, places)
  periods = section.iterations // section.inner_steps
  return Program(
    'condense',
    f'{section.inner_steps} steps of an image batch',
    len(batches) * periods,
    1,
    condenser.period,
    (key, state, data),
    _condense.out_places(parts, places),
  )


def _evaluation(parts) -> Program:
  """All networks of one evaluation of the condensed set, with hard labels."""
  dataset, config = parts.dataset, parts.config
  seeds = config.evaluation.seeds
  asked = _wanted.wanted(config)
  protocol = _wanted.protocol(parts, asked[0])
  feed = _evaluate.feed_of(parts, 'plain', False, protocol, ())
  program = _evaluate.evaluator_of(parts, parts.network, feed, protocol)
  images = _wanted.expected_images(parts, asked[0])
  shape = (images, *dataset.image_shape)
  keys = jax.eval_shape(lambda: evaluation.seed_keys(jax.random.key(0), seeds))
  training = evaluation.TrainingSet(
    jax.ShapeDtypeStruct(shape, jnp.float32),
    jax.ShapeDtypeStruct((images, dataset.num_classes), jnp.float32),
    jax.ShapeDtypeStruct((), jnp.int32),
  )
  args = (keys, training, jax.ShapeDtypeStruct((), jnp.int32))
  if parts.placement.mesh is None:  # else the networks are spread from inside
    args = _everywhere(parts, args)
  keys, training, epochs = args
  state = jax.eval_shape(program.start, keys, training)
  if parts.placement.mesh is None:
    state = _everywhere(parts, state)
  steps = -(-images // min(protocol.batch_size, images))
  return Program(
    'evaluate',
    f'evaluation of {protocol.epochs} epochs of {seeds} networks',
    len(asked),
    protocol.epochs * steps,
    program.train,
    (keys, training, state, epochs),
  )
